"""The inbox: order, forms of payload, refusals; handled once, whatever happens to the worker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.models.errors import StepFailed, WorkflowError, WorkflowNotFoundError
from tests.features.looking import has_status, status_of
from tests.support import Database, wait_until
from tests.support.ledger import Ledger


async def test_events_are_handled_in_the_order_of_their_arrival(client: Client, serve: Any) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    for number in range(20):
        await handle.send("put", str(number))
    await handle.send("finish")

    assert await handle.result(timeout=10) == [str(number) for number in range(20)]


async def test_events_that_come_before_the_wait_and_even_before_the_start_are_kept(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    worker = await serve()
    await worker.stop()  # the type is registered now
    handle = await client.start_workflow("features.box", "a", {"gate": "first"})
    await handle.send("put", "before the start")
    await serve()
    await wait_until(lambda: book.count("at gate"), "the first step runs")
    await handle.send("put", "during the step")
    assert await status_of(database, "a") == "running"
    assert book.count("handled") == 0
    book.open_gate("first")
    await handle.send("finish")

    assert await handle.result(timeout=10) == ["before the start", "during the step"]


async def test_no_event_is_dispatched_during_a_delay_between_steps(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "delay"})  # an hour
    await has_status(database, "a", "delayed")
    await handle.send("poke")
    # The worker goes by it.
    assert await client.run_workflow("features.sleeper", "b", {"how": "none"}) == "woken"
    assert await status_of(database, "a") == "delayed"
    await worker.stop()
    await database.shift_clock("2 hours")
    await serve()

    assert await handle.result(timeout=30) == "woken"
    assert await database.fetchval("select count(*) from grctl.events where name = 'poke'") == 0


async def test_the_handlers_of_a_run_go_one_at_a_time(
    client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    await serve()
    handle = await client.start_workflow("features.box", "a")
    for name in ("one", "two"):
        await handle.send("put_slowly", name)
    await wait_until(lambda: book.count("at gate", key="one"), "the first handler runs")
    book.open_gate("two")
    assert book.count("handled") == 1
    book.open_gate("one")
    await handle.send("finish")

    assert await handle.result(timeout=10) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "payload", "kept"),
    [
        ("put_number", 7, ["number", 7]),
        ("put_number", {"number": 7}, ["number", 7]),
        ("put_order", {"item": "tea", "amount": 3}, ["order", "tea", 3]),
        ("put_order", {"order": {"item": "tea"}}, ["order", "tea", 1]),
        ("put_point", {"x": 1, "y": 2}, ["point", 1, 2]),
        ("put_point", {"point": {"x": 1, "y": 2}}, ["point", 1, 2]),
        ("put_pair", {"first": 1}, ["pair", 1, "two"]),
        ("put_pair", {"first": 1, "second": "b"}, ["pair", 1, "b"]),
        ("put nothing", None, "nothing"),
    ],
)
async def test_payloads_reach_the_handler_in_every_form(
    client: Client, serve: Any, name: str, payload: object, kept: object
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    await handle.send(name, payload)
    await handle.send("finish")

    assert await handle.result(timeout=10) == [kept]


async def test_models_are_sent_as_they_are(client: Client, serve: Any) -> None:
    from tests.workflows.features import Order, Point

    await serve()
    handle = await client.start_workflow("features.box", "a")
    await handle.send("put_order", Order(item="tea", amount=2))
    await handle.send("put_point", Point(3, 4))
    await handle.send("finish")

    assert await handle.result(timeout=10) == [["order", "tea", 2], ["point", 3, 4]]


@pytest.mark.parametrize(
    ("payload", "named"),
    [({"number": "many"}, "number"), ({"nonsense": 1, "number": 1}, "nonsense"), (None, "number")],
)
async def test_a_payload_that_does_not_fit_fails_the_step_and_is_named(
    client: Client, serve: Any, payload: object, named: str
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    await handle.send("put_number", payload)

    with pytest.raises(StepFailed, match=named) as caught:
        await handle.result(timeout=10)
    assert caught.value.step_name == "put_number"


async def test_a_send_that_nobody_could_handle_fails_at_its_sender(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    with pytest.raises(WorkflowError, match=r"no event 'nonsense'.*put_number"):
        await handle.send("nonsense")
    with pytest.raises(WorkflowError, match="no event 'got'"):
        await handle.send("got")  # a query
    with pytest.raises(WorkflowNotFoundError, match="'nobody'"):
        await (await client.get_workflow_handle("nobody")).send("put", "x")
    assert await database.fetchval("select count(*) from grctl.inbox") == 0

    await handle.send("finish")
    await handle.result(timeout=10)
    with pytest.raises(WorkflowError, match="has ended and takes no events"):
        await handle.send("put", "late")
    assert await database.fetchval("select count(*) from grctl.inbox") == 0


async def test_an_event_without_a_handler_in_this_code_is_recorded_and_dropped(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    # An older version of the workflow knew it: the registration still does.
    await database.execute(
        "update grctl.workflow_types set event_names = event_names || '{old name}'::text[]"
    )
    handle = await client.start_workflow("features.box", "a", {"timeout_ms": 60_000})
    await has_status(database, "a", "waiting")
    timer = await database.fetchval("select wait_until from grctl.runs")
    await handle.send("old name", {"x": 1})

    async def dropped() -> bool:
        return bool(
            await database.fetchval(
                "select count(*) from grctl.events where kind = 'event.unhandled'"
            )
        )

    await wait_until(dropped, "the event is dropped")
    await has_status(database, "a", "waiting")
    assert await database.fetchval("select count(*) from grctl.inbox") == 0
    # The wait goes on as it was.
    assert await database.fetchval("select wait_until from grctl.runs") == timer
    assert await database.fetchval("select wait_step from grctl.runs") == "timed_out"
    await handle.send("put", "x")
    await handle.send("finish")
    assert await handle.result(timeout=10) == ["x"]


async def test_a_dropped_event_leaves_the_waits_timer_punctual(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    await database.execute(
        "update grctl.workflow_types set event_names = event_names || '{old name}'::text[]"
    )
    # Time enough for the event to come first: the timer is to go off in this same worker.
    handle = await client.start_workflow("features.box", "a", {"timeout_ms": 2000})
    await has_status(database, "a", "waiting")
    await handle.send("old name")

    assert await handle.result(timeout=30) == ["timed out"]


async def test_many_senders_and_two_workers_handle_every_event_once(
    client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    await serve()
    handle = await client.start_workflow("features.box", "a")

    async def send_some(sender: int) -> None:
        for number in range(10):
            await handle.send("put", f"{sender}:{number}")

    await asyncio.gather(*(send_some(sender) for sender in range(20)))
    await handle.send("finish")

    handled = await handle.result(timeout=30)
    assert sorted(handled) == sorted(f"{s}:{n}" for s in range(20) for n in range(10))
    for sender in range(20):  # in the order in which each of them sent
        mine = [each for each in handled if each.startswith(f"{sender}:")]
        assert mine == [f"{sender}:{n}" for n in range(10)]
    assert book.count("handled") == 200


async def test_an_event_whose_handler_the_runs_timeout_strikes_stays_in_the_inbox(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a", timeout=timedelta(seconds=1.5))
    await handle.send("put_slowly", "x")
    await wait_until(lambda: book.count("at gate", key="x"), "the handler stands at its gate")

    with pytest.raises(TimeoutError):
        await handle.result(timeout=20)
    assert await status_of(database, "a") == "timed_out"
    assert await database.fetchval("select name from grctl.inbox") == "put_slowly"


async def test_after_a_crash_in_a_handler_the_event_is_handled_again_and_its_tasks_are_not(
    database: Database, client: Client, launch: Any, book: Ledger
) -> None:
    first = await launch()
    handle = await client.start_workflow("features.box", "a")
    await handle.send("put_slowly", "x")
    await handle.send("put", "y")
    await wait_until(lambda: book.count("at gate", key="x"), "the handler stands at its gate")
    first.kill()
    await first.wait()
    assert await database.fetchval("select count(*) from grctl.inbox") == 2
    book.open_gate("x")
    await launch()
    await handle.send("finish")

    assert await handle.result(timeout=20) == ["x", "y"]
    assert book.count("handled", key="x") == 1
    assert book.count("at gate", key="x") == 2
    assert await database.fetchval("select count(*) from grctl.inbox") == 0
