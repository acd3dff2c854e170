"""What `get_history` reads back of runs that real workers executed."""

from __future__ import annotations

from uuid import UUID

import pytest

from grctl.errors import WorkflowError, WorkflowNotFoundError
from grctl.ids import new_run_id
from grctl.models import EventReceived, RunCompleted, TaskAttemptFailed, TaskCompleted, TaskStarted
from grctl.postgres import history as stored
from tests.support import wait_until

WAIT = ["run.scheduled", "run.started", "step.started", "step.completed", "wait.started"]


async def kinds(client, wf_id: str, run_id: UUID | None = None) -> list[str]:
    return [event.kind.value for event in await client.get_history(wf_id, run_id)]


async def started(client, wf_type: str, wf_id: str, input=None):
    handle = await client.start_workflow(wf_type, wf_id, input)
    await wait_until(lambda: is_parked(client, wf_id), "it waits")
    return handle


async def is_parked(client, wf_id: str) -> bool:
    return (await client.describe(wf_id)).status == "waiting"


async def test_the_history_of_a_run_with_a_retried_task(client, worker):
    result = await client.run_workflow("shop", "a-1", {"item": "book"})
    events = await client.get_history("a-1")
    assert [event.kind.value for event in events] == [
        "run.scheduled", "run.started", "step.started", "task.started", "task.completed",
        "task.started", "task.attempt_failed", "task.completed", "step.completed", "run.completed",
    ]  # fmt: skip
    assert isinstance(events[3].msg, TaskStarted)
    assert events[3].msg.args == {"item": "book"}
    assert isinstance(events[4].msg, TaskCompleted)
    assert events[4].msg.output == {"result": 4}
    assert events[4].msg.task_id == events[3].msg.task_id
    assert isinstance(events[6].msg, TaskAttemptFailed)
    assert (events[6].msg.attempt, events[6].msg.max_attempts) == (1, 2)
    assert str(events[6].msg.error) == "ConnectionError: no answer"
    assert isinstance(events[9].msg, RunCompleted)
    assert events[9].msg.result == result == {"item": "book", "paid": "paid"}
    assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
    assert {event.worker_id for event in events[1:]} == {worker.worker_id}


async def test_a_failed_run_says_why(client, worker):
    with pytest.raises(WorkflowError, match="ValueError: too much"):
        await client.run_workflow("shop", "a-1", {"item": "book", "amount": 101})
    events = await client.get_history("a-1")
    assert [event.kind.value for event in events[-3:]] == [
        "task.failed", "step.failed", "run.failed",
    ]  # fmt: skip
    assert {str(event.msg.error) for event in events[-3:]} == {"ValueError: too much"}


async def test_an_event_sent_before_the_wait_comes_after_it(client, worker):
    handle = await client.start_workflow("parked", "p-1")
    await handle.send("go", 3)
    assert await handle.result() == 3
    events = await client.get_history("p-1")
    assert [event.kind.value for event in events] == [
        *WAIT, "event.received", "step.started", "task.started", "task.completed",
        "task.started", "task.completed", "step.completed", "run.completed",
    ]  # fmt: skip
    assert events[5].msg == EventReceived("go", 3)


async def test_a_wait_that_timed_out(client, worker):
    assert await client.run_workflow("parked", "p-1", {"timeout_ms": 1}) == "late"
    assert await kinds(client, "p-1") == [
        *WAIT, "wait.timed_out", "step.started", "step.completed", "run.completed",
    ]  # fmt: skip


async def test_a_run_that_waits_has_a_history_so_far(client, worker):
    handle = await started(client, "parked", "p-1")
    assert await kinds(client, "p-1") == WAIT
    await handle.cancel("enough")
    events = await client.get_history("p-1")
    assert [event.kind.value for event in events] == [*WAIT, "run.cancelled"]
    assert events[-1].msg.reason == "enough"


async def test_a_terminate_stops_the_handler_that_runs(client, worker):
    handle = await started(client, "parked", "p-1")
    await handle.send("hang")
    running = [*WAIT, "event.received", "step.started"]

    async def hangs() -> bool:
        return await kinds(client, "p-1") == running

    await wait_until(hangs, "the handler runs")
    assert (await client.get_history("p-1"))[-1].step_name == "hang"
    await handle.terminate("enough")
    assert await kinds(client, "p-1") == [*running, "step.cancelled", "run.terminated"]


async def test_each_run_of_an_id_has_its_own_history(client, worker):
    first = await client.start_workflow("parked", "p-1", {"timeout_ms": 1})
    await first.result()
    await started(client, "parked", "p-1")
    assert await kinds(client, "p-1") == WAIT
    assert (await kinds(client, "p-1", first.run_id))[-1] == "run.completed"


async def test_the_current_step_of_a_run_that_waits_is_none(client, worker):
    await started(client, "parked", "p-1")
    assert (await client.describe("p-1")).step_name is None


async def test_what_does_not_exist_is_not_found(client, worker):
    with pytest.raises(WorkflowNotFoundError, match="no workflow with the id 'nobody'"):
        await client.get_history("nobody")
    await client.run_workflow("shop", "a-1", {"item": "book"})
    other = new_run_id()
    with pytest.raises(WorkflowNotFoundError, match=f"'a-1' has no run {other}"):
        await client.get_history("a-1", other)


async def test_a_long_history_is_read_in_pages(client, worker, monkeypatch):
    await client.run_workflow("shop", "a-1", {"item": "book"})
    whole = await client.get_history("a-1")
    for size in (1, 2, 4, 5):
        monkeypatch.setattr(stored, "PAGE_ROWS", size)
        assert await client.get_history("a-1") == whole
