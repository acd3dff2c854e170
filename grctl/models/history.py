"""The history of a run: the kinds of its events, and the message that each kind carries.

Kinds, message classes and their fields are a public contract: they are added to, never changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from grctl.models.messages import (
    ChildWorkflowEnded,
    ChildWorkflowRefused,
    ChildWorkflowStarted,
    EventReceived,
    EventUnhandled,
    HistoryMessage,
    MessageRefused,
    MessageSent,
    ParentEventRefused,
    ParentEventSent,
    RandomRecorded,
    RunCancelled,
    RunCancelReceived,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunRetried,
    RunScheduled,
    RunStarted,
    RunTerminated,
    RunTimeout,
    SleepCompleted,
    SleepRecorded,
    StepAttemptFailed,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepStarted,
    StepTimeout,
    TaskAttemptFailed,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
    TimestampRecorded,
    UpdateAnswered,
    UpdateReceived,
    UuidRecorded,
    WaitStarted,
    WaitTimedOut,
    shown,
)

__all__ = [
    "KIND_OF",
    "MESSAGE_CLASSES",
    "ChildWorkflowEnded",
    "ChildWorkflowRefused",
    "ChildWorkflowStarted",
    "EventReceived",
    "EventUnhandled",
    "HistoryEvent",
    "HistoryKind",
    "HistoryMessage",
    "MessageRefused",
    "MessageSent",
    "ParentEventRefused",
    "ParentEventSent",
    "RandomRecorded",
    "RunCancelReceived",
    "RunCancelled",
    "RunCompleted",
    "RunContinued",
    "RunFailed",
    "RunRetried",
    "RunScheduled",
    "RunStarted",
    "RunTerminated",
    "RunTimeout",
    "SleepCompleted",
    "SleepRecorded",
    "StepAttemptFailed",
    "StepCancelled",
    "StepCompleted",
    "StepFailed",
    "StepStarted",
    "StepTimeout",
    "TaskAttemptFailed",
    "TaskCancelled",
    "TaskCompleted",
    "TaskFailed",
    "TaskStarted",
    "TimestampRecorded",
    "UpdateAnswered",
    "UpdateReceived",
    "UuidRecorded",
    "WaitStarted",
    "WaitTimedOut",
]


class HistoryKind(StrEnum):
    """The kind of a history event; ``MESSAGE_CLASSES`` gives the class of its message."""

    RUN_SCHEDULED = "run.scheduled"
    RUN_STARTED = "run.started"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_TIMEOUT = "run.timeout"
    RUN_CANCEL_RECEIVED = "run.cancel_received"
    RUN_CANCELLED = "run.cancelled"
    RUN_TERMINATED = "run.terminated"
    RUN_CONTINUED = "run.continued"
    RUN_RETRIED = "run.retried"
    STEP_STARTED = "step.started"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_ATTEMPT_FAILED = "step.attempt_failed"
    STEP_CANCELLED = "step.cancelled"
    STEP_TIMEOUT = "step.timeout"
    WAIT_STARTED = "wait.started"
    WAIT_TIMED_OUT = "wait.timed_out"
    EVENT_RECEIVED = "event.received"
    EVENT_UNHANDLED = "event.unhandled"
    UPDATE_RECEIVED = "update.received"
    UPDATE_ANSWERED = "update.answered"
    TASK_STARTED = "task.started"
    TASK_COMPLETED = "task.completed"
    TASK_ATTEMPT_FAILED = "task.attempt_failed"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    TIMESTAMP_RECORDED = "timestamp.recorded"
    RANDOM_RECORDED = "random.recorded"
    UUID_RECORDED = "uuid.recorded"
    SLEEP_RECORDED = "sleep.recorded"
    SLEEP_COMPLETED = "sleep.completed"
    CHILD_STARTED = "child.started"
    CHILD_REFUSED = "child.refused"
    CHILD_ENDED = "child.ended"
    PARENT_EVENT_SENT = "parent.event_sent"
    PARENT_REFUSED = "parent.refused"
    MESSAGE_SENT = "message.sent"
    MESSAGE_REFUSED = "message.refused"


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of a run's history, ordered by ``seq``; ``timestamp`` is the database's.

    ``operation_id`` is the key of the call within its step that made it, ``worker_id`` the worker
    that wrote it; both are None where there is none.
    """

    wf_id: str
    run_id: UUID
    seq: int
    timestamp: datetime
    kind: HistoryKind
    msg: HistoryMessage
    operation_id: str | None = None
    worker_id: str | None = None
    step_name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The event as a dict for JSON output: ids and times become text."""
        return {f.name: shown(getattr(self, f.name)) for f in fields(self)}


MESSAGE_CLASSES: dict[HistoryKind, type[HistoryMessage]] = {
    HistoryKind.RUN_SCHEDULED: RunScheduled,
    HistoryKind.RUN_STARTED: RunStarted,
    HistoryKind.RUN_COMPLETED: RunCompleted,
    HistoryKind.RUN_FAILED: RunFailed,
    HistoryKind.RUN_TIMEOUT: RunTimeout,
    HistoryKind.RUN_CANCEL_RECEIVED: RunCancelReceived,
    HistoryKind.RUN_CANCELLED: RunCancelled,
    HistoryKind.RUN_TERMINATED: RunTerminated,
    HistoryKind.RUN_CONTINUED: RunContinued,
    HistoryKind.RUN_RETRIED: RunRetried,
    HistoryKind.STEP_STARTED: StepStarted,
    HistoryKind.STEP_COMPLETED: StepCompleted,
    HistoryKind.STEP_FAILED: StepFailed,
    HistoryKind.STEP_ATTEMPT_FAILED: StepAttemptFailed,
    HistoryKind.STEP_CANCELLED: StepCancelled,
    HistoryKind.STEP_TIMEOUT: StepTimeout,
    HistoryKind.WAIT_STARTED: WaitStarted,
    HistoryKind.WAIT_TIMED_OUT: WaitTimedOut,
    HistoryKind.EVENT_RECEIVED: EventReceived,
    HistoryKind.EVENT_UNHANDLED: EventUnhandled,
    HistoryKind.UPDATE_RECEIVED: UpdateReceived,
    HistoryKind.UPDATE_ANSWERED: UpdateAnswered,
    HistoryKind.TASK_STARTED: TaskStarted,
    HistoryKind.TASK_COMPLETED: TaskCompleted,
    HistoryKind.TASK_ATTEMPT_FAILED: TaskAttemptFailed,
    HistoryKind.TASK_FAILED: TaskFailed,
    HistoryKind.TASK_CANCELLED: TaskCancelled,
    HistoryKind.TIMESTAMP_RECORDED: TimestampRecorded,
    HistoryKind.RANDOM_RECORDED: RandomRecorded,
    HistoryKind.UUID_RECORDED: UuidRecorded,
    HistoryKind.SLEEP_RECORDED: SleepRecorded,
    HistoryKind.SLEEP_COMPLETED: SleepCompleted,
    HistoryKind.CHILD_STARTED: ChildWorkflowStarted,
    HistoryKind.CHILD_REFUSED: ChildWorkflowRefused,
    HistoryKind.CHILD_ENDED: ChildWorkflowEnded,
    HistoryKind.PARENT_EVENT_SENT: ParentEventSent,
    HistoryKind.PARENT_REFUSED: ParentEventRefused,
    HistoryKind.MESSAGE_SENT: MessageSent,
    HistoryKind.MESSAGE_REFUSED: MessageRefused,
}

KIND_OF: dict[type[HistoryMessage], HistoryKind] = {
    message: kind for kind, message in MESSAGE_CLASSES.items()
}
