"""Why a run that no worker holds does not move: each answer, brought about by real workers."""

from __future__ import annotations

from datetime import timedelta

from grctl.client import Client
from grctl.models.run import RunStatus
from grctl.models.why import ReasonKind
from grctl.postgres.why import explain
from tests.features.looking import has_status
from tests.support import Database, wait_until
from tests.why.conftest import SLACK, Why
from tests.workflows import features
from tests.workflows.why import retried, silent


async def test_it_awaits_an_event(client: Client, serve, why: Why) -> None:
    await serve()
    await client.start_workflow("features.box", "b")

    explanation, reason = await why("b", ReasonKind.AWAITS_EVENT)

    assert explanation.status is RunStatus.WAITING
    assert len(explanation.reasons) == 1
    assert {"finish", "put"} <= set(reason.details["events"])
    # Which of several is not for us to say: one of them ends the run.
    assert reason.advice == "send one of them: `grctl send b EVENT`"
    assert reason.since is not None
    assert explanation.as_of - timedelta(minutes=1) < reason.since <= explanation.as_of + SLACK
    assert reason.until is None


async def test_a_wait_goes_on_since_its_step_not_since_an_unhandled_event(
    client: Client, serve, why: Why, database: Database
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "b")
    _, before = await why("b", ReasonKind.AWAITS_EVENT)
    await database.execute(
        "update grctl.workflow_types set event_names = event_names || array['nobody handles']"
        " where wf_type = 'features.box'"
    )
    await handle.send("nobody handles")

    async def is_dropped() -> bool:
        sql = "select count(*) from grctl.events where kind = 'event.unhandled'"
        return bool(await database.fetchval(sql))

    await wait_until(is_dropped, "the event is dropped")
    _, after = await why("b", ReasonKind.AWAITS_EVENT)
    assert after.since == before.since


async def test_it_awaits_an_event_or_a_timer(client: Client, serve, why: Why) -> None:
    await serve()
    await client.start_workflow("features.sleeper", "s", {"how": "wait", "seconds": 600})

    explanation, event = await why("s", ReasonKind.AWAITS_EVENT)

    timer = explanation.reasons[1]
    assert timer.kind is ReasonKind.TIMER
    assert "'woken'" in timer.text
    assert event.until == timer.until
    assert event.since is not None
    assert event.until is not None
    assert timedelta(seconds=590) < event.until - event.since <= timedelta(seconds=601)


async def test_a_wait_that_nothing_can_end_says_so(client: Client, serve, why: Why) -> None:
    await serve(silent)
    await client.start_workflow("why.silent", "s")

    _, reason = await why("s", ReasonKind.AWAITS_EVENT)

    assert "handles none" in reason.text
    assert "nothing can wake it" in reason.advice


async def test_it_awaits_its_children(client: Client, serve, why: Why) -> None:
    await serve()
    given = {"children": [{"input": {"how": "wait"}}, {"input": {"how": "wait"}}]}
    await client.start_workflow("features.parent", "p", given)

    explanation, reason = await why("p", ReasonKind.AWAITS_CHILDREN)

    assert sorted(reason.details["children"]) == ["p/0", "p/1"]
    assert reason.details["open"] == 2
    assert "grctl why" in reason.advice
    assert explanation.reasons[1].kind is ReasonKind.AWAITS_EVENT  # `heard` would wake it, too


async def test_its_next_step_is_delayed(client: Client, serve, why: Why) -> None:
    await serve()
    await client.start_workflow("features.sleeper", "s", {"how": "delay", "seconds": 600})

    explanation, reason = await why("s", ReasonKind.DELAY)

    assert explanation.status is RunStatus.DELAYED
    assert "'woken'" in reason.text
    assert reason.until is not None
    assert timedelta(minutes=9) < reason.until - explanation.as_of <= timedelta(minutes=10) + SLACK


async def test_its_step_failed_and_is_tried_again(client: Client, serve, why: Why) -> None:
    await serve(retried)
    await client.start_workflow("why.retried", "r")

    _, reason = await why("r", ReasonKind.BACKOFF)

    assert reason.text == "attempt 1 of 3 of step 'buy' failed: ValueError: the shop is shut"
    assert reason.details["error"]["message"] == "the shop is shut"
    assert "in buy" in reason.details["error"]["stack_trace"]
    assert reason.until is not None
    assert reason.since is not None
    assert reason.until - reason.since >= timedelta(minutes=59)


async def test_no_worker_serves_its_type_any_more(
    client: Client, serve, why: Why, database: Database
) -> None:
    worker = await serve(features.child)
    await serve(features.box)  # of another type, and up
    await worker.stop(shutdown_timeout=0)
    await client.start_workflow("features.child", "c")

    explanation, reason = await why("c", ReasonKind.NO_WORKER)

    assert explanation.status is RunStatus.SCHEDULED
    assert worker.worker_id in reason.text
    assert "was stopped" in reason.text
    assert reason.details["for"] == "the run is to start"
    assert "grctl worker" in reason.advice


async def test_its_only_worker_was_killed(client: Client, launch, why: Why) -> None:
    worker = await launch(lease=1.0)
    await client.start_workflow("features.box", "b")
    await why("b", ReasonKind.AWAITS_EVENT)
    worker.kill()
    await worker.wait()
    await (await client.get_workflow_handle("b")).send("finish")

    explanation, reason = await why("b", ReasonKind.NO_WORKER)

    assert "is silent: its lease is over" in reason.text
    assert reason.details["for"] == "the event 'finish' is to be handled"
    assert reason.since is not None
    assert reason.since <= explanation.as_of + SLACK


async def test_a_wait_tells_beside_that_nobody_would_go_on_with_it(
    client: Client, serve, why: Why
) -> None:
    worker = await serve(features.box)
    await client.start_workflow("features.box", "b")
    await why("b", ReasonKind.AWAITS_EVENT)
    await worker.stop(shutdown_timeout=0)

    explanation, _ = await why("b", ReasonKind.AWAITS_EVENT)

    assert [each.kind for each in explanation.reasons][1:] == [ReasonKind.NO_WORKER]
    advice = explanation.reasons[0].advice
    assert advice.startswith("start a worker that serves 'features.box': none is up, and an event")
    assert advice.endswith("then send one of them: `grctl send b EVENT`")


async def test_all_slots_of_all_workers_are_taken(
    client: Client, serve, why: Why, database: Database
) -> None:
    await serve(features.sleeper, concurrency=1)
    await client.start_workflow("features.sleeper", "first", {"how": "hang"})
    await has_status(database, "first", "running")
    for name in ("second", "third"):
        await client.start_workflow("features.sleeper", name, {"how": "hang"})

    _, second = await why("second", ReasonKind.NO_FREE_SLOT)
    _, third = await why("third", ReasonKind.NO_FREE_SLOT)

    assert (second.details["ahead"], third.details["ahead"]) == (0, 1)
    assert third.details["slots"] == 1
    assert "GRCTL_CONCURRENCY" in third.advice


async def test_it_is_due_and_a_transaction_holds_its_row(
    client: Client, serve, why: Why, database: Database
) -> None:
    worker = await serve(features.sleeper)
    await client.start_workflow("features.sleeper", "s", {"how": "delay"})
    await has_status(database, "s", "delayed")
    await worker.stop(shutdown_timeout=0)
    await database.execute("update grctl.runs set wake_at = grctl.now()")
    other = await client.database.connect("test")
    try:
        async with other.transaction():
            await other.execute("select from grctl.runs where wf_id = 's' for update")
            await serve(features.sleeper)

            explanation, reason = await why("s", ReasonKind.DUE)

            assert explanation.status is RunStatus.DELAYED
            assert "`grctl doctor`" in reason.advice
        await has_status(database, "s", "completed")
    finally:
        await other.close()


async def test_a_run_of_an_unknown_id_has_no_reasons(client: Client) -> None:
    assert await explain(client.database, "nobody") is None
