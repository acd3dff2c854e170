"""Updates: an event whose sender waits for the handler's answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grctl.client import Client
from grctl.models.errors import WorkflowError, WorkflowNotFoundError
from tests.features.looking import count, has_status
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.workflows.features import Order


async def test_an_update_changes_the_run_and_answers(client: Client, serve: Any) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    assert await handle.update("add", 3) == 3
    assert await handle.update("add", {"number": 4}, timeout=10) == 7
    assert await handle.update("answer_nothing") is None
    assert await handle.update("add_order", Order(item="tea", amount=1), return_type=Order) == (
        Order(item="tea", amount=2)
    )
    assert await handle.update("end_with", "the end") == "ended"
    assert await handle.result(timeout=30) == "the end"


async def test_updates_of_many_senders_are_handled_once_each(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    await serve()
    handle = await client.start_workflow("features.box", "a")
    totals = await asyncio.gather(*(handle.update("add", 1, timeout=20) for _ in range(50)))

    assert sorted(totals) == list(range(1, 51))
    assert book.count("added") == 50
    assert await count(database, "inbox") == 0


async def test_what_the_handler_raises_fails_the_run_and_reaches_the_sender(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    with pytest.raises(ValueError, match="not today"):
        await handle.update("refuse")
    await has_status(database, "a", "failed")
    with pytest.raises(WorkflowError, match="has ended and takes no updates"):
        await handle.update("add", 1)


async def test_an_update_whose_handler_times_out_says_so_to_its_sender(
    client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    with pytest.raises(TimeoutError, match="step hang timed out"):
        await asyncio.wait_for(handle.update("hang"), 10)


async def test_an_unknown_update_is_refused_at_once(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    for name in ("nonsense", "put"):  # an event is no update
        with pytest.raises(WorkflowError, match=f"no update '{name}'.*add"):
            await handle.update(name)
    with pytest.raises(WorkflowError, match="no event 'add'"):
        await handle.send("add", 1)
    assert await count(database, "inbox") == 0


async def test_an_unanswered_update_says_why_and_stays_in_the_inbox(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve()
    handle = await client.start_workflow("features.box", "a")
    await has_status(database, "a", "waiting")
    await worker.stop()

    with pytest.raises(TimeoutError, match=r"no worker that serves 'features\.box' is up"):
        await handle.update("add", 3, timeout=0.3)
    assert await count(database, "inbox") == 1
    await serve()
    assert await handle.update("add", 4, timeout=10) == 7


async def test_an_update_to_a_run_that_ends_before_it_handles_it_is_told_so(
    client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a", {"gate": "first"})
    await wait_until(lambda: book.count("at gate"), "the step runs")
    update = asyncio.create_task(handle.update("add", 1, timeout=20))
    await handle.terminate()

    with pytest.raises(WorkflowError, match="ended"):
        await update


async def test_after_a_crash_in_its_handler_an_update_is_answered_once(
    client: Client, launch: Any, book: Ledger
) -> None:
    first = await launch()
    handle = await client.start_workflow("features.box", "a")
    await handle.send("put_slowly", "x")
    update = asyncio.create_task(handle.update("add", 5, timeout=30))
    await wait_until(lambda: book.count("at gate", key="x"), "the handler before it runs")
    first.kill()
    await first.wait()
    book.open_gate("x")
    await launch()

    assert await update == 5
    assert book.count("added") == 1


async def test_an_update_whose_run_is_deleted_meanwhile_is_told_so(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve()
    handle = await client.start_workflow("features.box", "a")
    await has_status(database, "a", "waiting")
    await worker.stop()
    update = asyncio.create_task(handle.update("add", 1, timeout=60))
    await wait_until(lambda: count(database, "inbox"), "the update is there", timeout=30)
    await database.execute("delete from grctl.runs")

    with pytest.raises(WorkflowNotFoundError, match="it was deleted"):
        await update
