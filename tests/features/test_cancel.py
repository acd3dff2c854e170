"""Cancel: at once where no step runs, else at the step's end, which is woken early and told."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from grctl.client import Client
from grctl.models.errors import WorkflowError
from tests.features.looking import count, has_status, kinds_of, status_of
from tests.support import Database, wait_until
from tests.support.ledger import Ledger


async def body_of_the_end(database: Database) -> str:
    return str(
        await database.fetchval(
            "select body ->> 'reason' from grctl.events where kind = 'run.cancelled'"
        )
    )


@pytest.mark.parametrize("how", ["wait", "delay"])
async def test_a_parked_run_is_cancelled_at_once_with_no_worker_up(
    database: Database, client: Client, serve: Any, book: Ledger, how: str
) -> None:
    worker = await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": how})
    await has_status(database, "a", "waiting" if how == "wait" else "delayed")
    await worker.stop()

    await handle.cancel("changed my mind")

    assert await status_of(database, "a") == "cancelled"
    assert await body_of_the_end(database) == "changed my mind"
    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=30)
    assert book.count("woken") == 0


async def test_a_run_that_never_began_is_cancelled_at_once(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    worker = await serve()
    await worker.stop()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "gate"})
    await handle.cancel()
    assert await status_of(database, "a") == "cancelled"

    await serve()
    other = await client.run_workflow("features.sleeper", "b", {"how": "none"})
    assert other == "woken"
    assert book.count("step", "a") == 0


async def test_a_cancel_during_a_step_lets_it_end_and_takes_its_directives_place(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "gate"})
    await wait_until(lambda: book.count("at gate"), "the step runs")
    await handle.cancel("enough")

    async def is_told() -> bool:
        return await count(database, "events", "kind = 'run.cancel_received'") == 1

    await wait_until(is_told, "the step is told")
    assert await status_of(database, "a") == "running"
    book.open_gate("a")

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=10)
    kinds = await kinds_of(database, "a")
    assert kinds == ["run.cancel_received", "task.completed", "step.completed", "run.cancelled"]
    assert await body_of_the_end(database) == "enough"
    # The step's writes count, its directive does not.
    assert await handle.query("stored", "cancel requested") is True
    assert book.count("woken") == 0


@pytest.mark.parametrize("how", ["sleep", "backoff"])
async def test_a_cancel_wakes_a_sleep_and_a_backoff_early_and_the_step_sees_why(
    database: Database, client: Client, serve: Any, book: Ledger, how: str
) -> None:
    await serve()
    await serve()  # whichever holds the run
    handle = await client.start_workflow("features.sleeper", "a", {"how": how})
    kind = {"sleep": "sleep.recorded", "backoff": "task.attempt_failed"}[how]

    async def sleeps() -> bool:
        return await count(database, "events", f"kind = '{kind}'") == 1

    await wait_until(sleeps, "the step sleeps")
    await handle.cancel()

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=30)
    assert await handle.query("stored", "cancel requested") is True
    assert await status_of(database, "a") == "cancelled"


async def test_a_cancel_reaches_a_worker_that_missed_the_notification(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "sleep"})
    await wait_until(lambda: book.count("before"), "the step sleeps")
    await database.execute("update grctl.runs set cancel_requested_at = grctl.now()")

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=10)


async def test_a_cancel_between_a_crash_and_the_take_over_is_not_lost(
    database: Database, client: Client, launch: Any, book: Ledger
) -> None:
    first = await launch()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "sleep"})

    async def sleeps() -> bool:
        return await count(database, "events", "kind = 'sleep.recorded'") == 1

    await wait_until(sleeps, "the step sleeps")
    first.kill()
    await first.wait()
    await handle.cancel("while nobody had it")
    await launch()

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=20)
    assert await handle.query("stored", "cancel requested") is True
    assert book.count("before") == 1
    assert await body_of_the_end(database) == "while nobody had it"


async def test_a_replay_that_waits_for_its_store_is_told_no_sooner_of_a_cancel(
    database: Database, client: Client, launch: Any, book: Ledger
) -> None:
    first = await launch()
    handle = await client.start_workflow("features.cautious", "a")
    await wait_until(lambda: book.count("at gate"), "the task runs")

    async def is_seen() -> bool:
        return await count(database, "events", "kind = 'task.started'") == 1

    await wait_until(is_seen, "history has the task")
    await handle.cancel()

    async def is_told() -> bool:
        return await count(database, "events", "kind = 'run.cancel_received'") == 1

    await wait_until(is_told, "the step is told")
    first.kill()
    await first.wait()
    blocker = await asyncpg.connect(database.dsn)
    async with blocker.transaction():
        await blocker.execute("lock table grctl.store in access exclusive mode")
        await launch()
        blocked = "select from pg_locks where relation = 'grctl.store'::regclass and not granted"
        await wait_until(lambda: blocker.fetch(blocked), "the replay reads its store", timeout=60)
    await blocker.close()
    book.open_gate("a")

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=30)
    assert await status_of(database, "a") == "cancelled"


async def test_a_cancel_reaches_a_run_in_another_process(
    client: Client, launch: Any, serve: Any, book: Ledger
) -> None:
    await launch()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "sleep"})
    await wait_until(lambda: book.count("before"), "the step sleeps")
    await serve()
    await handle.cancel()

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=10)


async def test_a_second_cancel_keeps_the_first_reason(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "gate"})
    await wait_until(lambda: book.count("at gate"), "the step runs")
    await handle.cancel("first")
    await handle.cancel("second")
    book.open_gate("a")

    with pytest.raises(asyncio.CancelledError):
        await handle.result(timeout=10)
    assert await body_of_the_end(database) == "first"


async def test_an_ended_run_cannot_be_cancelled(client: Client, serve: Any) -> None:
    await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "none"})
    await handle.result(timeout=10)

    with pytest.raises(WorkflowError, match="has ended and cannot be cancelled"):
        await handle.cancel()


async def test_cancels_and_events_that_meet_leave_every_run_ended(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    await serve()
    handles = [
        await client.start_workflow("features.sleeper", f"a{n}", {"how": "wait"})
        for n in range(100)
    ]
    await asyncio.gather(
        *(h.cancel() for h in handles), *(h.send("poke") for h in handles), return_exceptions=True
    )
    results = await asyncio.gather(*(h.result(timeout=20) for h in handles), return_exceptions=True)

    assert all(r == "poked" or isinstance(r, asyncio.CancelledError) for r in results)
    assert await count(database, "runs", "ended_at is null") == 0
