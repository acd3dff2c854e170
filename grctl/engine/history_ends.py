"""What the row at a step's end says: the step's end, and what becomes of the run by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from grctl.engine.history_messages import error_of, members, milliseconds_of, value_of
from grctl.engine.rows import Row
from grctl.models.error_details import ErrorDetails
from grctl.models.messages import (
    EventUnhandled,
    HistoryMessage,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunRetried,
    RunTerminated,
    RunTimeout,
    StepAttemptFailed,
    StepCompleted,
    StepFailed,
    StepTimeout,
    UpdateAnswered,
    WaitStarted,
    WaitTimedOut,
)

__all__ = ["END_KINDS", "StepEnd"]


@dataclass(frozen=True)
class StepEnd:
    """An end's row, the run's age at it, and the run's ``result``, which its own row holds.

    ``is_halted``: a cancel took the place of what the step asked for.
    """

    row: Row
    run_ms: int
    result: str | None = None
    is_halted: bool = False

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """What the row says besides its kind."""
        return members(self.row)

    @property
    def name(self) -> str:
        """The step's, or the unhandled event's."""
        return self.row.name or ""

    @property
    def step_ms(self) -> int:
        """How long the step ran, on the worker that ended it."""
        return milliseconds_of(self.row.micros)

    def messages(self) -> Iterator[HistoryMessage]:
        """All that it says, in order."""
        return _MESSAGES[self.row.kind](self)


def _completed(end: StepEnd) -> Iterator[HistoryMessage]:
    yield StepCompleted(end.name, end.step_ms)
    if "answer" in end.body:
        yield UpdateAnswered(end.name, end.body["answer"])
    if end.is_halted:
        return
    match end.body.get("next"):  # another step, delayed or not: its start says it
        case "wait":
            yield WaitStarted(end.body.get("delay_ms"), end.body.get("step"))
        case "complete":
            yield RunCompleted(value_of(end.result), end.run_ms)
        case "fail":
            yield RunFailed(error_of(end.body), end.run_ms)
        case "continue_as_new":
            yield RunContinued(UUID(end.body["run_id"]), end.run_ms)


def _failed(end: StepEnd) -> Iterator[HistoryMessage]:
    error = error_of(end.body)
    yield StepFailed(end.name, error, end.step_ms)
    yield RunFailed(error, end.run_ms)


def _attempt_failed(end: StepEnd) -> Iterator[HistoryMessage]:
    yield StepAttemptFailed(
        step_name=end.name,
        attempt=end.row.attempt or end.row.step_attempt,
        max_attempts=int(end.body.get("max_attempts") or 1),
        error=error_of(end.body),
        next_retry_delay_ms=end.body.get("next_retry_delay_ms"),
        duration_ms=end.step_ms,
    )


def _timeout(end: StepEnd) -> Iterator[HistoryMessage]:
    yield StepTimeout(end.name, end.step_ms)
    error = ErrorDetails(type="TimeoutError", message=f"step {end.name} timed out")
    yield RunFailed(error, end.run_ms)


def _wait_timed_out(end: StepEnd) -> Iterator[HistoryMessage]:
    yield WaitTimedOut(None)
    yield RunFailed(error_of(end.body), end.run_ms)


def _unhandled(end: StepEnd) -> Iterator[HistoryMessage]:
    yield EventUnhandled(end.name, value_of(end.row.input))


def _run_timeout(end: StepEnd) -> Iterator[HistoryMessage]:
    yield RunTimeout(end.run_ms)


def _cancelled(end: StepEnd) -> Iterator[HistoryMessage]:
    yield RunCancelled(end.body.get("reason"), end.run_ms)


def _terminated(end: StepEnd) -> Iterator[HistoryMessage]:
    yield RunTerminated(end.body.get("reason"), end.run_ms)


def _retried(_end: StepEnd) -> Iterator[HistoryMessage]:
    yield RunRetried()


_MESSAGES: Final[Mapping[str, Callable[[StepEnd], Iterator[HistoryMessage]]]] = {
    "step.completed": _completed,
    "step.failed": _failed,
    "step.attempt_failed": _attempt_failed,
    "step.timeout": _timeout,
    "wait.timed_out": _wait_timed_out,
    "event.unhandled": _unhandled,
    "run.timeout": _run_timeout,
    "run.cancelled": _cancelled,
    "run.terminated": _terminated,
    "run.retried": _retried,
}

END_KINDS: Final = frozenset(_MESSAGES)
"""Kinds of rows that end a step, or stand where one could have been."""
