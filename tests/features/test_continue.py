"""continue_as_new: a fresh run in one transaction, and nothing sent on the way is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.models import Directive, RunStatus
from grctl.models.errors import WorkflowError
from grctl.worker import Context
from grctl.workflow import Workflow
from tests.features.looking import count, has_status, kinds_of
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.workflows import features

loop = Workflow("continue.loop")


@loop.start()
async def go_round(
    ctx: Context, left: int = 0, seen: list[str] | None = None, gate: str | None = None
) -> Directive:
    ctx.store.put("seen", seen or [])
    if gate is not None:
        await features.stand_at(gate)
    if left:
        return ctx.next.continue_as_new(left=left - 1, seen=seen or [])
    return ctx.next.wait()


@loop.event()
async def see(ctx: Context, what: str) -> Directive:
    """Handles one event a run: whatever else came is the successor's."""
    return ctx.next.continue_as_new(seen=[*await ctx.store.get("seen"), what])


@loop.event()
async def finish(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.store.get("seen"))


@loop.update()
async def length(ctx: Context) -> tuple[Directive, int]:
    return ctx.next.wait(), len(await ctx.store.get("seen"))


@loop.query()
async def seen(ctx: Context) -> list[str]:
    found: list[str] = await ctx.store.get("seen", default=[])
    return found


async def test_the_old_run_ends_and_a_fresh_one_has_the_same_workflow_id(
    database: Database, client: Client, serve: Any
) -> None:
    await serve(loop)
    handle = await client.start_workflow("continue.loop", "a", {"left": 2, "seen": ["x"]})
    await handle.send("finish")

    assert await handle.result(timeout=10) == ["x"]
    rows = await database.fetch("select * from grctl.runs order by run_id")
    assert [row["status"] for row in rows] == ["continued", "continued", "completed"]
    assert {row["wf_id"] for row in rows} == {"a"}
    assert len({row["run_id"] for row in rows}) == 3
    # In the same transaction: the new one is there from the moment when the old one ended.
    assert rows[0]["ended_at"] == rows[1]["created_at"]
    assert (await client.describe("a")).status is RunStatus.COMPLETED
    assert (await client.describe("a", rows[0]["run_id"])).status is RunStatus.CONTINUED


async def test_a_run_has_a_store_and_a_history_of_its_own(
    database: Database, client: Client, serve: Any
) -> None:
    await serve(loop)
    handle = await client.start_workflow("continue.loop", "a", {"left": 1})
    await has_status(database, "a", "waiting")

    assert await kinds_of(database, "a") == ["step.completed", "step.completed"]
    assert await count(database, "store", "key = 'seen'") == 2
    await handle.cancel()


async def test_events_that_came_before_the_end_are_handled_by_the_successor(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve(loop)
    handle = await client.start_workflow("continue.loop", "a", {"left": 3, "gate": "first"})
    await wait_until(lambda: book.count("at gate"), "the first run is in its step")
    for name in "abc":
        await handle.send("see", name)
    update = asyncio.create_task(handle.update("length", timeout=20))

    async def sent() -> bool:
        return await count(database, "inbox") == 4

    await wait_until(sent, "the update is in the inbox")
    book.open_gate("first")

    assert await update == 3
    await handle.send("finish")
    assert await handle.result(timeout=10) == ["a", "b", "c"]
    assert await count(database, "inbox") == 0


async def test_no_event_is_lost_while_a_run_continues_again_and_again(
    client: Client, serve: Any
) -> None:
    await serve(loop)
    await serve(loop)
    handle = await client.start_workflow("continue.loop", "a")

    async def send_some(sender: int) -> None:
        for number in range(10):
            await handle.send("see", f"{sender}:{number}")

    await asyncio.gather(*(send_some(sender) for sender in range(10)))
    await handle.send("finish")

    handled = await handle.result(timeout=30)
    assert sorted(handled) == sorted(f"{s}:{n}" for s in range(10) for n in range(10))
    for sender in range(10):
        mine = [each for each in handled if each.startswith(f"{sender}:")]
        assert mine == [f"{sender}:{n}" for n in range(10)]


async def test_a_handle_goes_with_the_chain(client: Client, serve: Any, database: Database) -> None:
    await serve(loop)
    handle = await client.start_workflow("continue.loop", "a", {"left": 5, "seen": ["y"]})
    await has_status(database, "a", "waiting")

    assert await handle.query("seen") == ["y"]
    await handle.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=30)
    with pytest.raises(WorkflowError, match="has ended"):
        await handle.send("finish")
    with pytest.raises(WorkflowError, match="has ended"):
        await handle.terminate()


async def test_a_cancel_takes_the_place_of_a_continuation(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve(loop)
    handle = await client.start_workflow("continue.loop", "a", {"left": 1, "gate": "first"})
    await wait_until(lambda: book.count("at gate"), "the run is in its step")
    await handle.cancel()
    book.open_gate("first")

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=10)
    assert await count(database, "runs") == 1


async def test_the_runs_timeout_holds_for_each_run_of_the_chain_anew(
    database: Database, client: Client, serve: Any
) -> None:
    await serve(loop)
    handle = await client.start_workflow(
        "continue.loop", "a", {"left": 2}, timeout=timedelta(milliseconds=700)
    )

    with pytest.raises(TimeoutError):
        await handle.result(timeout=10)
    limits = await database.fetch("select distinct deadline_at - created_at as d from grctl.runs")
    assert [row["d"] for row in limits] == [timedelta(milliseconds=700)]


async def test_after_a_crash_a_run_continues_once(
    database: Database, client: Client, launch: Any, book: Ledger
) -> None:
    first = await launch()
    handle = await client.start_workflow("features.again", "a", {"left": 3})
    await wait_until(lambda: book.count("at gate", key="2"), "the second run is in its step")
    first.kill()
    for gate in "210":
        book.open_gate(gate)
    await launch()

    assert await handle.result(timeout=20) == "done"
    assert await count(database, "runs") == 4
