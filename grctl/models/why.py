"""Why a run stands where it stands: the facts of one moment, and the reasons told from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from grctl.models.activity import Activity
from grctl.models.error_details import ErrorDetails
from grctl.models.run import RunStatus

__all__ = [
    "Child",
    "Ending",
    "Explanation",
    "Facts",
    "Holder",
    "Message",
    "Operation",
    "Reason",
    "ReasonKind",
    "Server",
]


class ReasonKind(StrEnum):
    """What holds a run up. Programs may rely on these names."""

    ENDED = "ended"
    POISONED = "poisoned"
    CONTINUED = "continued"

    AWAITS_EVENT = "awaits_event"
    AWAITS_CHILDREN = "awaits_children"
    TIMER = "timer"
    DELAY = "delay"
    BACKOFF = "backoff"

    WORKER_HOLDS = "worker_holds"
    WORKER_SILENT = "worker_silent"
    LOOP_BLOCKED = "loop_blocked"
    TASK_RUNS = "task_runs"
    TASK_BACKOFF = "task_backoff"
    SLEEPS = "sleeps"
    CHILD_OPEN = "child_open"

    NO_WORKER = "no_worker"
    NO_FREE_SLOT = "no_free_slot"
    DUE = "due"

    CRASH_LOOP = "crash_loop"
    CANCEL_UNSEEN = "cancel_unseen"
    INBOX = "inbox"
    RUN_TIMEOUT = "run_timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that holds a run up.

    ``text`` says what, in a sentence without times; ``since`` and ``until`` are the times that
    belong to it. ``advice`` is what to do, empty where there is nothing to be done but to wait.
    """

    kind: ReasonKind
    text: str
    advice: str = ""
    since: datetime | None = None
    until: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a run does not move, as of one moment of the database's clock; the main reason first."""

    run_id: UUID
    wf_id: str
    wf_type: str
    status: RunStatus
    as_of: datetime
    reasons: tuple[Reason, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON output: ids and times become text."""
        return {
            "run_id": str(self.run_id),
            "wf_id": self.wf_id,
            "wf_type": self.wf_type,
            "status": self.status.value,
            "as_of": self.as_of.isoformat(),
            "reasons": [
                {
                    "kind": reason.kind.value,
                    "text": reason.text,
                    "advice": reason.advice,
                    "since": _text(reason.since),
                    "until": _text(reason.until),
                    "details": dict(reason.details),
                }
                for reason in self.reasons
            ],
        }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The worker that owns the run. While its event loop stands still: since when, and where."""

    worker_no: int
    worker_id: str
    lease_until: datetime
    stalled_since: datetime | None = None
    stalled_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A worker that serves the run's type: live ones, or the last that ended.

    ``held`` is how many runs it owns now.
    """

    worker_id: str
    concurrency: int
    held: int
    lease_until: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation of the current step that has begun and not ended, by its last row.

    ``at`` is when that row was written. A failed attempt has its ``error`` and ``delay_ms``.
    """

    kind: str
    name: str | None
    at: datetime
    epoch: int
    attempt: int | None = None
    delay_ms: int | None = None
    max_attempts: int | None = None
    error: ErrorDetails | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The oldest message in the inbox."""

    kind: str
    name: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An open child; ``step`` is the parent's step that its end is to run, if there is one."""

    wf_id: str
    wf_type: str
    status: RunStatus
    step: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The last row of history that ended a step, or stands where one could have been."""

    kind: str
    name: str | None
    at: datetime
    attempt: int | None = None
    delay_ms: int | None = None
    max_attempts: int | None = None
    error: ErrorDetails | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database knows of a run at one moment, as far as it bears on its progress.

    ``servers`` are the live workers of its type, ``last_server`` the one that ended last, where
    none is live. ``ahead`` is how many due runs of the type come before it, counted up to a bound.
    ``unread`` counts the messages of its inbox, ``children_open`` its open children, of which
    ``children`` are the oldest; ``operations_open`` and ``operations`` likewise. ``activity`` is
    what the holder says it does, None if it ``was_asked`` and did not answer.
    """

    now: datetime
    run_id: UUID
    wf_id: str
    wf_type: str
    status: RunStatus
    cause: str | None
    step_name: str
    step_attempt: int
    epoch: int
    crashes: int
    created_at: datetime
    claimed_at: datetime | None = None
    wake_at: datetime | None = None
    wait_until: datetime | None = None
    wait_step: str | None = None
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None
    is_owned: bool = False
    holder: Holder | None = None
    error: ErrorDetails | None = None
    error_step: str | None = None
    event_names: tuple[str, ...] = ()
    update_names: tuple[str, ...] = ()
    servers: tuple[Server, ...] = ()
    last_server: Server | None = None
    others_up: int = 0
    ahead: int = 0
    unread: int = 0
    message: Message | None = None
    children_open: int = 0
    children: tuple[Child, ...] = ()
    operations_open: int = 0
    operations: tuple[Operation, ...] = ()
    ending: Ending | None = None
    was_asked: bool = False
    activity: Activity | None = None
    waits_since: datetime | None = None

    @property
    def is_due(self) -> bool:
        """Whether a worker may claim it now."""
        return not self.is_owned and self.wake_at is not None and self.wake_at <= self.now

    @property
    def awaits_messages(self) -> bool:
        """Whether a message wakes it."""
        return not self.is_owned and self.status is RunStatus.WAITING

    @property
    def can_be_asked(self) -> bool:
        """Whether a worker holds it that could say what it does."""
        holder = self.holder
        return (
            self.is_owned
            and holder is not None
            and holder.lease_until > self.now
            and holder.stalled_since is None
        )
