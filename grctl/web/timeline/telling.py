"""From a run's history to the parts of its story. Pure: no clock, no database.

What the history does not say is told as little as can be: between two steps that no wait parts, a
gap is the delay that was asked for, or the time until a worker came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from grctl.models.history import HistoryEvent, HistoryKind
from grctl.web.timeline.story import Line, Look, Mark, Part, Span
from grctl.web.words import milliseconds

__all__ = ["ChildEnd", "tell"]

ChildEnd = tuple[str, datetime | None]
"""What a child's own row says: its status, and when it ended."""

HINT = 60
"""Characters of a call's arguments beside its name, at most."""
GAP = timedelta(milliseconds=50)
"""Between two steps; less is not worth a line."""

_K = HistoryKind

_STEP_ENDS: Final[Mapping[HistoryKind, Look]] = {
    _K.STEP_COMPLETED: Look.DONE,
    _K.STEP_FAILED: Look.FAILED,
    _K.STEP_ATTEMPT_FAILED: Look.FAILED,
    _K.STEP_TIMEOUT: Look.FAILED,
    _K.STEP_CANCELLED: Look.CANCELLED,
}
_WAIT_ENDS: Final = frozenset({_K.WAIT_TIMED_OUT, _K.EVENT_RECEIVED, _K.UPDATE_RECEIVED})
_RUN_ENDS: Final = frozenset(
    {
        _K.RUN_COMPLETED, _K.RUN_FAILED, _K.RUN_TIMEOUT, _K.RUN_CANCELLED, _K.RUN_TERMINATED,
        _K.RUN_CONTINUED,
    }
)  # fmt: skip
_CHILD_LOOKS: Final[Mapping[str, Look]] = {
    "completed": Look.DONE,
    "continued": Look.CHILD,
    "failed": Look.FAILED,
    "timed_out": Look.FAILED,
    "cancelled": Look.CANCELLED,
    "terminated": Look.CANCELLED,
}


def tell(
    events: Iterable[HistoryEvent], children: Mapping[str, ChildEnd] | None = None
) -> list[Part]:
    """The parts of a run in order; what has not ended has no end.

    ``children`` says, by run id, how children ended that no step waited for.
    """
    telling = _Telling(children or {})
    for event in events:
        telling.take(event)
    return telling.parts


class _Telling:
    """Takes one event after the other. ``_part`` is the part that is going on, if one is."""

    def __init__(self, children: Mapping[str, ChildEnd]) -> None:
        self.parts: list[Part] = []
        self._children = children
        self._part: Part | None = None
        self._lines: dict[str, Line] = {}
        self._attempts: dict[str, int] = {}
        self._step_failed_for = 0

    def take(self, event: HistoryEvent) -> None:
        """What an event adds; it is kept with the part that it is about."""
        going_on = self._part
        read = _READERS.get(event.kind)
        if read is not None:
            read(self, event)
        is_end = event.kind in _STEP_ENDS or event.kind in _WAIT_ENDS
        about = going_on if is_end else self._part
        about = about or (self.parts[-1] if self.parts else None)
        if about is not None:
            about.events.append(event)

    # --- parts -----------------------------------------------------------------------------------

    def scheduled(self, event: HistoryEvent) -> None:
        self._between("queued", Look.QUEUE, event.timestamp)

    def step_started(self, event: HistoryEvent) -> None:
        self._end_part(event.timestamp)
        before = self.parts[-1] if self.parts else None
        if before is not None and before.is_step:
            self._gap(before, event.timestamp)
        msg: Any = event.msg
        attempt = self._step_failed_for + 1
        span = Span(Look.RUNNING, event.timestamp)
        self._begin(Part(0, msg.step_name, span, attempt, is_step=True))

    def step_ended(self, event: HistoryEvent) -> None:
        part = self._part
        if part is None or not part.is_step:
            return
        part.span.look = _STEP_ENDS[event.kind]
        part.span.words = _words_of_end(event)
        self._end_part(event.timestamp)
        failed = event.kind is _K.STEP_ATTEMPT_FAILED
        self._step_failed_for = self._step_failed_for + 1 if failed else 0
        delay = getattr(event.msg, "next_retry_delay_ms", None)
        if failed and delay is not None:
            due = event.timestamp + timedelta(milliseconds=delay)
            self._between("backoff", Look.BACKOFF, event.timestamp, due)

    def wait_started(self, event: HistoryEvent) -> None:
        msg: Any = event.msg
        self._end_part(event.timestamp)
        due = None
        if msg.timeout_ms is not None:
            due = event.timestamp + timedelta(milliseconds=msg.timeout_ms)
        self._between("waits for an event", Look.WAIT, event.timestamp, due)

    def wait_ended(self, event: HistoryEvent) -> None:
        part, msg = self._part, event.msg
        name = getattr(msg, "event_name", None) or getattr(msg, "update_name", None)
        words = f"{name} came" if name else "timed out"
        if part is not None and not part.is_step:
            part.marks.append(Mark(Look.NOTE, event.timestamp, words))
            self._end_part(event.timestamp)

    def run_retried(self, event: HistoryEvent) -> None:
        self._end_part(event.timestamp)
        self._between("opened again", Look.QUEUE, event.timestamp)

    def run_ended(self, event: HistoryEvent) -> None:
        for line in self._lines.values():
            for span in line.spans:
                if span.end is None and line.kind != "child":
                    span.end, span.look = event.timestamp, Look.CANCELLED
        if self._part is not None:
            self._part.span.words = self._part.span.words or str(event.kind).replace(".", " ")
        self._end_part(event.timestamp)

    def noted(self, event: HistoryEvent) -> None:
        """Something that happens to the part as a whole."""
        part = self._part or (self.parts[-1] if self.parts else None)
        if part is not None:
            part.marks.append(Mark(Look.NOTE, event.timestamp, _words_of_note(event)))

    def _between(self, name: str, look: Look, start: datetime, due: datetime | None = None) -> None:
        self._begin(Part(0, name, Span(look, start, due=due)))

    def _gap(self, before: Part, until: datetime) -> None:
        began = before.span.end
        if began is not None and until - began >= GAP:
            self._between("until the next step", Look.QUEUE, began)
            self._end_part(until)

    def _begin(self, part: Part) -> None:
        part.number = len(self.parts) + 1
        self.parts.append(part)
        self._part = part
        self._lines, self._attempts = {}, {}

    def _end_part(self, at: datetime) -> None:
        if self._part is not None:
            self._part.span.end = max(at, self._part.span.start)
            self._part = None

    # --- lines -----------------------------------------------------------------------------------

    def task_started(self, event: HistoryEvent) -> None:
        msg: Any = event.msg
        line = self._line(event, "task", msg.task_name)
        line.hint = line.hint or _hint(msg.args)
        line.spans.append(Span(Look.RUNNING, event.timestamp))

    def task_ended(self, event: HistoryEvent) -> None:
        """An attempt is over; a backoff may follow."""
        msg: Any = event.msg
        line = self._line(event, "task", msg.task_name)
        look = _TASK_LOOKS[event.kind]
        attempt = self._attempts[line.key] = self._attempts.get(line.key, 0) + 1
        span = self._current(line, event.timestamp, msg.duration_ms)
        span.end, span.look = event.timestamp, look
        error = getattr(msg, "error", None)
        words = milliseconds(msg.duration_ms)
        if attempt > 1 or event.kind is _K.TASK_ATTEMPT_FAILED:
            words = f"attempt {attempt}: {words}"
        span.words = words if error is None else f"{words} · {error}"
        line.look = look
        delay = getattr(msg, "next_retry_delay_ms", None)
        if delay is not None:
            due = event.timestamp + timedelta(milliseconds=delay)
            line.look = Look.RUNNING
            line.spans.append(
                Span(Look.BACKOFF, event.timestamp, None, f"next in {milliseconds(delay)}", due)
            )

    def sleep_recorded(self, event: HistoryEvent) -> None:
        msg: Any = event.msg
        length = milliseconds(msg.duration_ms)
        line = self._line(event, "sleep", f"sleep {length}")
        due = event.timestamp + timedelta(milliseconds=msg.duration_ms)
        line.look = Look.SLEEP
        line.spans.append(Span(Look.SLEEP, event.timestamp, None, length, due))

    def sleep_completed(self, event: HistoryEvent) -> None:
        line = self._lines.get(f"o{event.operation_id}")
        if line is not None:
            line.events.append(event)
            line.spans[-1].end = event.timestamp

    def child_started(self, event: HistoryEvent) -> None:
        msg: Any = event.msg
        line = self._line(event, "child", f"{msg.wf_type} · {msg.wf_id}")
        line.link = str(msg.run_id)
        self._lines[f"child {msg.run_id}"] = line
        status, ended_at = self._children.get(line.link, ("", None))
        line.look = _CHILD_LOOKS.get(status, Look.CHILD)
        if status:
            words = f"child {status}"
            line.spans.append(Span(line.look, event.timestamp, ended_at, words))
        else:
            line.marks.append(Mark(Look.NOTE, event.timestamp, "child started"))

    def child_ended(self, event: HistoryEvent) -> None:
        msg: Any = event.msg
        line = self._lines.get(f"child {msg.run_id}")
        if line is None:
            line = self._line(event, "child", "child")
            line.link = str(msg.run_id)
        else:
            line.events.append(event)
        line.look = _CHILD_LOOKS.get(msg.status, Look.CHILD)
        start = line.events[0].timestamp
        line.marks.clear()
        line.spans[:] = [Span(line.look, start, event.timestamp, f"child {msg.status}")]

    def recorded(self, event: HistoryEvent) -> None:
        """A value that a replay has to see again: one line for all of a part."""
        line = self._shared(event, "recorded values")
        line.marks.append(Mark(Look.NOTE, event.timestamp, _words_of_note(event)))

    def sent(self, event: HistoryEvent) -> None:
        """Messages to others: one line for all of a part."""
        line = self._shared(event, "messages")
        look = Look.FAILED if "refused" in event.kind else Look.NOTE
        line.look = look if look is Look.FAILED else line.look
        line.marks.append(Mark(look, event.timestamp, _words_of_note(event)))

    def _line(self, event: HistoryEvent, kind: str, name: str) -> Line:
        """The line of the event's call: made by its first event, and added to by the others."""
        key = f"o{event.operation_id}"
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(key, kind, name, Look.RUNNING)
            self._step().lines.append(line)
        line.events.append(event)
        return line

    def _shared(self, event: HistoryEvent, name: str) -> Line:
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line(name.replace(" ", "-"), "notes", name, Look.NOTE)
            self._step().lines.append(line)
        line.events.append(event)
        return line

    def _step(self) -> Part:
        """The step that is going on: rows of operations stand in no other place."""
        if self._part is None:
            last = self.parts[-1]
            span = Span(Look.RUNNING, last.span.start)
            self._begin(Part(0, last.name, span, is_step=last.is_step))
        assert self._part is not None
        return self._part

    @staticmethod
    def _current(line: Line, at: datetime, length_ms: int) -> Span:
        """The span of the attempt that ended at ``at``, after what was before it."""
        began = at - timedelta(milliseconds=length_ms)
        last = line.spans[-1] if line.spans else None
        if last is not None and last.look is Look.RUNNING and last.end is None:
            return last
        if last is not None:
            last.end = began = max(last.start, began)
        span = Span(Look.RUNNING, began)
        line.spans.append(span)
        return span


_TASK_LOOKS: Final[Mapping[HistoryKind, Look]] = {
    _K.TASK_COMPLETED: Look.DONE,
    _K.TASK_ATTEMPT_FAILED: Look.FAILED,
    _K.TASK_FAILED: Look.FAILED,
    _K.TASK_CANCELLED: Look.CANCELLED,
}

_READERS: Final[Mapping[HistoryKind, Callable[[_Telling, HistoryEvent], None]]] = {
    _K.RUN_SCHEDULED: _Telling.scheduled,
    _K.RUN_CANCEL_RECEIVED: _Telling.noted,
    _K.RUN_RETRIED: _Telling.run_retried,
    _K.STEP_STARTED: _Telling.step_started,
    **dict.fromkeys(_STEP_ENDS, _Telling.step_ended),
    **dict.fromkeys(_RUN_ENDS, _Telling.run_ended),
    _K.WAIT_STARTED: _Telling.wait_started,
    **dict.fromkeys(_WAIT_ENDS, _Telling.wait_ended),
    _K.EVENT_UNHANDLED: _Telling.noted,
    _K.UPDATE_ANSWERED: _Telling.noted,
    _K.TASK_STARTED: _Telling.task_started,
    **dict.fromkeys(_TASK_LOOKS, _Telling.task_ended),
    _K.TIMESTAMP_RECORDED: _Telling.recorded,
    _K.RANDOM_RECORDED: _Telling.recorded,
    _K.UUID_RECORDED: _Telling.recorded,
    _K.SLEEP_RECORDED: _Telling.sleep_recorded,
    _K.SLEEP_COMPLETED: _Telling.sleep_completed,
    _K.CHILD_STARTED: _Telling.child_started,
    _K.CHILD_ENDED: _Telling.child_ended,
    _K.CHILD_REFUSED: _Telling.sent,
    _K.PARENT_EVENT_SENT: _Telling.sent,
    _K.PARENT_REFUSED: _Telling.sent,
    _K.MESSAGE_SENT: _Telling.sent,
    _K.MESSAGE_REFUSED: _Telling.sent,
}


def _hint(args: Any) -> str:
    """The arguments of a call, as far as they have room."""
    values = args.values() if isinstance(args, Mapping) else [args]
    words = ", ".join(json.dumps(value, ensure_ascii=False, default=str)[:HINT] for value in values)
    return words if len(words) <= HINT else f"{words[: HINT - 1]}…"


def _words_of_end(event: HistoryEvent) -> str:
    error = getattr(event.msg, "error", None)
    return str(error) if error is not None else ""


def _words_of_note(event: HistoryEvent) -> str:
    words = _WORDS.get(event.kind)
    if words is not None:
        return words(event.msg)
    return f"{event.kind.partition('.')[0]} {getattr(event.msg, 'value', '')}"


_WORDS: Final[Mapping[HistoryKind, Callable[[Any], str]]] = {
    _K.RUN_CANCEL_RECEIVED: lambda _: "a cancel came",
    _K.EVENT_UNHANDLED: lambda m: f"event {m.event_name} has no handler: dropped",
    _K.UPDATE_ANSWERED: lambda m: f"update {m.update_name} answered",
    _K.MESSAGE_SENT: lambda m: f"event {m.event_name} sent to {m.wf_id}",
    _K.MESSAGE_REFUSED: lambda m: f"event {m.event_name} not taken by {m.wf_id}: {m.reason}",
    _K.PARENT_EVENT_SENT: lambda m: f"event {m.event_name} sent to the parent",
    _K.PARENT_REFUSED: lambda m: f"event {m.event_name} not taken by the parent: {m.reason}",
    _K.CHILD_REFUSED: lambda m: f"child {m.wf_id} not started: {m.reason}",
}
