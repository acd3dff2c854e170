"""What one row of a step's history says: the message of its kind, and a call's start.

Values are plain JSON values; ids, times and errors get the types of their message classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from grctl.engine.codec import Codec
from grctl.engine.exceptions import details_from_json
from grctl.engine.rows import Row
from grctl.errors import SerializationError
from grctl.models.error_details import ErrorDetails
from grctl.models.history import MESSAGE_CLASSES, HistoryKind
from grctl.models.messages import (
    ChildWorkflowEnded,
    ChildWorkflowRefused,
    ChildWorkflowStarted,
    HistoryMessage,
    MessageRefused,
    MessageSent,
    ParentEventRefused,
    ParentEventSent,
    RandomRecorded,
    RunCancelReceived,
    SleepCompleted,
    SleepRecorded,
    TaskAttemptFailed,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
    TimestampRecorded,
    UuidRecorded,
)

__all__ = [
    "call_order",
    "error_of",
    "members",
    "message_of",
    "milliseconds_of",
    "task_started",
    "value_of",
]

_codec: Final = Codec()
_NUMBER: Final = re.compile(r"\d*")


def value_of(text: str | None) -> Any:
    """A recorded JSON text as a plain value; None for one that is not there."""
    return None if text is None else _codec.decode(text)


def members(row: Row) -> Mapping[str, Any]:
    """The body of a row whose body is an object; empty where it has none."""
    body = value_of(row.body)
    return body if isinstance(body, dict) else {}


def error_of(body: Mapping[str, Any]) -> ErrorDetails:
    """The recorded error in a row's body."""
    return details_from_json(json.dumps(body.get("error") or {}))


def milliseconds_of(micros: int | None) -> int:
    """A recorded duration in whole milliseconds."""
    return round((micros or 0) / 1000)


def call_order(key: str) -> tuple[tuple[int, str], ...]:
    """Sorts the keys of calls that began after the same row: as their branches made them."""
    order = []
    for part in key.split("/"):
        number = _NUMBER.match(part)
        digits = number.group() if number else ""
        order.append((int(digits or 0), part[len(digits) :]))
    return tuple(order)


def task_id(row: Row) -> str:
    """One task call of a run: the same in all messages about it, and in no others."""
    return f"{row.step_no}:{row.op}"


def task_started(first: Row, step_name: str) -> TaskStarted | None:
    """The start of the call that ``first`` is the first row of; None if it is no task's."""
    if not first.kind.startswith("task."):
        return None
    args = value_of(first.input)
    return TaskStarted(task_id(first), first.name or "", {} if args is None else args, step_name)


def message_of(row: Row, step_name: str) -> HistoryMessage | None:
    """What the row of an operation says.

    None for what has no message: a start (``task_started`` tells it), and a kind that a newer
    grctl has added.
    """
    read = _READERS.get(row.kind)
    if read is not None:
        return read(row, step_name)
    return None if row.kind == "task.started" else _named_fields(row)


def _named_fields(row: Row) -> HistoryMessage | None:
    """A kind without a reader of its own: its body has the fields of its message."""
    try:
        return MESSAGE_CLASSES[HistoryKind(row.kind)].from_dict(members(row))
    except (ValueError, TypeError, SerializationError):
        return None


def _attempt_failed(row: Row, step_name: str) -> HistoryMessage:
    body = members(row)
    return TaskAttemptFailed(
        task_id=task_id(row),
        task_name=row.name or "",
        step_name=step_name,
        attempt=row.attempt or 1,
        max_attempts=int(body.get("max_attempts") or 1),
        error=error_of(body),
        next_retry_delay_ms=body.get("next_retry_delay_ms"),
        duration_ms=milliseconds_of(row.micros),
    )


def _completed(row: Row, step_name: str) -> HistoryMessage:
    output = {"result": value_of(row.body)}
    duration_ms = milliseconds_of(row.micros)
    return TaskCompleted(task_id(row), row.name or "", output, step_name, duration_ms)


def _failed(row: Row, step_name: str) -> HistoryMessage:
    error = details_from_json(row.body or "{}")
    duration_ms = milliseconds_of(row.micros)
    return TaskFailed(task_id(row), row.name or "", step_name, error, duration_ms)


def _child_started(row: Row, _step_name: str) -> HistoryMessage:
    return ChildWorkflowStarted.from_dict({"input": None, **_given(row)})


def _child_refused(row: Row, _step_name: str) -> HistoryMessage:
    given = _given(row)
    reason = str(given.get("refused", ""))
    return ChildWorkflowRefused(given.get("wf_type", ""), given.get("wf_id", ""), reason)


def _child_ended(row: Row, _step_name: str) -> HistoryMessage:
    told = _given(row)
    error = told.get("error")
    if isinstance(error, dict) and "step" in error:  # as the child's own row has it
        error = error["error"]
    return ChildWorkflowEnded(
        run_id=UUID(told["run_id"]),
        status=told.get("status", "open"),
        result=told.get("result"),
        error=None if error is None else error_of({"error": error}),
    )


def _parent_event_sent(row: Row, _step_name: str) -> HistoryMessage:
    parent = {"parent_wf_type": "", "parent_wf_id": ""}
    return ParentEventSent.from_dict({"payload": None, **parent, **_given(row)})


def _parent_refused(row: Row, _step_name: str) -> HistoryMessage:
    given = {"parent_wf_type": "", "parent_wf_id": "", **_given(row)}
    return ParentEventRefused.from_dict({**given, "reason": given.get("refused", "")})


def _message_sent(row: Row, _step_name: str) -> HistoryMessage:
    return MessageSent.from_dict({"payload": None, **_given(row)})


def _message_refused(row: Row, _step_name: str) -> HistoryMessage:
    given = _given(row)
    return MessageRefused.from_dict({**given, "reason": given.get("refused", "")})


def _given(row: Row) -> Mapping[str, Any]:
    """What an operation was given, and over it what became of it."""
    given = value_of(row.input)
    return {**(given if isinstance(given, dict) else {}), **members(row)}


_READERS: Final[Mapping[str, Callable[[Row, str], HistoryMessage]]] = {
    "task.attempt_failed": _attempt_failed,
    "task.completed": _completed,
    "task.failed": _failed,
    "task.cancelled": lambda row, step_name: TaskCancelled(
        task_id(row), row.name or "", step_name, milliseconds_of(row.micros)
    ),
    "timestamp.recorded": lambda row, _: TimestampRecorded(
        _codec.decode(row.body or "null", datetime)
    ),
    "random.recorded": lambda row, _: RandomRecorded(_codec.decode(row.body or "null", float)),
    "uuid.recorded": lambda row, _: UuidRecorded(_codec.decode(row.body or "null", UUID)),
    "sleep.recorded": lambda row, _: SleepRecorded(int(row.input or 0)),
    "sleep.completed": lambda _row, _: SleepCompleted(),
    "child.started": _child_started,
    "child.refused": _child_refused,
    "child.ended": _child_ended,
    "parent.event_sent": _parent_event_sent,
    "parent.refused": _parent_refused,
    "message.sent": _message_sent,
    "message.refused": _message_refused,
    "run.cancel_received": lambda _row, _: RunCancelReceived(),
}
