"""The connection is cut after a statement was committed and before its answer came: for each
statement of ours that writes, one after another."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from grctl.client import Client, Connection
from grctl.errors import WorkflowError
from grctl.postgres import sql
from grctl.postgres.database import is_passing
from grctl.settings import load_settings
from grctl.worker import ChildOutcome, Context, Worker, task
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until
from tests.support.proxy import proxied

T = TypeVar("T")

WORKERS = [
    "journal.commit",
    "leases.register",
    "leases.renew",
    "leases.stop",
    "leases.take_over",
    "queries.answer",
    "queries.take",
    "runs.claim",
    "runs.close_child",
    "types.register",
]
CLIENTS = [
    "inbox.send",
    "queries.ask",
    "queries.read",
    "runs.cancel",
    "runs.retry",
    "runs.start",
    "runs.terminate",
]

LAST_RESORTS = {"runs.release", "runs.fail", "queries.forget"}
"""Sent until they are answered, and fenced by the run's epoch; or a question nobody waits for."""
OPERATORS = {"activity", "archive", "audit", "retention"}
"""Files of statements that are no part of a run's life."""

WRITES = re.compile(r"insert into|update grctl|delete from|grctl\.(?!now|last_run|latest_run)\w+\(")

parent = Workflow("lost.parent")
child = Workflow("lost.child")
idle = Workflow("lost.idle")
flaky = Workflow("lost.flaky")
ALL = [parent, child, idle, flaky]

bodies: Counter[str] = Counter()
is_mended: set[str] = set()


@task
async def count(name: str) -> str:
    bodies[name] += 1
    return name


@parent.start()
async def parent_start(ctx: Context, heard: list[str] | None = None) -> Directive:
    me = ctx.run.wf_id
    if heard is not None:
        return ctx.next.complete(heard)
    await count(f"{me} parent")
    await ctx.start_child("lost.child", f"{me}/child", on_completed_step=child_done)
    await ctx.start_child("lost.idle", f"{me}/idle", parent_close_policy="cancel")
    ctx.store.put("heard", [])
    return ctx.next.wait()


async def hear(ctx: Context, what: str) -> list[str]:
    heard = [*await ctx.store.get("heard", list[str]), what]
    ctx.store.put("heard", heard)
    return heard


@parent.event()
async def tell(ctx: Context, what: str) -> Directive:
    await hear(ctx, what)
    return ctx.next.wait()


@parent.update()
async def ask(ctx: Context, what: str) -> tuple[Directive, str]:
    await hear(ctx, what)
    return ctx.next.wait(), f"answer to {what}"


@parent.query()
async def all_heard(ctx: Context) -> list[str]:
    return await ctx.store.get("heard", list[str], default=[])


@parent.event()
async def again(ctx: Context) -> Directive:
    return ctx.next.continue_as_new(heard=await ctx.store.get("heard", list[str]))


@parent.step()
async def child_done(ctx: Context, outcome: ChildOutcome[str]) -> Directive:
    await hear(ctx, outcome.result)
    return ctx.next.wait()


@child.start()
async def child_start(ctx: Context) -> Directive:
    await ctx.send_to_parent("tell", "the child")
    return ctx.next.complete(await count(f"{ctx.run.wf_id} child"))


@idle.start()
async def idle_start(ctx: Context) -> Directive:
    return ctx.next.wait()


@flaky.start()
async def flaky_start(ctx: Context) -> Directive:
    me = ctx.run.wf_id
    await count(f"{me} once")
    if me not in is_mended:
        raise ValueError("not yet")
    return ctx.next.complete("mended")


def test_no_statement_that_writes_is_left_out() -> None:
    found = {
        f"{file.stem}.{name}"
        for file in Path(sql.__file__).parent.glob("*.sql")
        if file.stem not in OPERATORS
        for name, text in sql.statements(file.stem, "grctl").items()
        if WRITES.search(text)
    }
    assert found - LAST_RESORTS == {*WORKERS, *CLIENTS}


async def test_runs_whose_claim_has_no_answer_are_given_back(database: Database) -> None:
    bodies.clear()
    near = load_settings(database_url=database.dsn, lease_seconds=60.0, poll_seconds=0.2)
    async with proxied(database.dsn) as proxy, AsyncExitStack() as stack:
        far = near.model_copy(update={"database_url": proxy.url})
        connection = await stack.enter_async_context(await Connection.connect(settings=near))
        client = Client(connection)
        worker = Worker(
            ALL, await stack.enter_async_context(await Connection.connect(settings=far))
        )
        working = asyncio.create_task(worker.start())
        await worker.wait_until_ready()
        handles: list[Any] = []
        while not await database.fetchval("select count(*) from grctl.runs where epoch > 1"):
            proxy.loses_answer_to = worker.database.sql("runs", "claim")
            handles.append(await client.start_workflow("lost.child", f"run {len(handles)}"))
            with pytest.raises(WorkflowError, match="has no parent"):
                await handles[-1].result(timeout=30)
            assert len(handles) < 50
        await worker.stop(0)
        await working

    assert proxy.cuts >= 1


@pytest.mark.parametrize("statement", [*WORKERS, *CLIENTS])
async def test_an_answer_lost_after_the_commit_changes_nothing(
    database: Database, statement: str
) -> None:
    file, _, name = statement.partition(".")
    async with proxied(database.dsn) as proxy, AsyncExitStack() as stack:
        near = load_settings(database_url=database.dsn, lease_seconds=1.0, poll_seconds=0.2)
        far = near.model_copy(update={"database_url": proxy.url})
        who = statement in WORKERS
        connection = await stack.enter_async_context(
            await Connection.connect(settings=near if who else far)
        )
        worker_connection = await stack.enter_async_context(
            await Connection.connect(settings=far if who else near)
        )
        worker = Worker(ALL, worker_connection)
        if name == "register":
            proxy.loses_answer_to = worker.database.sql(file, name)
        working = asyncio.create_task(worker.start())
        try:
            await wait_until(lambda: worker._was_ready or working.done(), "ready", timeout=30)
            if name not in {"register", "stop"}:
                proxy.loses_answer_to = worker.database.sql(file, name)
            await a_dead_worker(database)
            await story(Client(connection), "a")
            await wait_until(
                lambda: proxy.cuts or name == "stop", "the answer was lost", timeout=30
            )
            await wait_until(lambda: is_taken_over(database), "the dead worker is taken over")
            await story(Client(connection), "b")  # and all goes on as before
            proxy.loses_answer_to = worker.database.sql(file, name) if name == "stop" else None
        finally:
            await worker.stop(0)
            await working
        assert proxy.cuts == 1
    assert {run: n for run, n in bodies.items() if n > 1} == {}
    await assert_whole(database)


async def story(client: Client, me: str) -> None:
    """Something of everything; a client that gets no answer looks, and asks again."""
    bodies.clear()
    is_mended.discard(f"{me} flaky")
    handle = await client.get_workflow_handle(
        (await until_answered(lambda: start(client, "lost.parent", me))).workflow_id
    )

    async def heard() -> list[str]:
        return await until_answered(lambda: handle.query("all_heard", timeout=20))

    await wait_until(lambda: holds(heard, {"the child", f"{me}/child child"}), "child", timeout=30)
    await until_answered(lambda: handle.send("tell", "the client"))
    assert await until_answered(lambda: handle.update("ask", "a question", 20)) == (
        "answer to a question"
    )
    await until_answered(lambda: handle.send("again"))
    told = await handle.result(timeout=30)
    # Sent again after no answer, an event may have come twice: it says so, and never less.
    assert set(told) == {"the child", f"{me}/child child", "the client", "a question"}
    assert len(told) <= 5

    broken = await until_answered(lambda: start(client, "lost.flaky", f"{me} flaky"))
    with pytest.raises(WorkflowError, match="not yet"):
        await broken.result(timeout=30)
    is_mended.add(f"{me} flaky")
    await until_answered(lambda: retried(broken))
    assert await broken.result(timeout=30) == "mended"

    for how in ("cancel", "terminate"):
        open_one = await until_answered(lambda how=how: start(client, "lost.idle", f"{me} {how}"))
        await getattr(open_one, how)("enough")
        with pytest.raises(asyncio.CancelledError):
            await open_one.result(timeout=30)
    closed = await client.get_workflow_handle(f"{me}/idle")
    with pytest.raises(asyncio.CancelledError):
        await closed.result(timeout=30)


async def until_answered(call: Callable[[], Awaitable[T]]) -> T:
    for _ in range(5):
        try:
            return await call()
        except Exception as error:
            if not is_passing(error):
                raise
    raise AssertionError("never answered")


async def start(client: Client, wf_type: str, wf_id: str) -> Any:
    return await client.start_workflow(wf_type, wf_id)


async def retried(handle: Any) -> None:
    """A retry without an answer may have been done: then there is nothing to retry."""
    try:
        await handle.retry()
    except WorkflowError as error:
        assert "has not failed" in str(error)  # noqa: PT017


async def holds(look: Callable[[], Awaitable[list[str]]], wanted: set[str]) -> bool:
    return wanted <= set(await look())


async def a_dead_worker(database: Database) -> None:
    """There is one to take over from."""
    await database.execute(
        "insert into grctl.workers (worker_id, worker_name, wf_types, concurrency, lease_seconds, "
        "lease_until) values ('dead', 'dead', '{}', 1, 1, now() - interval '1 second')"
    )


async def is_taken_over(database: Database) -> bool:
    ended = "select end_reason = 'lost' from grctl.workers where worker_id = 'dead'"
    return bool(await database.fetchval(ended))


async def assert_whole(database: Database) -> None:
    """Every run has ended, its rows are numbered without a gap, its messages were handled."""
    assert await database.fetch("select wf_id, status from grctl.runs where ended_at is null") == []
    gaps = "select run_id from grctl.events group by run_id having max(seq) <> count(*)"
    assert await database.fetch(gaps) == []
    assert await database.fetchval("select count(*) from grctl.runs") == 2 * 7
    assert await database.fetchval("select count(*) from grctl.closings") == 0
    open_ones = "select count(*) from grctl.workers where ended_at is null"
    assert await database.fetchval(open_ones) <= 1
