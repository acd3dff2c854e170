"""How PostgreSQL executes the statements of the hot path, those inside functions too, on large
tables: by which index, and how many rows it touches. A client and a worker send them.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import workload
from grctl import ChildOutcome, Client, Connection, Context, Directive, Worker, Workflow
from grctl.postgres.database import Database as Server
from grctl.settings import load_settings
from tests.cost.large_tables import TABLES, UNSERVED, fill
from tests.cost.plans import Plan, explain_everything, plans_heard
from tests.support import Database, wait_until

# How a statement begins, and by which indexes it enters the large tables.
INDEXES: dict[str, set[str]] = {
    # claim, and what is read beside it
    "with me as materialized": {"runs_due", "runs_pkey"},
    "select extract(epoch from min(r.wake_at)": {"runs_due"},
    "select r.run_id, i.no, i.kind": {"inbox_pkey"},
    "select e.run_id, e.epoch": {"events_pkey"},
    "select key, value from grctl.store": {"store_pkey"},
    # commit_batch (`perform` is told as SELECT)
    "SELECT from grctl.runs r where r.run_id in": {"runs_pkey", "runs_open"},
    "with s as ( select * from json_to_recordset(p_starts)": {"runs_pkey"},
    "with m as ( select m.item": {"runs_pkey", "runs_open"},
    "insert into grctl.events": {"runs_pkey"},
    "with done as ( update grctl.runs": {"runs_pkey"},
    "delete from grctl.store": {"store_pkey"},
    "delete from grctl.inbox": {"inbox_pkey"},
    # deliver, after_end
    "with item as": {"runs_pkey"},
    "select bool_or(r.parent_step is not null)": {"runs_pkey"},
    "SELECT grctl.start_runs(": {"runs_pkey"},
    "SELECT grctl.deliver(": {"runs_pkey"},
    "insert into grctl.closings": {"runs_parent"},
    # send, results
    "with target as materialized": {"runs_pkey"},
    "select g.run_id, r.status": {"runs_pkey"},
    # release_worker: at a stop, and at a take-over
    "select r.run_id, r.claimed_at": {"runs_owner"},
    "v_others := exists (": {"runs_owner"},
    "with freed as ( select r.run_id from grctl.runs r where r.owner": {"runs_owner", "runs_pkey"},
}
MOST_ROWS = 1_000
"""More than this load ever has in flight, and a fraction of what the tables hold."""
CLAIMED = 100


crowd = Workflow("cost.crowd")


@crowd.start()
async def gather_crowd(ctx: Context, children: int) -> Directive:
    """Start children whose ends are messages, and write to another run."""
    ctx.store.put("left", children)
    for n in range(children):
        await ctx.start_child(
            "bench.child", f"{ctx.run.wf_id}/{n}", {"number": n}, on_completed_step=count
        )
    await ctx.send("pinged by the crowd", "ping", 1)
    return ctx.next.wait()


@crowd.step()
async def count(ctx: Context, outcome: ChildOutcome) -> Directive:
    """One child less; at the last one the store is emptied."""
    left = await ctx.store.get("left", int) - 1
    if left == 0:
        ctx.store.delete("left")
        return ctx.next.complete(outcome.unwrap())
    ctx.store.put("left", left)
    return ctx.next.wait()


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "without statistics"])
async def test_every_hot_statement_enters_large_tables_by_its_index(
    database: Database, analyzed: bool
) -> None:
    await fill(database, analyzed=analyzed)
    await explain_everything(database)

    quiet = load_settings(database_url=database.dsn, poll_seconds=300)
    async with await Connection.connect(settings=quiet) as connection:
        with plans_heard() as heard:
            await _run_everything(database, connection)
        with plans_heard() as heard_of_backlog:
            await _claim_of_backlog(connection.database)

    _assert_bounded(heard, MOST_ROWS)
    _assert_bounded(heard_of_backlog, CLAIMED)
    met = {_beginning(plan) for plan in heard + heard_of_backlog}
    assert not INDEXES.keys() - met


def _assert_bounded(heard: list[Plan], most_rows: int) -> None:
    """No large table is read whole, nothing is sorted or thrown away that grows with it."""
    for plan in heard:
        if "pg_type" in plan.statement:
            continue  # asyncpg's own
        scanned = {node.relation for node in plan.nodes if node.kind == "Seq Scan"}
        assert not scanned & set(TABLES), plan
        assert max(node.rows for node in plan.nodes) <= most_rows, plan
        indexes = {each for each in plan.indexes if each.startswith(TABLES)}
        assert indexes <= INDEXES.get(_beginning(plan), set()), plan


def _beginning(plan: Plan) -> str:
    return next((each for each in INDEXES if plan.statement.startswith(each)), "")


async def _run_everything(database: Database, connection: Connection) -> None:
    """Tasks, steps with a store, children that are awaited or report, events."""
    worker = Worker([*workload.ALL, crowd], connection)
    client = Client(connection)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.start())
        await worker.wait_until_ready()
        names = [*(f"ping {n}" for n in range(20)), "pinged by the crowd"]
        handles = [await client.start_workflow("bench.answers", name) for name in names]

        async def all_wait() -> bool:
            ids = [handle.run_id for handle in handles]
            sql = "select count(*) from grctl.runs where run_id = any($1) and status = 'waiting'"
            row = await database.fetchrow(sql, ids)  # not heard: the test's own
            return row is not None and bool(row["count"] == len(ids))

        await wait_until(all_wait, "all of them wait")
        await asyncio.gather(
            *(client.run_workflow("bench.tasks", f"tasks {n}", {"count": 3}) for n in range(100)),
            *(client.run_workflow("bench.chain", f"chain {n}", {"steps": 3}) for n in range(20)),
            client.run_workflow("bench.parent", "parent", {"count": 50}),
            client.run_workflow("cost.crowd", "crowd", {"children": 10}),
            *(handle.send("ping", 1) for handle in handles[:-1]),
        )
        await asyncio.gather(*(handle.future for handle in handles))
        await worker.stop()


async def _claim_of_backlog(server: Server) -> None:
    """A worker claims some of many due runs, reads their steps, and ends with them in hand."""
    types = ["unserved"]
    worker = await server.fetchval("leases", "register", "w", "w", types, CLAIMED, 60.0, 1)
    claimed = await server.fetch("runs", "claim", worker, types, CLAIMED, None)
    assert len(claimed) == CLAIMED < UNSERVED
    await server.fetch("history", "steps", [run["run_id"] for run in claimed], [1] * CLAIMED)
    assert await server.fetchval("leases", "stop", worker) == CLAIMED
