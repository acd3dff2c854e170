"""Whether a failed attempt is followed by another, and after what delay."""

from __future__ import annotations

from datetime import timedelta

from grctl.errors import NonRetryableError, RetryAfter, SerializationError
from grctl.models.directive import MAX_DELAY, RetryPolicy

__all__ = ["next_delay_ms"]

_LONGEST_MS = int(MAX_DELAY.total_seconds() * 1000)


def next_delay_ms(
    policy: RetryPolicy, error: BaseException, attempt: int, fraction: float
) -> int | None:
    """The delay before the next attempt in milliseconds, or None if there is none.

    ``attempt`` is the one that failed, from 1; ``fraction`` a random number in [0, 1).
    """
    if attempt >= policy.max_attempts:
        return None
    # A result that cannot be recorded will not become so by repeating the side effect.
    if isinstance(error, NonRetryableError | SerializationError):
        return None
    name = type(error).__name__
    if policy.non_retryable_errors is not None and name in policy.non_retryable_errors:
        return None
    if isinstance(error, RetryAfter):  # it asks for a retry: no list of others speaks against it
        asked = error.args[0] if error.args else None
        if isinstance(asked, timedelta):  # else a subclass did not call its base's __init__
            return min(_LONGEST_MS, int(asked.total_seconds() * 1000))
    elif policy.retryable_errors is not None and name not in policy.retryable_errors:
        return None
    return backoff_ms(policy, attempt, fraction)


def backoff_ms(policy: RetryPolicy, attempt: int, fraction: float) -> int:
    """The policy's delay after ``attempt``, jitter included, never above ``max_delay_ms``."""
    if policy.initial_delay_ms == 0:
        return 0
    try:
        delay = policy.initial_delay_ms * policy.backoff_multiplier ** (attempt - 1)
    except OverflowError:
        delay = float(policy.max_delay_ms)
    delay = min(delay, policy.max_delay_ms)
    return int(min(delay * (1.0 + policy.jitter * fraction), policy.max_delay_ms))
