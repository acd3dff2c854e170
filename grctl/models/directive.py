"""What a handler returns: what happens after its step. And the policy of retries.

Users get directives from ``ctx.next``; the classes here are what the engine reads. A value that
cannot be carried out is refused when the directive is made, with a ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from grctl.models.error_details import ErrorDetails

__all__ = [
    "MAX_DELAY",
    "Complete",
    "ContinueAsNew",
    "Directive",
    "Fail",
    "NextStep",
    "RetryPolicy",
    "Wait",
    "check_seconds",
    "check_timeout",
]

MAX_DELAY = timedelta(days=36_525)
"""The longest delay or timeout, a hundred years: far inside what a timestamp can hold."""

_MAX_DELAY_MS = int(MAX_DELAY / timedelta(milliseconds=1))
_MAX_ATTEMPTS = 2**31 - 1  # the column is an integer


@dataclass(frozen=True, slots=True)
class Directive:
    """What happens after a step. Made by ``ctx.next``; a handler returns exactly one."""


@dataclass(frozen=True, slots=True)
class NextStep(Directive):
    """Run a step next, after ``delay`` (None: at once). A delay holds no worker."""

    step_name: str
    delay: timedelta | None = None

    def __post_init__(self) -> None:
        _check_delay("delay", self.delay)


@dataclass(frozen=True, slots=True)
class Wait(Directive):
    """Park until an event comes; after ``timeout`` (None: never) run the step ``on_timeout``."""

    timeout: timedelta | None = None
    on_timeout: str | None = None

    def __post_init__(self) -> None:
        _check_delay("timeout", self.timeout)


@dataclass(frozen=True, slots=True)
class Complete(Directive):
    """Finish the run with ``result``."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Fail(Directive):
    """Fail the run with ``error``."""

    error: ErrorDetails = field(default_factory=ErrorDetails)


@dataclass(frozen=True, slots=True)
class ContinueAsNew(Directive):
    """Finish this run and start a fresh one of the same workflow id with ``input``."""

    input: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, init=False)
class RetryPolicy:
    """When a failed task or step is tried again, and after what delay.

    Every argument may be None, which means its default; the attributes always hold the value that
    counts. A value out of range, or of another type, raises ValueError when the policy is made.

    * ``max_attempts`` (1): total attempts, the first included.
    * ``initial_delay_ms`` (100): delay before the second attempt, in milliseconds.
    * ``backoff_multiplier`` (2.0): factor on the delay after each attempt, 1.0 or more.
    * ``max_delay_ms`` (5000): upper bound of a delay, in milliseconds, of the first one, too:
      a policy with longer delays raises both.
    * ``jitter`` (0.0): random fraction added to a delay, 0.0 to 1.0.
    * ``retryable_errors`` (None, all): retry only errors whose class has one of these names.
    * ``non_retryable_errors`` (None): never retry errors whose class has one of these names.

    Names match ``type(error).__name__`` exactly. With both lists, an error must be in the first
    and not in the second.
    """

    max_attempts: int
    initial_delay_ms: int
    backoff_multiplier: float
    max_delay_ms: int
    jitter: float
    # Lists are what users write and read, but cannot be hashed; the rest hashes well enough.
    retryable_errors: list[str] | None = field(hash=False)
    non_retryable_errors: list[str] | None = field(hash=False)

    def __init__(
        self,
        max_attempts: int | None = None,
        initial_delay_ms: int | None = None,
        backoff_multiplier: float | None = None,
        max_delay_ms: int | None = None,
        jitter: float | None = None,
        retryable_errors: list[str] | None = None,
        non_retryable_errors: list[str] | None = None,
    ) -> None:
        values = {
            "max_attempts": _integer("max_attempts", max_attempts, 1, 1, _MAX_ATTEMPTS),
            "initial_delay_ms": _integer(
                "initial_delay_ms", initial_delay_ms, 100, 0, _MAX_DELAY_MS
            ),
            "backoff_multiplier": _number(
                "backoff_multiplier", backoff_multiplier, 2.0, 1.0, math.inf
            ),
            "max_delay_ms": _integer("max_delay_ms", max_delay_ms, 5000, 0, _MAX_DELAY_MS),
            "jitter": _number("jitter", jitter, 0.0, 0.0, 1.0),
            "retryable_errors": _names("retryable_errors", retryable_errors),
            "non_retryable_errors": _names("non_retryable_errors", non_retryable_errors),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


def check_timeout(what: str, value: object) -> None:
    """TypeError for what is no timedelta (None is none at all), ValueError for what cannot be."""
    if value is None:
        return
    if not isinstance(value, timedelta):
        raise TypeError(f"{what} must be a timedelta or None, not {type(value).__name__} {value!r}")
    if not timedelta(0) < value <= MAX_DELAY:
        raise ValueError(f"{what} must be positive and at most {MAX_DELAY.days} days, not {value}")


def check_seconds(what: str, value: object) -> None:
    """TypeError for what is no number of seconds (None is one: for ever), ValueError for NaN."""
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        hint = ": write .total_seconds()" if isinstance(value, timedelta) else ""
        raise TypeError(
            f"{what} must be a number of seconds, not {type(value).__name__} {value!r}{hint}"
        )
    if math.isnan(value):
        raise ValueError(f"{what} must be a number of seconds, not NaN")


def _check_delay(name: str, value: timedelta | None) -> None:
    if value is None:
        return
    if not isinstance(value, timedelta):
        raise ValueError(  # noqa: TRY004  as with any value that cannot be carried out
            f"{name} must be a timedelta or None, not {type(value).__name__} {value!r}"
        )
    if not timedelta(0) <= value <= MAX_DELAY:
        raise ValueError(f"{name} must be from 0 to {MAX_DELAY.days} days, not {value}")


def _integer(name: str, value: object, default: int, low: int, high: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _out_of_range(name, value, f"an int from {low} to {high}")
    return int(value)


def _number(name: str, value: object, default: float, low: float, high: float) -> float:
    if value is None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and low <= number <= high:
            return number
    allowed = f"a number from {low} to {high}" if high < math.inf else f"a finite number >= {low}"
    raise _out_of_range(name, value, allowed)


def _names(name: str, value: object) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, list | tuple | set | frozenset):
        names = sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)
        if all(isinstance(item, str) and item for item in names):
            return names
    raise _out_of_range(name, value, 'a list of class names such as ["TimeoutError"]')


def _out_of_range(name: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"RetryPolicy: {name} must be {allowed}, or None, not {value!r}")
