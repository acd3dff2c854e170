"""The messages of a run's history: one class for each kind of event.

Class and field names are a public contract: they are added to, never changed. Durations are whole
milliseconds. Import them from ``grctl.models`` or ``grctl.models.history``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from grctl.models.error_details import ErrorDetails


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """What a history event says; one subclass for each kind."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict for JSON output: ids and times become text."""
        return {f.name: shown(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of ``to_dict``: ids, times and errors get their types again.

        Unknown keys are left, so that an older reader can read what a newer writer added; a
        missing one raises TypeError.
        """
        return cls(**{f.name: _read(f.type, data[f.name]) for f in fields(cls) if f.name in data})


@dataclass(frozen=True, slots=True)
class RunScheduled(HistoryMessage):
    """The run was created."""


@dataclass(frozen=True, slots=True)
class RunStarted(HistoryMessage):
    """A worker began the run."""

    input: Any


@dataclass(frozen=True, slots=True)
class RunCompleted(HistoryMessage):
    """The run finished with a result."""

    result: Any
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunFailed(HistoryMessage):
    """The run failed."""

    error: ErrorDetails
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunTimeout(HistoryMessage):
    """The run's timeout struck."""

    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunCancelReceived(HistoryMessage):
    """A cancel came while a step was running; the step may end normally."""


@dataclass(frozen=True, slots=True)
class RunCancelled(HistoryMessage):
    """The run was cancelled."""

    reason: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunTerminated(HistoryMessage):
    """The run was terminated."""

    reason: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunContinued(HistoryMessage):
    """The run ended by ``continue_as_new``; ``new_run_id`` goes on under its workflow id."""

    new_run_id: UUID
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunRetried(HistoryMessage):
    """A failed run was opened again, at the step that failed."""


@dataclass(frozen=True, slots=True)
class StepStarted(HistoryMessage):
    """A step began."""

    step_name: str


@dataclass(frozen=True, slots=True)
class StepCompleted(HistoryMessage):
    """A step ended with a directive; its writes are in."""

    step_name: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class StepFailed(HistoryMessage):
    """A step failed for good. (The exception of this name is in ``grctl.models.errors``.)"""

    step_name: str
    error: ErrorDetails
    duration_ms: int


@dataclass(frozen=True, slots=True)
class StepAttemptFailed(HistoryMessage):
    """A step failed and is tried again after ``next_retry_delay_ms``."""

    step_name: str
    attempt: int
    max_attempts: int
    error: ErrorDetails
    next_retry_delay_ms: int | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class StepCancelled(HistoryMessage):
    """A step was given up because its run was cancelled."""

    step_name: str


@dataclass(frozen=True, slots=True)
class StepTimeout(HistoryMessage):
    """A step ran longer than its timeout."""

    step_name: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class WaitStarted(HistoryMessage):
    """The run parked until an event comes or ``timeout_ms`` (None: never) is over."""

    timeout_ms: int | None
    timeout_step_name: str | None


@dataclass(frozen=True, slots=True)
class WaitTimedOut(HistoryMessage):
    """No event came in time; ``timeout_step_name`` runs next, or the run fails without one."""

    timeout_step_name: str | None


@dataclass(frozen=True, slots=True)
class EventReceived(HistoryMessage):
    """An event was taken from the inbox; its handler runs next."""

    event_name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class EventUnhandled(HistoryMessage):
    """An event was taken from the inbox and dropped: the workflow has no handler for it."""

    event_name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class UpdateReceived(HistoryMessage):
    """An update was taken from the inbox; its handler runs next."""

    update_name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class UpdateAnswered(HistoryMessage):
    """The sender of an update got its answer."""

    update_name: str
    answer: Any


@dataclass(frozen=True, slots=True)
class TaskStarted(HistoryMessage):
    """A task was called."""

    task_id: str
    task_name: str
    args: Any
    step_name: str


@dataclass(frozen=True, slots=True)
class TaskCompleted(HistoryMessage):
    """A task returned; ``output`` is ``{"result": ...}``."""

    task_id: str
    task_name: str
    output: Any
    step_name: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class TaskAttemptFailed(HistoryMessage):
    """An attempt of a task failed; the next comes after ``next_retry_delay_ms``."""

    task_id: str
    task_name: str
    step_name: str
    attempt: int
    max_attempts: int
    error: ErrorDetails
    next_retry_delay_ms: int | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class TaskFailed(HistoryMessage):
    """A task failed for good."""

    task_id: str
    task_name: str
    step_name: str
    error: ErrorDetails
    duration_ms: int


@dataclass(frozen=True, slots=True)
class TaskCancelled(HistoryMessage):
    """A task was cancelled by the step's own code."""

    task_id: str
    task_name: str
    step_name: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class TimestampRecorded(HistoryMessage):
    """What ``ctx.now()`` gave."""

    value: datetime


@dataclass(frozen=True, slots=True)
class RandomRecorded(HistoryMessage):
    """What ``ctx.random()`` gave."""

    value: float


@dataclass(frozen=True, slots=True)
class UuidRecorded(HistoryMessage):
    """What ``ctx.uuid4()`` gave."""

    value: UUID


@dataclass(frozen=True, slots=True)
class SleepRecorded(HistoryMessage):
    """``ctx.sleep()`` began; its end is fixed from here on."""

    duration_ms: int


@dataclass(frozen=True, slots=True)
class SleepCompleted(HistoryMessage):
    """A ``ctx.sleep()`` is over."""


@dataclass(frozen=True, slots=True)
class ChildWorkflowStarted(HistoryMessage):
    """The run started a child; ``run_id``, ``wf_type`` and ``wf_id`` are the child's."""

    run_id: UUID
    wf_type: str
    wf_id: str
    input: Any


@dataclass(frozen=True, slots=True)
class ChildWorkflowRefused(HistoryMessage):
    """A child could not be started; ``reason``: ``running`` (its id has an open run) or
    ``unregistered`` (no worker has ever registered its type).
    """

    wf_type: str
    wf_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ChildWorkflowEnded(HistoryMessage):
    """The step's wait for a child is over: the child has ended, in the way that ``status`` says.

    ``open`` says that it has not: the timeout of ``run_child`` was over first, or the step's code
    cancelled the wait. ``error`` is that of a child that failed.
    """

    run_id: UUID
    status: str
    result: Any
    error: ErrorDetails | None = None


@dataclass(frozen=True, slots=True)
class ParentEventSent(HistoryMessage):
    """The run sent an event to its parent."""

    event_name: str
    payload: Any
    parent_wf_type: str
    parent_wf_id: str


@dataclass(frozen=True, slots=True)
class MessageSent(HistoryMessage):
    """The run sent an event to the workflow ``wf_id``."""

    wf_id: str
    event_name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class MessageRefused(HistoryMessage):
    """An event to the workflow ``wf_id`` was not taken; ``reason``: ``ended`` (it has no open run)
    or ``unknown`` (it handles no event so named).
    """

    wf_id: str
    event_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ParentEventRefused(HistoryMessage):
    """An event to the parent was not taken; ``reason`` as of ``MessageRefused``."""

    event_name: str
    parent_wf_type: str
    parent_wf_id: str
    reason: str


def shown(value: Any) -> Any:
    """A field of a message or event as JSON output shows it."""
    if isinstance(value, HistoryMessage | ErrorDetails):
        return value.to_dict()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _read(annotation: Any, value: Any) -> Any:
    # Annotations are text here (the future import), which is all that this needs to know.
    if annotation == "UUID" and isinstance(value, str):
        return UUID(value)
    if annotation == "datetime" and isinstance(value, str):
        return datetime.fromisoformat(value)
    if annotation in ("ErrorDetails", "ErrorDetails | None") and isinstance(value, Mapping):
        return ErrorDetails.from_dict(value)
    return value
