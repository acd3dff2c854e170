"""A directive or retry policy that cannot be carried out cannot be made."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import timedelta
from typing import Any

import pytest

from grctl.models import (
    MAX_DELAY,
    Complete,
    ContinueAsNew,
    Directive,
    Fail,
    NextStep,
    RetryPolicy,
    Wait,
)


@pytest.mark.parametrize(
    "directive",
    [
        NextStep("charge", timedelta(seconds=1)),
        Wait(timedelta(days=1), "expire"),
        Complete({"total": 3}),
        Fail(),
        ContinueAsNew({"page": 2}),
    ],
    ids=lambda directive: type(directive).__name__,
)
def test_a_directive_is_a_frozen_value(directive: Directive) -> None:
    assert isinstance(directive, Directive)
    assert pickle.loads(pickle.dumps(directive)) == directive
    assert not hasattr(directive, "__dict__")
    name = dataclasses.fields(directive)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(directive, name, None)


def test_a_failure_without_details_is_a_failed_workflow() -> None:
    error = Fail().error

    assert (error.type, error.message, error.stack_trace, error.qualified_type) == (
        "WorkflowFailed",
        "",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("delay", "message"),
    [
        (timedelta(microseconds=-1), "must be from 0 to"),
        (MAX_DELAY + timedelta(microseconds=1), "must be from 0 to"),
        (timedelta.max, "must be from 0 to"),
        (5, "must be a timedelta or None, not int 5"),
    ],
)
def test_a_delay_out_of_range_is_refused(delay: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"delay {message}"):
        NextStep("charge", delay)
    with pytest.raises(ValueError, match=f"timeout {message}"):
        Wait(delay)


@pytest.mark.parametrize("delay", [None, timedelta(0), MAX_DELAY])
def test_a_delay_may_be_absent_or_as_long_as_a_century(delay: timedelta | None) -> None:
    assert NextStep("charge", delay).delay == delay
    assert Wait(delay).timeout == delay


def test_none_means_the_default_in_a_retry_policy() -> None:
    policy = RetryPolicy(None, None, None, None, None, None, None)

    assert policy == RetryPolicy()
    assert dataclasses.asdict(policy) == {
        "max_attempts": 1,
        "initial_delay_ms": 100,
        "backoff_multiplier": 2.0,
        "max_delay_ms": 5000,
        "jitter": 0.0,
        "retryable_errors": None,
        "non_retryable_errors": None,
    }


def test_a_retry_policy_keeps_what_it_was_given() -> None:
    names = ["TimeoutError"]
    policy = RetryPolicy(5, 0, 1, 10, 1, names, [])
    names.append("KeyError")

    assert policy.retryable_errors == ["TimeoutError"]
    assert policy.non_retryable_errors == []
    assert type(policy.backoff_multiplier) is type(policy.jitter) is float
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert dataclasses.replace(policy, max_attempts=7).max_attempts == 7
    assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", -1),
        ("max_attempts", 2**31),
        ("max_attempts", True),
        ("max_attempts", 2.0),
        ("max_attempts", "3"),
        ("initial_delay_ms", -1),
        ("initial_delay_ms", 10**18),
        ("initial_delay_ms", 0.5),
        ("backoff_multiplier", 0.99),
        ("backoff_multiplier", -2.0),
        ("backoff_multiplier", float("nan")),
        ("backoff_multiplier", float("inf")),
        ("backoff_multiplier", 10**400),
        ("backoff_multiplier", False),
        ("max_delay_ms", -1),
        ("max_delay_ms", False),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", float("nan")),
        ("jitter", "0.5"),
        ("retryable_errors", "TimeoutError"),
        ("retryable_errors", [TimeoutError]),
        ("retryable_errors", [""]),
        ("non_retryable_errors", "TimeoutError"),
        ("non_retryable_errors", {"TimeoutError": 1}),
    ],
)
def test_a_retry_policy_out_of_range_names_field_value_and_range(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"RetryPolicy: {field} must be .*, or None, not ") as info:
        RetryPolicy(**{field: value})

    assert repr(value) in str(info.value)
