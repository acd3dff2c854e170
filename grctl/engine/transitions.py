"""What happens to a run, in every status, for every cause: the only place that decides it.

``NEXT`` is the table; what is not in it is refused. ``after_directive`` and its like say with
which ``Transition`` a step's end is written. Where two causes meet (a cancel and a directive, a
message and a timer), the database decides under the run's row lock by the same table:
``WAKE_ORDER`` is the order of its claim, and tests hold the SQL against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from grctl.engine.rows import Transition
from grctl.models.directive import Complete, ContinueAsNew, Directive, Fail, NextStep, Wait
from grctl.models.run import RunStatus

__all__ = ["NEXT", "WAKE_ORDER", "Cause", "Wake", "after_directive", "next_status"]


class Cause(StrEnum):
    """What can happen to a run."""

    CLAIM = "claim"
    STEP = "step"
    STEP_DELAYED = "step, delayed"
    WAIT = "wait"
    COMPLETE = "complete"
    FAIL = "fail"
    CONTINUE = "continue_as_new"
    STEP_FAILED = "step failed"
    STEP_RETRIED = "step failed, to be retried"
    STEP_TIMED_OUT = "step timed out"
    POISONED = "step killed its workers"
    WAIT_TIMED_OUT = "wait timed out, no on_timeout"
    MESSAGE = "message"
    CANCEL = "cancel"
    CANCEL_TAKES_EFFECT = "cancel, at a step's end"
    TERMINATE = "terminate"
    RUN_TIMEOUT = "run timeout"
    CHILD_ENDED = "child ended"
    TAKE_OVER = "take-over"
    RETRY = "retry, by an operator"


_S = RunStatus
_ENDS = {Cause.TERMINATE: _S.TERMINATED}

NEXT: Mapping[RunStatus, Mapping[Cause, RunStatus]] = {
    _S.SCHEDULED: {
        Cause.CLAIM: _S.RUNNING,
        Cause.MESSAGE: _S.SCHEDULED,
        Cause.CHILD_ENDED: _S.SCHEDULED,
        Cause.CANCEL: _S.CANCELLED,
        Cause.RUN_TIMEOUT: _S.TIMED_OUT,
        **_ENDS,
    },
    _S.RUNNING: {
        Cause.CLAIM: _S.RUNNING,
        Cause.STEP: _S.RUNNING,
        Cause.STEP_DELAYED: _S.DELAYED,
        Cause.WAIT: _S.WAITING,
        Cause.COMPLETE: _S.COMPLETED,
        Cause.FAIL: _S.FAILED,
        Cause.CONTINUE: _S.CONTINUED,
        Cause.STEP_FAILED: _S.FAILED,
        Cause.STEP_RETRIED: _S.DELAYED,
        Cause.STEP_TIMED_OUT: _S.FAILED,
        Cause.POISONED: _S.FAILED,
        Cause.WAIT_TIMED_OUT: _S.FAILED,
        Cause.MESSAGE: _S.RUNNING,
        Cause.CHILD_ENDED: _S.RUNNING,
        Cause.CANCEL: _S.RUNNING,
        Cause.CANCEL_TAKES_EFFECT: _S.CANCELLED,
        Cause.RUN_TIMEOUT: _S.TIMED_OUT,
        Cause.TAKE_OVER: _S.RUNNING,
        **_ENDS,
    },
    _S.WAITING: {
        Cause.CLAIM: _S.RUNNING,
        Cause.MESSAGE: _S.WAITING,
        Cause.CHILD_ENDED: _S.WAITING,
        Cause.CANCEL: _S.CANCELLED,
        Cause.RUN_TIMEOUT: _S.TIMED_OUT,
        **_ENDS,
    },
    _S.DELAYED: {
        Cause.CLAIM: _S.RUNNING,
        Cause.MESSAGE: _S.DELAYED,
        Cause.CHILD_ENDED: _S.DELAYED,
        Cause.CANCEL: _S.CANCELLED,
        Cause.RUN_TIMEOUT: _S.TIMED_OUT,
        **_ENDS,
    },
    # Ended is ended: nothing happens to a run any more, but that an operator opens a failed one
    # again, at the step that failed.
    _S.COMPLETED: {},
    _S.FAILED: {Cause.RETRY: _S.DELAYED},
    _S.CANCELLED: {},
    _S.TERMINATED: {},
    _S.TIMED_OUT: {},
    _S.CONTINUED: {},
}


class Wake(StrEnum):
    """Why a claimed run is executed: the column ``runs.cause``."""

    START = "start"
    STEP = "step"
    EVENT = "event"
    TIMEOUT = "timeout"
    CANCEL = "cancel"
    RUN_TIMEOUT = "run_timeout"


WAKE_ORDER: tuple[tuple[Wake, str], ...] = (
    (Wake.RUN_TIMEOUT, "its deadline has passed"),
    (Wake.CANCEL, "a cancel was asked for while it was in no step"),
    (Wake.START, "it is scheduled"),
    (Wake.STEP, "it was delayed, or taken over in a step: the recorded cause stands"),
    (Wake.EVENT, "it waits and its inbox has a message"),
    (Wake.TIMEOUT, "it waits and its timer is due"),
)
"""Why a claimed run runs: the first that holds."""


def next_status(status: RunStatus, cause: Cause) -> RunStatus:
    """The status after ``cause``. ValueError where that cannot happen in this status."""
    try:
        return NEXT[status][cause]
    except KeyError:
        raise ValueError(f"a run that is {status} cannot meet {cause.value!r}") from None


_DIRECTIVES: Mapping[type[Directive], tuple[Cause, str]] = {
    NextStep: (Cause.STEP, "step"),
    Wait: (Cause.WAIT, "wait"),
    Complete: (Cause.COMPLETE, "end"),
    Fail: (Cause.FAIL, "end"),
    ContinueAsNew: (Cause.CONTINUE, "end"),
}


def after_directive(directive: Directive) -> Transition:
    """The transition that a directive asks for; results and errors are filled in by the caller.

    TypeError for one that is none of ``ctx.next``.
    """
    if type(directive) not in _DIRECTIVES:
        raise TypeError(
            f"{directive!r:.100} is no directive that ctx.next makes: a subclass of one, or the "
            "base class, says nothing about what happens next"
        )
    cause, go = _DIRECTIVES[type(directive)]
    if isinstance(directive, NextStep):
        if directive.delay:
            return _transition(
                Cause.STEP_DELAYED, "delay", directive.step_name, milliseconds(directive.delay)
            )
        return _transition(cause, go, directive.step_name)
    transition = _transition(cause, go)
    if isinstance(directive, Wait):
        transition.wait_step = directive.on_timeout
        if directive.timeout is not None:
            transition.delay_ms = milliseconds(directive.timeout)
    return transition


def stopped(cause: Cause) -> Transition:
    """The transition of an end that no directive made, and that gives way to nothing."""
    return _transition(cause, "stop")


def retried(attempt: int, delay_ms: int) -> Transition:
    """The same step once more, as its ``attempt``, after a delay."""
    transition = _transition(Cause.STEP_RETRIED, "retry", None, delay_ms)
    transition.attempt = attempt
    return transition


def still_waiting() -> Transition:
    """Back to the wait as it was: a message came that nobody handles."""
    return _transition(Cause.WAIT, "rewait")


def _transition(
    cause: Cause, go: str, step_name: str | None = None, delay_ms: int | None = None
) -> Transition:
    status = next_status(RunStatus.RUNNING, cause)
    return Transition(go=go, status=status.value, step_name=step_name, delay_ms=delay_ms)


def milliseconds(duration: timedelta) -> int:
    """A duration in whole milliseconds, rounded up: nothing durable fires early."""
    return -(-duration // timedelta(milliseconds=1))
