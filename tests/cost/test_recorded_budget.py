"""What each path costs, in statements, writing transactions, rows and WAL, against what was
recorded in `budget.toml`. `RECORD_BUDGET=1` records it anew: what changed is then to be argued.

Nothing is timed. What a run alone takes is exact, but counted for the whole server: autovacuum can
add to it. So the least of some measurements counts. A server that writes whole pages (the embedded
one does not) writes too much WAL to compare.
"""

from __future__ import annotations

import asyncio
import os
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from benchmarks import workload
from grctl import Client, Connection, Context, Directive, Worker, Workflow
from grctl.settings import load_settings
from tests.cost.statements import counting_statements
from tests.support import Database, wait_until

BUDGET = Path(__file__).with_name("budget.toml")
PATIENCE_SECONDS = 20
WAL_MARGIN = 1.15
"""Versions of PostgreSQL write slightly different records, and pages split where they split."""

later = Workflow("cost.later")


@later.start()
async def sleep_a_little(ctx: Context) -> Directive:
    return ctx.next.step(wake, delay=timedelta(milliseconds=50))


@later.step()
async def wake(ctx: Context) -> Directive:
    return ctx.next.complete()


@dataclass
class Cost:
    """What one path took."""

    statements: int
    transactions: int
    rows: int
    wal: int


async def _run(client: Client, wf_type: str, **given: Any) -> None:
    await client.run_workflow(wf_type, str(uuid4()), given or None)


async def _event(client: Client, database: Database) -> None:
    handle = await client.start_workflow("bench.answers", str(uuid4()))

    async def waits() -> bool:
        sql = "select status from grctl.runs where run_id = $1"
        row = await database.fetchrow(sql, handle.run_id)
        return row is not None and row["status"] == "waiting"

    await wait_until(waits, "the run waits")
    await handle.send("ping", 1)
    await handle.future


async def _batch(client: Client) -> None:
    await asyncio.gather(*(_run(client, "bench.tasks", count=3) for _ in range(250)))


PATHS: dict[str, Callable[[Client, Database], Awaitable[None]]] = {
    "start and end": lambda client, _: _run(client, "bench.child", number=1),
    "one task": lambda client, _: _run(client, "bench.tasks", count=1),
    "three tasks": lambda client, _: _run(client, "bench.tasks", count=3),
    "a hundred tasks at once": lambda client, _: _run(client, "bench.gathered", count=100),
    "three steps with a store": lambda client, _: _run(client, "bench.chain", steps=3),
    "a child": lambda client, _: _run(client, "bench.parent", count=1),
    "an event": _event,
    "a timer": lambda client, _: _run(client, "cost.later"),
}


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_costs_what_was_recorded(database: Database, path: str) -> None:
    async with _worker_and_client(database) as client:
        await _assert_within(database, path, lambda: PATHS[path](client, database))


async def test_a_run_from_elsewhere_is_claimed_at_the_cost_recorded(database: Database) -> None:
    async with (
        _worker_and_client(database),
        await Connection.connect(settings=_settings(database)) as elsewhere,
    ):
        client = Client(elsewhere)
        path = "one task, started elsewhere"
        await _assert_within(database, path, lambda: _run(client, "bench.tasks", count=1))


async def test_many_runs_share_what_they_cost(database: Database) -> None:
    async with _worker_and_client(database) as client:
        # How they gather depends on timing: alone each of them would take five.
        path = "250 runs of three tasks"
        await _assert_within(database, path, lambda: _batch(client), margin=2)


async def _assert_within(
    database: Database, path: str, act: Callable[[], Awaitable[None]], margin: int = 1
) -> None:
    """Measure until the least of each cost is within what is recorded, or time is up."""
    await act()  # prepares statements
    least = await _cost(database, act)
    if os.environ.get("RECORD_BUDGET"):
        for _ in range(20):
            least = _least(least, await _cost(database, act))
        _record(path, least)
    recorded = Cost(**tomllib.loads(BUDGET.read_text(encoding="utf-8"))[path])
    allowed = Cost(
        margin * recorded.statements,
        margin * recorded.transactions,
        recorded.rows,
        int(recorded.wal * WAL_MARGIN),
    )
    until = monotonic() + PATIENCE_SECONDS
    while _least(least, allowed) != least and monotonic() < until:
        least = _least(least, await _cost(database, act))
    assert asdict(_least(least, allowed)) == asdict(least), f"allowed: {allowed}"


def _least(one: Cost, other: Cost) -> Cost:
    return Cost(*(min(pair) for pair in zip(astuple(one), astuple(other), strict=True)))


def _record(path: str, cost: Cost) -> None:
    recorded = tomllib.loads(BUDGET.read_text(encoding="utf-8")) if BUDGET.exists() else {}
    recorded[path] = asdict(cost)
    tables = (
        f'["{name}"]\n' + "".join(f"{key} = {value}\n" for key, value in table.items())
        for name, table in sorted(recorded.items())
    )
    BUDGET.write_text("\n".join(tables), encoding="utf-8")


def _settings(database: Database) -> Any:
    """Polls and renewals so rare that none falls into a test."""
    return load_settings(
        database_url=database.dsn, poll_seconds=300, lease_seconds=3600, concurrency=1000
    )


@asynccontextmanager
async def _worker_and_client(database: Database) -> AsyncIterator[Client]:
    async with await Connection.connect(settings=_settings(database)) as connection:
        worker = Worker([*workload.ALL, later], connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.start())
            await worker.wait_until_ready()
            yield Client(connection)
            await worker.stop()


async def _cost(database: Database, act: Callable[[], Awaitable[None]]) -> Cost:
    before = await _gauges(database)
    with counting_statements(besides=await database.connect()) as count:
        await act()
    after = await _gauges(database)
    return Cost(count.statements, *(now - then for now, then in zip(after, before, strict=True)))


async def _gauges(database: Database) -> tuple[int, int, int]:
    """Transaction ids and rows of history so far, and where the WAL is."""
    row = await database.fetchrow(
        "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xid,"
        " (select count(*) from grctl.runs) + (select count(*) from grctl.events) as rows,"
        " case when current_setting('full_page_writes') = 'on' then 0"
        " else (pg_current_wal_insert_lsn() - '0/0')::bigint end as wal"
    )
    assert row is not None
    return row["xid"], row["rows"], row["wal"]
