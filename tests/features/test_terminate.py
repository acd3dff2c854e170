"""Terminate: at once, whoever has the run and whatever it does; nothing of it is recorded after."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grctl.client import Client
from grctl.models.errors import WorkflowError
from tests.features.looking import has_status, kinds_of, status_of
from tests.support import Database, wait_until
from tests.support.ledger import Ledger


async def test_a_hung_step_is_stopped_on_the_worker_that_has_it(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    holder = await serve(concurrency=1)
    handle = await client.start_workflow("features.sleeper", "a", {"how": "hang"})
    await wait_until(lambda: book.count("step"), "the step hangs")

    await handle.terminate("it hangs")

    assert await status_of(database, "a") == "terminated"
    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=30)
    await wait_until(lambda: book.count("cancelled"), "its coroutine is stopped")
    await wait_until(lambda: not holder.slots.executors, "its slot is free")
    assert await kinds_of(database, "a") == ["run.terminated"]
    assert await client.run_workflow("features.sleeper", "b", {"how": "none"}) == "woken"


async def test_a_step_that_swallows_its_cancellation_records_nothing_more(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "deaf"})
    await wait_until(lambda: book.count("step"), "the step runs")
    await handle.terminate()
    await wait_until(lambda: book.count("cancelled"), "it was told")
    book.open_gate("a")
    assert await client.run_workflow("features.sleeper", "b", {"how": "none"}) == "woken"

    assert await kinds_of(database, "a") == ["run.terminated"]
    assert book.count("woken", "a") == 0


async def test_a_stopped_worker_is_no_obstacle_and_writes_nothing_when_it_wakes(
    database: Database, client: Client, launch: Any, book: Ledger
) -> None:
    worker = await launch(lease=60)
    handle = await client.start_workflow("features.sleeper", "a", {"how": "gate"})
    await wait_until(lambda: book.count("at gate"), "the step runs")
    worker.stop()

    await asyncio.wait_for(handle.terminate("now"), 30)

    assert await status_of(database, "a") == "terminated"
    before = await kinds_of(database, "a")
    book.open_gate("a")
    worker.cont()
    # The same worker goes on with other runs: it has seen what became of this one.
    assert (
        await asyncio.wait_for(client.run_workflow("features.sleeper", "b", {"how": "none"}), 15)
        == "woken"
    )
    assert await kinds_of(database, "a") == before
    assert book.count("woken", "a") == 0


@pytest.mark.parametrize("how", ["wait", "delay"])
async def test_a_parked_run_is_terminated_with_no_worker_up(
    database: Database, client: Client, serve: Any, how: str
) -> None:
    worker = await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": how})
    await has_status(database, "a", "waiting" if how == "wait" else "delayed")
    await worker.stop()

    await handle.terminate("gone")

    assert await status_of(database, "a") == "terminated"
    assert (
        await database.fetchval(
            "select body ->> 'reason' from grctl.events where kind = 'run.terminated'"
        )
        == "gone"
    )
    with pytest.raises(WorkflowError, match="has ended and cannot be terminated"):
        await handle.terminate()


async def test_terminates_in_the_midst_of_steps_leave_whole_histories(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    await serve()
    handles = [await client.start_workflow("features.box", f"a{n}") for n in range(60)]
    sends = [h.send("put", str(n)) for n in range(5) for h in handles]
    ends = [h.terminate() for h in handles]
    await asyncio.gather(*sends, *ends, return_exceptions=True)
    outcomes = await asyncio.gather(
        *(h.result(timeout=20) for h in handles), return_exceptions=True
    )

    assert all(isinstance(each, asyncio.CancelledError) for each in outcomes)
    assert (
        await database.fetch(
            "select run_id from grctl.events group by run_id "
            "having max(seq) <> count(*) or count(*) filter (where kind = 'run.terminated') <> 1"
        )
        == []
    )
    # Nothing follows the end.
    assert (
        await database.fetch(
            "select e.run_id from grctl.events e where kind = 'run.terminated' and exists "
            "(select from grctl.events o where o.run_id = e.run_id and o.seq > e.seq)"
        )
        == []
    )
