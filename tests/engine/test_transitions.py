"""The state table: whatever can happen to a run is in it, and what is not is refused."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grctl.engine.rows import Transition
from grctl.engine.transitions import (
    NEXT,
    WAKE_ORDER,
    Cause,
    Wake,
    after_directive,
    milliseconds,
    next_status,
    retried,
    still_waiting,
    stopped,
)
from grctl.models.directive import Complete, ContinueAsNew, Directive, Fail, NextStep, Wait
from grctl.models.run import RunStatus

OPEN = [RunStatus.SCHEDULED, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.DELAYED]
ENDED = [status for status in RunStatus if status not in OPEN]
PAIRS = list(product(RunStatus, Cause))
IN_A_STEP_ONLY = [
    Cause.STEP,
    Cause.STEP_DELAYED,
    Cause.WAIT,
    Cause.COMPLETE,
    Cause.FAIL,
    Cause.CONTINUE,
    Cause.STEP_FAILED,
    Cause.STEP_RETRIED,
    Cause.STEP_TIMED_OUT,
    Cause.POISONED,
    Cause.WAIT_TIMED_OUT,
    Cause.CANCEL_TAKES_EFFECT,
    Cause.TAKE_OVER,
]
FROM_OUTSIDE = [cause for cause in Cause if cause not in [*IN_A_STEP_ONLY, Cause.RETRY]]


def test_every_status_has_its_line_and_there_is_none_besides():
    assert set(NEXT) == set(RunStatus)


@pytest.mark.parametrize(("status", "cause"), PAIRS)
def test_a_pair_is_in_the_table_or_refused_and_nothing_changes(status: RunStatus, cause: Cause):
    before = {each: dict(line) for each, line in NEXT.items()}

    if cause in NEXT[status]:
        assert next_status(status, cause) is NEXT[status][cause]
    else:
        with pytest.raises(ValueError, match=f"a run that is {status} cannot meet"):
            next_status(status, cause)
    assert {each: dict(line) for each, line in NEXT.items()} == before


@pytest.mark.parametrize(("status", "cause"), list(product(ENDED, Cause)))
def test_an_ended_run_accepts_nothing_but_that_a_failed_one_is_retried(
    status: RunStatus, cause: Cause
):
    if (status, cause) == (RunStatus.FAILED, Cause.RETRY):
        assert next_status(status, cause) is RunStatus.DELAYED
        return
    with pytest.raises(ValueError, match="cannot meet"):
        next_status(status, cause)


@pytest.mark.parametrize(("status", "cause"), list(product(OPEN, FROM_OUTSIDE)))
def test_what_comes_from_outside_can_meet_every_open_run(status: RunStatus, cause: Cause):
    assert next_status(status, cause) in RunStatus


@pytest.mark.parametrize("cause", IN_A_STEP_ONLY)
def test_what_a_step_does_happens_to_a_running_run_alone(cause: Cause):
    next_status(RunStatus.RUNNING, cause)
    for status in RunStatus:
        if status is not RunStatus.RUNNING:
            with pytest.raises(ValueError, match="cannot meet"):
                next_status(status, cause)


@pytest.mark.parametrize("status", OPEN)
def test_a_message_changes_no_status(status: RunStatus):
    assert next_status(status, Cause.MESSAGE) is status
    assert next_status(status, Cause.CHILD_ENDED) is status


def test_a_cancel_waits_for_a_step_and_for_nothing_else():
    after = {status: next_status(status, Cause.CANCEL) for status in OPEN}

    assert after.pop(RunStatus.RUNNING) is RunStatus.RUNNING
    assert set(after.values()) == {RunStatus.CANCELLED}


@pytest.mark.parametrize("status", OPEN)
def test_terminate_and_the_runs_timeout_end_every_open_run(status: RunStatus):
    assert next_status(status, Cause.TERMINATE) is RunStatus.TERMINATED
    assert next_status(status, Cause.RUN_TIMEOUT) is RunStatus.TIMED_OUT


@pytest.mark.parametrize("status", [*OPEN[1:], *ENDED])
def test_every_status_can_be_reached(status: RunStatus):
    reached = {RunStatus.SCHEDULED}
    while more := {after for each in reached for after in NEXT[each].values()} - reached:
        reached |= more

    assert status in reached


@pytest.mark.parametrize("status", OPEN)
def test_every_open_run_can_come_to_each_end(status: RunStatus):
    reached = {status}
    while more := {after for each in reached for after in NEXT[each].values()} - reached:
        reached |= more

    assert reached >= set(ENDED)


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        (NextStep("pay"), ("step", "running", "pay", None, None)),
        (NextStep("pay", timedelta(0)), ("step", "running", "pay", None, None)),
        (NextStep("pay", timedelta(seconds=2)), ("delay", "delayed", "pay", 2000, None)),
        (Wait(), ("wait", "waiting", None, None, None)),
        (Wait(timedelta(0), "late"), ("wait", "waiting", None, 0, "late")),
        (Wait(timedelta(hours=1), "late"), ("wait", "waiting", None, 3_600_000, "late")),
        (Complete(1), ("end", "completed", None, None, None)),
        (Fail(), ("end", "failed", None, None, None)),
        (ContinueAsNew(), ("end", "continued", None, None, None)),
    ],
)
def test_a_directive_says_what_becomes_of_the_run(
    directive: Directive, expected: tuple[str, str, str | None, int | None, str | None]
):
    t = after_directive(directive)

    assert (t.go, t.status, t.step_name, t.delay_ms, t.wait_step) == expected


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (Cause.STEP_FAILED, "failed"),
        (Cause.STEP_TIMED_OUT, "failed"),
        (Cause.POISONED, "failed"),
        (Cause.WAIT_TIMED_OUT, "failed"),
        (Cause.CANCEL_TAKES_EFFECT, "cancelled"),
        (Cause.RUN_TIMEOUT, "timed_out"),
    ],
)
def test_an_end_that_no_directive_made_gives_way_to_nothing(cause: Cause, status: str):
    assert _shown(stopped(cause)) == ("stop", status, 1, None)


def test_a_retried_step_is_delayed_and_counted():
    assert _shown(retried(3, 250)) == ("retry", "delayed", 3, 250)


def test_a_message_that_nobody_handles_leaves_the_wait_as_it_was():
    assert _shown(still_waiting()) == ("rewait", "waiting", 1, None)


def _shown(t: Transition) -> tuple[str, str, int, int | None]:
    return (t.go, t.status, t.attempt, t.delay_ms)


def test_each_reason_to_wake_has_one_place_in_the_order():
    assert sorted(wake for wake, _ in WAKE_ORDER) == sorted(Wake)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36_525)))
def test_nothing_durable_fires_early(duration: timedelta):
    ms = milliseconds(duration)

    assert timedelta(milliseconds=ms) >= duration
    assert timedelta(milliseconds=ms - 1) < duration or ms == 0
