"""From what is stored to what is read: the public history of a run, complete and in true order.

Stored is one row an outcome, and the run's own row. Told from them: the run's schedule and start,
each step's start, a wait's beginning, the event or timer that ended it, a task's start (where the
call began, also among parallel ones), and the run's end. Rules that are not plain from the spec:

* A call of a task shows one ``task.started``, before its first attempt; a step shows one
  ``step.started`` for each of its attempts, for each runs the step's code from its beginning.
* A step that runs now shows its start and what is recorded of it so far.
* A step that a terminate or the run's timeout caught in the middle shows ``step.cancelled``.
* A cancel that came so late that the step did not see it shows ``run.cancel_received`` all the
  same, right before the step's end.
* Rows of kinds that are not known here, a newer grctl's, are passed over.

Times are the database's and never go back. Those of starts are reckoned from the duration of what
they started, and so are good to a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from grctl.engine.history_ends import END_KINDS, StepEnd
from grctl.engine.history_messages import (
    call_order,
    members,
    message_of,
    task_started,
    value_of,
)
from grctl.engine.rows import Row
from grctl.models.history import KIND_OF, HistoryEvent
from grctl.models.messages import (
    EventReceived,
    HistoryMessage,
    RunCancelReceived,
    RunScheduled,
    RunStarted,
    StepCancelled,
    StepStarted,
    UpdateReceived,
    WaitTimedOut,
)
from grctl.models.run import RunStatus

__all__ = ["RunRecord", "expand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What the run's own row adds to its history, read in one snapshot with it.

    ``cause`` and ``step_name`` say what the run is awake for now; ``message_*`` is the oldest
    event of its inbox. ``input``, ``result`` and ``message_payload`` are JSON texts.
    """

    run_id: UUID
    wf_id: str
    status: RunStatus
    created_at: datetime
    started_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cause: str | None = None
    step_name: str | None = None
    wait_step: str | None = None
    worker_id: str | None = None
    message_kind: str | None = None
    message_name: str | None = None
    message_payload: str | None = None
    message_at: datetime | None = None
    input: str | None = None
    result: str | None = None


def expand(rows: Iterable[Row], run: RunRecord) -> Iterator[HistoryEvent]:
    """The history that ``rows``, all of the run's in order of seq, and its own row tell."""
    telling = _Telling(run)
    yield from telling.dated([_Draft(RunScheduled(), run.created_at)])
    former: _Segment | None = None
    for segment in _segments(rows):
        if former is not None:
            yield from telling.dated(telling.of(former, segment))
        former = segment
    if former is not None:
        yield from telling.dated(telling.of(former, None))


@dataclass(slots=True)
class _Segment:
    """The rows of one attempt of a step, and the one that ended it: None if it has not ended."""

    rows: list[Row] = field(default_factory=list)
    end: Row | None = None

    @property
    def has_operations(self) -> bool:
        return any(row.op is not None for row in self.rows)

    @property
    def cause(self) -> str | None:
        """Why the step ran, where its end says so."""
        return members(self.end).get("cause") if self.end is not None else None


def _segments(rows: Iterable[Row]) -> Iterator[_Segment]:
    """The last one has no end: what is going on now, be it nothing."""
    segment = _Segment()
    for row in rows:
        if row.kind in END_KINDS:
            segment.end = row
            yield segment
            segment = _Segment()
        else:
            segment.rows.append(row)
    yield segment


@dataclass(slots=True)
class _Draft:
    """An event to be dated. ``is_reckoned``: its time is no commit's, and gives way."""

    msg: HistoryMessage
    at: datetime
    op: str | None = None
    worker_id: str | None = None
    step_name: str | None = None
    is_reckoned: bool = False


def _reckoned(
    msg: HistoryMessage,
    at: datetime,
    worker_id: str | None = None,
    step_name: str | None = None,
    op: str | None = None,
) -> _Draft:
    return _Draft(msg, at, op, worker_id, step_name, is_reckoned=True)


class _Telling:
    """Tells one segment after the other. ``_before`` is the end of the one before."""

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._seq = 0
        self._last = run.created_at
        self._before: Row | None = None
        self._run_began = False
        self._cancel_received = False

    def dated(self, drafts: list[_Draft]) -> Iterator[HistoryEvent]:
        """The events of these drafts, numbered, at times that do not go back."""
        for draft, after in zip(reversed(drafts[:-1]), reversed(drafts[1:]), strict=True):
            if draft.is_reckoned:
                draft.at = min(draft.at, after.at)
        for draft in drafts:
            self._last = max(self._last, draft.at)
            self._seq += 1
            yield HistoryEvent(
                wf_id=self._run.wf_id,
                run_id=self._run.run_id,
                seq=self._seq,
                timestamp=self._last,
                kind=KIND_OF[type(draft.msg)],
                msg=draft.msg,
                operation_id=draft.op,
                worker_id=draft.worker_id,
                step_name=draft.step_name,
            )

    def of(self, segment: _Segment, following: _Segment | None) -> list[_Draft]:
        """What a segment tells; the one that follows shows whether a cancel took its directive."""
        drafts: list[_Draft] = []
        step_name = None
        if self._is_step(segment):
            step_name = self._step_name(segment)
            drafts += self._opening(segment, step_name)
            drafts += self._operations(segment, step_name)
        if segment.end is not None:
            drafts += self._closing(segment.end, step_name, halted=self._is_halted(following))
            self._before = segment.end
        return drafts

    def _is_step(self, segment: _Segment) -> bool:
        """Whether a handler ran, or runs."""
        end = segment.end
        if segment.has_operations:
            return True
        if end is None:
            return self._run.status is RunStatus.RUNNING and self._run.cause in _HANDLED
        if end.kind == "run.timeout":
            return segment.cause != "run_timeout" or self._goes_straight_on()
        if end.kind == "run.terminated":
            return self._ran_when_terminated(end)
        return end.kind.startswith("step.")

    def _goes_straight_on(self) -> bool:
        before = self._before
        return (
            before is not None
            and before.kind == "step.completed"
            and members(before).get("next") == "step"
        )

    def _ran_when_terminated(self, end: Row) -> bool:
        """The terminate's row does not say; the run's row, left as it was, and the epochs do."""
        before = self._before
        if self._run.cause not in _HANDLED:
            return False
        if before is None:
            return self._run.started_at is not None
        if self._goes_straight_on() or self._run.cause in ("event", "timeout"):
            return before.kind not in _RETRIES or end.epoch - 1 > before.epoch
        return end.epoch - 1 > before.epoch  # claimed after the delay

    def _is_halted(self, following: _Segment | None) -> bool:
        """Whether a cancel took the place of what the step asked for."""
        if following is None:
            return False
        if following.end is None:
            return self._run.status is RunStatus.RUNNING and self._run.cause == "cancel"
        return following.end.kind == "run.cancelled" and following.cause == "cancel"

    def _cause(self, segment: _Segment) -> str | None:
        return segment.cause or self._run.cause

    def _step_name(self, segment: _Segment) -> str:
        end, run = segment.end, self._run
        if end is not None and end.name:
            return end.name
        match self._cause(segment):
            case "event":
                name = run.message_name
            case "timeout":
                name = run.wait_step
            case _:
                name = run.step_name
        return name or "?"

    def _opening(self, segment: _Segment, step_name: str) -> Iterator[_Draft]:
        run, end = self._run, segment.end
        worker_id = next((row.worker_id for row in (*segment.rows, end) if row), run.worker_id)
        at = self._began(segment)
        if not self._run_began:
            self._run_began = True
            started = RunStarted(value_of(run.input))
            yield _reckoned(started, run.started_at or at, worker_id)
        if self._before is None or self._before.kind not in _RETRIES:
            message: HistoryMessage | None = None
            match self._cause(segment):
                case "event":
                    message = self._received(end, step_name)
                case "timeout":
                    message = WaitTimedOut(step_name)
            if message is not None:
                yield _reckoned(message, at, worker_id)
        yield _reckoned(StepStarted(step_name), at, worker_id, step_name)

    def _received(self, end: Row | None, name: str) -> HistoryMessage:
        """What was taken from the inbox. An update is known by its answer, or lies there still."""
        run = self._run
        payload = value_of(end.input if end is not None and end.name else run.message_payload)
        is_update = run.message_kind == "update" and run.message_name == name
        if is_update or (end is not None and "answer" in members(end)):
            return UpdateReceived(name, payload)
        return EventReceived(name, payload)

    def _began(self, segment: _Segment) -> datetime:
        """When the step began: by its duration; else by what woke it."""
        if segment.end is not None and segment.end.micros is not None:
            return _began(segment.end)
        if self._before is None:
            return self._run.started_at or self._last
        if self._cause(segment) == "event":
            return self._run.message_at or self._last
        body = members(self._before)
        delay_ms = body.get("next_retry_delay_ms") or body.get("delay_ms") or 0
        woken: datetime = self._before.at + timedelta(milliseconds=delay_ms)
        return woken

    def _operations(self, segment: _Segment, step_name: str) -> Iterator[_Draft]:
        """The rows of operations, and before them the starts of the tasks among them."""
        starts = _starts(segment.rows, step_name)
        for row in segment.rows:
            while starts and starts[-1][0] < row.seq:
                yield starts.pop()[1]
            message = message_of(row, step_name)
            if message is None:
                continue
            if isinstance(message, RunCancelReceived):
                self._cancel_received = True
            yield _Draft(message, row.at, row.op, row.worker_id, step_name)

    def _closing(self, row: Row, step_name: str | None, *, halted: bool) -> Iterator[_Draft]:
        """What the row at a step's end tells, in order."""
        if halted and not self._cancel_received:
            yield _reckoned(RunCancelReceived(), self._run.cancel_requested_at or row.at)
        if step_name is not None and row.kind in ("run.timeout", "run.cancelled", "run.terminated"):
            cancelled = StepCancelled(step_name)
            yield _Draft(cancelled, row.at, None, row.worker_id, step_name)
        end = StepEnd(row, self._run_ms(row), self._run.result, halted)
        for message in end.messages():
            of_step = step_name if KIND_OF[type(message)].startswith("step.") else None
            yield _Draft(message, row.at, None, row.worker_id, of_step)

    def _run_ms(self, end: Row) -> int:
        """How long the run has lasted, from its schedule on, as its timeout counts."""
        lasted: timedelta = end.at - self._run.created_at
        return max(0, lasted // timedelta(milliseconds=1))


_RETRIES: Final = frozenset({"step.attempt_failed", "run.retried"})
"""After these the same step runs again, for the same cause."""

_HANDLED: Final = frozenset({"start", "step", "event", "timeout"})
"""Causes for which a handler runs."""


def _starts(rows: list[Row], step_name: str) -> list[tuple[int, _Draft]]:
    """The starts of tasks, each with the seq after which it was; the last one comes first."""
    seen: set[str] = set()
    starts: list[tuple[int, str, _Draft]] = []
    for row in rows:
        if row.op is None or row.op in seen:
            continue
        seen.add(row.op)
        message = task_started(row, step_name)
        if message is not None:
            place = row.seq - 1 if row.place is None else row.place
            draft = _reckoned(message, _began(row), row.worker_id, step_name, row.op)
            starts.append((place, row.op, draft))
    starts.sort(key=lambda start: (start[0], call_order(start[1])), reverse=True)
    return [(place, draft) for place, _, draft in starts]


def _began(row: Row) -> datetime:
    began: datetime = row.at - timedelta(microseconds=row.micros or 0)
    return began
