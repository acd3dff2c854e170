"""Every kind of event has its message class, with the fields of the public contract."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from uuid import UUID

import pytest

import grctl.models
import grctl.models.history
from grctl.models import ErrorDetails, HistoryEvent, HistoryKind, HistoryMessage
from grctl.models.history import KIND_OF, MESSAGE_CLASSES

CONTRACT = {
    "run.scheduled": "RunScheduled()",
    "run.started": "RunStarted(input)",
    "run.completed": "RunCompleted(result, duration_ms)",
    "run.failed": "RunFailed(error, duration_ms)",
    "run.timeout": "RunTimeout(duration_ms)",
    "run.cancel_received": "RunCancelReceived()",
    "run.cancelled": "RunCancelled(reason, duration_ms)",
    "run.terminated": "RunTerminated(reason, duration_ms)",
    "run.continued": "RunContinued(new_run_id, duration_ms)",
    "run.retried": "RunRetried()",
    "step.started": "StepStarted(step_name)",
    "step.completed": "StepCompleted(step_name, duration_ms)",
    "step.failed": "StepFailed(step_name, error, duration_ms)",
    "step.attempt_failed": "StepAttemptFailed(step_name, attempt, max_attempts, error, "
    "next_retry_delay_ms, duration_ms)",
    "step.cancelled": "StepCancelled(step_name)",
    "step.timeout": "StepTimeout(step_name, duration_ms)",
    "wait.started": "WaitStarted(timeout_ms, timeout_step_name)",
    "wait.timed_out": "WaitTimedOut(timeout_step_name)",
    "event.received": "EventReceived(event_name, payload)",
    "event.unhandled": "EventUnhandled(event_name, payload)",
    "update.received": "UpdateReceived(update_name, payload)",
    "update.answered": "UpdateAnswered(update_name, answer)",
    "task.started": "TaskStarted(task_id, task_name, args, step_name)",
    "task.completed": "TaskCompleted(task_id, task_name, output, step_name, duration_ms)",
    "task.attempt_failed": "TaskAttemptFailed(task_id, task_name, step_name, attempt, "
    "max_attempts, error, next_retry_delay_ms, duration_ms)",
    "task.failed": "TaskFailed(task_id, task_name, step_name, error, duration_ms)",
    "task.cancelled": "TaskCancelled(task_id, task_name, step_name, duration_ms)",
    "timestamp.recorded": "TimestampRecorded(value)",
    "random.recorded": "RandomRecorded(value)",
    "uuid.recorded": "UuidRecorded(value)",
    "sleep.recorded": "SleepRecorded(duration_ms)",
    "sleep.completed": "SleepCompleted()",
    "child.started": "ChildWorkflowStarted(run_id, wf_type, wf_id, input)",
    "child.refused": "ChildWorkflowRefused(wf_type, wf_id, reason)",
    "child.ended": "ChildWorkflowEnded(run_id, status, result, error)",
    "parent.event_sent": "ParentEventSent(event_name, payload, parent_wf_type, parent_wf_id)",
    "parent.refused": "ParentEventRefused(event_name, parent_wf_type, parent_wf_id, reason)",
    "message.sent": "MessageSent(wf_id, event_name, payload)",
    "message.refused": "MessageRefused(wf_id, event_name, reason)",
}

RUN_ID = UUID("01890000-0000-7000-8000-000000000001")
NOW = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
ERROR = ErrorDetails("ValueError", "no")
SAMPLES = {"UUID": RUN_ID, "datetime": NOW, "ErrorDetails": ERROR, "ErrorDetails | None": ERROR}


def sample(kind: HistoryKind) -> HistoryMessage:
    message = MESSAGE_CLASSES[kind]
    return message(**{f.name: SAMPLES.get(str(f.type), 1) for f in fields(message)})


def test_the_kinds_and_messages_are_those_of_the_contract() -> None:
    found = {
        kind.value: f"{message.__name__}({', '.join(f.name for f in fields(message))})"
        for kind, message in MESSAGE_CLASSES.items()
    }

    assert found == CONTRACT
    assert set(MESSAGE_CLASSES) == set(HistoryKind)


@pytest.mark.parametrize("kind", HistoryKind)
def test_a_message_is_exported_and_knows_its_kind(kind: HistoryKind) -> None:
    message = MESSAGE_CLASSES[kind]

    assert KIND_OF[message] is kind
    assert getattr(grctl.models, message.__name__) is message
    assert getattr(grctl.models.history, message.__name__) is message


@pytest.mark.parametrize("kind", HistoryKind)
def test_a_message_comes_back_from_json(kind: HistoryKind) -> None:
    message = sample(kind)
    text = json.dumps(message.to_dict())

    assert type(message).from_dict(json.loads(text)) == message


def test_a_reader_leaves_what_a_newer_writer_added() -> None:
    read = MESSAGE_CLASSES[HistoryKind.STEP_STARTED].from_dict({"step_name": "a", "colour": 3})

    assert read == MESSAGE_CLASSES[HistoryKind.STEP_STARTED](step_name="a")


def test_an_event_is_shown_as_json() -> None:
    event = HistoryEvent(
        "order-1", RUN_ID, 3, NOW, HistoryKind.STEP_FAILED, sample(HistoryKind.STEP_FAILED)
    )

    assert json.loads(json.dumps(event.to_dict())) == {
        "wf_id": "order-1",
        "run_id": str(RUN_ID),
        "seq": 3,
        "timestamp": "2024-05-01T12:30:00+00:00",
        "kind": "step.failed",
        "msg": {
            "step_name": 1,
            "error": {
                "type": "ValueError",
                "message": "no",
                "stack_trace": "",
                "qualified_type": "",
            },
            "duration_ms": 1,
        },
        "operation_id": None,
        "worker_id": None,
        "step_name": None,
    }


def test_error_details_come_back_with_args_and_attributes() -> None:
    details = ErrorDetails("Declined", "no", "tb", "shop.Declined", (1, "a"), {"code": 5})

    assert ErrorDetails.from_dict(json.loads(json.dumps(details.to_dict()))) == details
    assert ErrorDetails.from_dict({}) == ErrorDetails()
