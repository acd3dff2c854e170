"""A run's history as lines for people: when, what, and how long; indented by step.

One event is one line, cut to the width that is given, with nothing in it that could steer a
terminal. Times are seconds since the run was scheduled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from grctl.cli.words import duration, printable
from grctl.models.history import HistoryEvent, HistoryKind

__all__ = ["line", "render", "title"]

GREEN, RED, YELLOW, CYAN, DIM, BOLD = "32", "31", "33", "36", "2", "1"

_RUN, _STEP, _CALL = "", "  ", "    "
"""Indentation: of what happens to the run, to a step, within a step."""


def render(events: Sequence[HistoryEvent], *, color: bool, width: int = 120) -> str:
    """The timeline of one run, a line for each event after one that names the run."""
    if not events:
        return "no history"
    first = events[0]
    lines = [title(first, color=color, width=width)]
    lines += (
        line(event, event.timestamp - first.timestamp, color=color, width=width) for event in events
    )
    return "\n".join(lines)


def title(first: HistoryEvent, *, color: bool, width: int = 120) -> str:
    """The line that names the run whose event this is."""
    text = printable(f"{first.wf_id}  (run {first.run_id})")[:width]
    return _painted(text, BOLD, color=color)


def line(event: HistoryEvent, after: timedelta, *, color: bool, width: int = 120) -> str:
    """One event, that long after the run was scheduled."""
    sign, paint, indent, words = _LOOKS[event.kind]
    offset = f"{_offset(after):>11}  "
    text = f"{indent}{sign} {printable(words(event.msg))}"
    room = max(20, width - len(offset))
    if len(text) > room:
        text = f"{text[: room - 1]}…"
    return f"{_painted(offset, DIM, color=color)}{_painted(text, paint, color=color)}"


def _offset(after: timedelta) -> str:
    seconds = after / timedelta(seconds=1)
    if seconds < 1000:
        return f"+{seconds:.3f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"+{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def _painted(text: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color and code else text


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _arrow(value: Any) -> str:
    return "" if value is None else f"  → {_value(value)}"


def _arguments(args: Any) -> str:
    if isinstance(args, Mapping):
        return ", ".join(f"{name}={_value(value)}" for name, value in args.items())
    return _value(args)


def _retry(msg: Any) -> str:
    text = f"attempt {msg.attempt} of {msg.max_attempts} failed after {duration(msg.duration_ms)}"
    if msg.next_retry_delay_ms is not None:
        text += f", next in {duration(msg.next_retry_delay_ms)}"
    return f"{text}: {msg.error}"


def _reason(msg: Any) -> str:
    return f" after {duration(msg.duration_ms)}" + (f": {msg.reason}" if msg.reason else "")


def _wait(msg: Any) -> str:
    text = "wait for an event"
    if msg.timeout_ms is not None:
        text += f", at most {duration(msg.timeout_ms)}"
    if msg.timeout_step_name is not None:
        text += f", then step {msg.timeout_step_name}"
    return text


def _wait_over(msg: Any) -> str:
    return "wait timed out" + (f": step {msg.timeout_step_name}" if msg.timeout_step_name else "")


def _started(msg: Any) -> str:
    return "run started" + ("" if msg.input is None else f"  {_arguments(msg.input)}")


def _child_ended(msg: Any) -> str:
    if msg.status == "open":
        return f"child {msg.run_id} waited for no longer"
    text = f"child {msg.run_id} {msg.status}"
    return text + (f": {msg.error}" if msg.error is not None else _arrow(msg.result))


def _sent(what: str, msg: Any) -> str:
    return what + ("" if msg.payload is None else f"  {_value(msg.payload)}")


_K = HistoryKind
_LOOKS: Final[Mapping[HistoryKind, tuple[str, str, str, Callable[[Any], str]]]] = {
    _K.RUN_SCHEDULED: ("○", "", _RUN, lambda _: "run scheduled"),
    _K.RUN_STARTED: ("●", "", _RUN, _started),
    _K.RUN_COMPLETED: (
        "✔", GREEN, _RUN,
        lambda m: f"run completed in {duration(m.duration_ms)}{_arrow(m.result)}",
    ),
    _K.RUN_FAILED: (
        "✘", RED, _RUN,
        lambda m: f"run failed after {duration(m.duration_ms)}: {m.error}",
    ),
    _K.RUN_TIMEOUT: (
        "✘", RED, _RUN, lambda m: f"run timed out after {duration(m.duration_ms)}"
    ),
    _K.RUN_CANCEL_RECEIVED: ("!", YELLOW, _CALL, lambda _: "cancel asked for"),
    _K.RUN_CANCELLED: ("✘", YELLOW, _RUN, lambda m: f"run cancelled{_reason(m)}"),
    _K.RUN_TERMINATED: ("✘", RED, _RUN, lambda m: f"run terminated{_reason(m)}"),
    _K.RUN_CONTINUED: (
        "✔", GREEN, _RUN,
        lambda m: f"run continued as {m.new_run_id} after {duration(m.duration_ms)}",
    ),
    _K.RUN_RETRIED: ("↻", YELLOW, _RUN, lambda _: "run opened again, at the step that failed"),
    _K.STEP_STARTED: ("▶", CYAN, _STEP, lambda m: f"step {m.step_name}"),
    _K.STEP_COMPLETED: (
        "✔", CYAN, _STEP, lambda m: f"step {m.step_name} done in {duration(m.duration_ms)}"
    ),
    _K.STEP_FAILED: (
        "✘", RED, _STEP,
        lambda m: f"step {m.step_name} failed after {duration(m.duration_ms)}: {m.error}",
    ),
    _K.STEP_ATTEMPT_FAILED: ("↻", YELLOW, _STEP, lambda m: f"step {m.step_name} {_retry(m)}"),
    _K.STEP_CANCELLED: ("✘", YELLOW, _STEP, lambda m: f"step {m.step_name} stopped"),
    _K.STEP_TIMEOUT: (
        "✘", RED, _STEP, lambda m: f"step {m.step_name} timed out after {duration(m.duration_ms)}"
    ),
    _K.WAIT_STARTED: ("…", "", _STEP, _wait),
    _K.WAIT_TIMED_OUT: ("!", YELLOW, _STEP, _wait_over),
    _K.EVENT_RECEIVED: ("✉", "", _STEP, lambda m: _sent(f"event {m.event_name}", m)),
    _K.EVENT_UNHANDLED: (
        "✉", YELLOW, _STEP,
        lambda m: _sent(f"event {m.event_name} has no handler: dropped", m),
    ),
    _K.UPDATE_RECEIVED: ("✉", "", _STEP, lambda m: _sent(f"update {m.update_name}", m)),
    _K.UPDATE_ANSWERED: (
        "✉", "", _STEP, lambda m: f"update {m.update_name} answered{_arrow(m.answer)}"
    ),
    _K.TASK_STARTED: ("·", "", _CALL, lambda m: f"{m.task_name}({_arguments(m.args)})"),
    _K.TASK_COMPLETED: (
        "✔", GREEN, _CALL,
        lambda m: f"{m.task_name}  {duration(m.duration_ms)}{_arrow(m.output.get('result'))}",
    ),
    _K.TASK_ATTEMPT_FAILED: ("↻", YELLOW, _CALL, lambda m: f"{m.task_name} {_retry(m)}"),
    _K.TASK_FAILED: (
        "✘", RED, _CALL,
        lambda m: f"{m.task_name} failed after {duration(m.duration_ms)}: {m.error}",
    ),
    _K.TASK_CANCELLED: (
        "✘", YELLOW, _CALL, lambda m: f"{m.task_name} cancelled after {duration(m.duration_ms)}"
    ),
    _K.TIMESTAMP_RECORDED: ("·", DIM, _CALL, lambda m: f"now  → {m.value.isoformat()}"),
    _K.RANDOM_RECORDED: ("·", DIM, _CALL, lambda m: f"random  → {m.value}"),
    _K.UUID_RECORDED: ("·", DIM, _CALL, lambda m: f"uuid4  → {m.value}"),
    _K.SLEEP_RECORDED: ("…", DIM, _CALL, lambda m: f"sleep {duration(m.duration_ms)}"),
    _K.SLEEP_COMPLETED: ("·", DIM, _CALL, lambda _: "sleep over"),
    _K.CHILD_STARTED: (
        "+", "", _CALL, lambda m: f"child {m.wf_type} {m.wf_id}({_arguments(m.input or {})})"
    ),
    _K.CHILD_REFUSED: (
        "✘", YELLOW, _CALL, lambda m: f"child {m.wf_type} {m.wf_id} not started: {m.reason}"
    ),
    _K.CHILD_ENDED: ("·", "", _CALL, _child_ended),
    _K.PARENT_EVENT_SENT: (
        "✉", "", _CALL, lambda m: _sent(f"event {m.event_name} sent to parent {m.parent_wf_id}", m)
    ),
    _K.PARENT_REFUSED: (
        "✘", YELLOW, _CALL,
        lambda m: f"event {m.event_name} not taken by parent {m.parent_wf_id}: {m.reason}",
    ),
    _K.MESSAGE_SENT: (
        "✉", "", _CALL, lambda m: _sent(f"event {m.event_name} sent to {m.wf_id}", m)
    ),
    _K.MESSAGE_REFUSED: (
        "✘", YELLOW, _CALL, lambda m: f"event {m.event_name} not taken by {m.wf_id}: {m.reason}"
    ),
}  # fmt: skip
"""For each kind: sign, colour, indentation, words."""
