"""What is known of a run from outside: its status, and a snapshot of its row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from grctl.models.error_details import ErrorDetails

__all__ = ["RunInfo", "RunStateKind", "RunStatus"]


class RunStateKind(StrEnum):
    """What a run is doing now, coarsely; one of these for each ``RunStatus``."""

    START = "start"
    """Scheduled: no worker has begun its first step."""
    STEP = "step"
    """In a step, or ready for the next one: it needs a worker."""
    WAIT = "wait"
    """Parked until an event comes or its wait times out: it holds no worker."""
    DELAY = "delay"
    """Parked until the delay before its next step is over: it holds no worker."""
    ENDED = "ended"
    """Over, in whatever way; nothing happens to it any more."""


class RunStatus(StrEnum):
    """The status of a run. The last six are final."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    WAITING = "waiting"
    DELAYED = "delayed"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    CONTINUED = "continued"

    @property
    def is_open(self) -> bool:
        """Whether the run can still go on; one workflow id has at most one open run."""
        return self in _OPEN

    @property
    def is_ended(self) -> bool:
        """Whether the run is over, in whatever way."""
        return self not in _OPEN

    @property
    def state_kind(self) -> RunStateKind:
        """What a run of this status is doing."""
        return _OPEN.get(self, RunStateKind.ENDED)


_OPEN = {
    RunStatus.SCHEDULED: RunStateKind.START,
    RunStatus.RUNNING: RunStateKind.STEP,
    RunStatus.WAITING: RunStateKind.WAIT,
    RunStatus.DELAYED: RunStateKind.DELAY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A snapshot of a run. All times are the database's, with a time zone.

    ``attempt`` counts the attempts of the current step from 1. ``step_name`` and ``step_no`` are
    the current step (the last one of an ended run); ``wake_at`` is when the run becomes due by
    itself; ``deadline_at`` is when its run timeout strikes. ``owner`` is the worker that holds
    it, ``epoch`` rises with every claim. ``input`` and ``result`` are plain JSON values unless a
    type was asked for; they are None too where the query left them out.
    """

    id: UUID
    wf_id: str
    wf_type: str
    status: RunStatus
    created_at: datetime
    attempt: int = 1
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline_at: datetime | None = None
    wake_at: datetime | None = None
    step_name: str | None = None
    step_no: int = 0
    epoch: int = 0
    owner: str | None = None
    cancel_requested: bool = False
    parent_run_id: UUID | None = None
    parent_wf_id: str | None = None
    parent_wf_type: str | None = None
    input: Any = None
    result: Any = None
    error: ErrorDetails | None = None

    @property
    def run_id(self) -> UUID:
        """The same as ``id``."""
        return self.id

    @property
    def state_kind(self) -> RunStateKind:
        """What the run is doing: ``status.state_kind``."""
        return self.status.state_kind
