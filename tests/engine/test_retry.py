"""The table of the retry policy: what is tried again, and after what delay."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grctl.engine.retry import next_delay_ms
from grctl.errors import NonRetryableError, PayloadTooLargeError, RetryAfter, SerializationError
from grctl.models.directive import MAX_DELAY, RetryPolicy


class DeclinedError(Exception):
    pass


class DeclinedTwiceError(DeclinedError):
    pass


class BlockedError(NonRetryableError):
    pass


class ThrottledError(RetryAfter):
    pass


class BusyError(RetryAfter):
    """Without its base's constructor, so it has no delay."""

    def __init__(self, *what: object) -> None:
        self.what = what


def delays(policy: RetryPolicy, error: Exception, fraction: float = 0.0) -> list[int | None]:
    """The delays after each failed attempt, up to the last."""
    found: list[int | None] = []
    while not found or found[-1] is not None:
        found.append(next_delay_ms(policy, error, len(found) + 1, fraction))
    return found


def test_without_a_policy_of_its_own_a_task_is_tried_once():
    assert delays(RetryPolicy(), DeclinedError()) == [None]


def test_max_attempts_counts_the_first_one():
    assert delays(RetryPolicy(max_attempts=3), DeclinedError()) == [100, 200, None]


def test_delays_grow_from_the_initial_one_by_the_multiplier_up_to_the_bound():
    policy = RetryPolicy(max_attempts=6, initial_delay_ms=10, backoff_multiplier=3, max_delay_ms=99)

    assert delays(policy, DeclinedError()) == [10, 30, 90, 99, 99, None]


def test_the_defaults_double_from_100_ms_to_5_s():
    policy = RetryPolicy(max_attempts=9)

    assert delays(policy, DeclinedError()) == [100, 200, 400, 800, 1600, 3200, 5000, 5000, None]


def test_the_bound_holds_for_the_first_delay_too():
    assert next_delay_ms(RetryPolicy(2, 9000), DeclinedError(), 1, 0.0) == 5000


@pytest.mark.parametrize("attempt", [2, 1_000, 1_100, 100_000, 2**31 - 2])
def test_a_delay_that_no_number_can_hold_is_the_bound(attempt: int):
    policy = RetryPolicy(2**31 - 1, backoff_multiplier=1e308)

    assert next_delay_ms(policy, DeclinedError(), attempt, 0.0) == 5000


def test_no_delay_stays_none_however_often_it_is_multiplied():
    policy = RetryPolicy(2**31 - 1, initial_delay_ms=0, backoff_multiplier=10)

    assert {next_delay_ms(policy, DeclinedError(), attempt, 0.9) for attempt in (1, 2, 5000)} == {0}


@pytest.mark.parametrize(
    ("jitter", "fraction", "delay"),
    [(0.0, 0.99, 100), (0.5, 0.0, 100), (0.5, 0.5, 125), (1, 1, 200)],
)
def test_jitter_adds_a_fraction_of_the_delay(jitter: float, fraction: float, delay: int):
    assert next_delay_ms(RetryPolicy(2, jitter=jitter), DeclinedError(), 1, fraction) == delay


@given(
    st.builds(
        RetryPolicy,
        max_attempts=st.integers(1, 2**31 - 1),
        initial_delay_ms=st.integers(0, 10**12),
        backoff_multiplier=st.floats(1, 1e308),
        max_delay_ms=st.integers(0, 10**12),
        jitter=st.floats(0, 1),
    ),
    st.integers(1, 2**31 - 1),
    st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_a_whole_number_from_0_to_the_bound(
    policy: RetryPolicy, attempt: int, fraction: float
):
    delay = next_delay_ms(policy, DeclinedError(), attempt, fraction)

    if attempt >= policy.max_attempts:
        assert delay is None
    else:
        assert type(delay) is int
        assert 0 <= delay <= policy.max_delay_ms
        if fraction == 0 or policy.jitter == 0:
            assert delay >= min(policy.initial_delay_ms, policy.max_delay_ms)


@pytest.mark.parametrize(
    ("retryable", "non_retryable", "error", "is_retried"),
    [
        (None, None, DeclinedError(), True),
        (["DeclinedError"], None, DeclinedError(), True),
        (["DeclinedError"], None, ValueError(), False),
        ([], None, DeclinedError(), False),
        (None, ["DeclinedError"], DeclinedError(), False),
        (None, ["DeclinedError"], ValueError(), True),
        (None, [], DeclinedError(), True),
        (["DeclinedError", "ValueError"], ["ValueError"], DeclinedError(), True),
        (["DeclinedError", "ValueError"], ["ValueError"], ValueError(), False),
        (["DeclinedError"], ["ValueError"], KeyError(), False),
    ],
)
def test_the_lists_of_names_decide(
    retryable: list[str] | None,
    non_retryable: list[str] | None,
    error: Exception,
    is_retried: bool,
):
    policy = RetryPolicy(2, retryable_errors=retryable, non_retryable_errors=non_retryable)

    assert (next_delay_ms(policy, error, 1, 0.0) is not None) is is_retried


@pytest.mark.parametrize(
    "name", ["DeclinedTwiceError", "declinederror", "test_retry.DeclinedError", "Exception"]
)
def test_names_match_exactly_and_no_base_class(name: str):
    assert next_delay_ms(RetryPolicy(2, retryable_errors=[name]), DeclinedError(), 1, 0.0) is None
    assert (
        next_delay_ms(RetryPolicy(2, non_retryable_errors=[name]), DeclinedError(), 1, 0.0) == 100
    )


def test_a_subclass_is_not_its_base_class():
    assert (
        next_delay_ms(
            RetryPolicy(2, retryable_errors=["DeclinedError"]), DeclinedTwiceError(), 1, 0
        )
        is None
    )


@pytest.mark.parametrize("error", [NonRetryableError("no"), BlockedError("no")])
def test_an_error_can_end_the_retries_itself(error: Exception):
    policy = RetryPolicy(5, retryable_errors=["NonRetryableError", "BlockedError"])

    assert next_delay_ms(policy, error, 1, 0.0) is None


@pytest.mark.parametrize("error", [SerializationError("what"), PayloadTooLargeError("large")])
def test_what_cannot_be_recorded_is_not_tried_again(error: Exception):
    assert next_delay_ms(RetryPolicy(5), error, 1, 0.0) is None


@pytest.mark.parametrize("seconds", [0, 0.25, 60, 3600])
def test_an_error_can_carry_its_own_delay_above_the_bound_and_without_jitter(seconds: float):
    policy = RetryPolicy(5, jitter=1.0)

    assert next_delay_ms(policy, RetryAfter(timedelta(seconds=seconds)), 3, 0.9) == seconds * 1000


@pytest.mark.parametrize("what", [(), ("the server",), (timedelta,)])
def test_an_error_that_has_no_delay_after_all_waits_as_the_policy_says(what: tuple[object, ...]):
    assert next_delay_ms(RetryPolicy(2, 70), BusyError(*what), 1, 0.0) == 70


def test_a_delay_of_its_own_makes_no_more_attempts_than_there_are():
    assert delays(RetryPolicy(2), RetryAfter(timedelta(seconds=1))) == [1000, None]


def test_a_delay_of_its_own_needs_no_place_in_the_list_but_can_be_excluded():
    error = ThrottledError(timedelta(seconds=1))

    assert next_delay_ms(RetryPolicy(2, retryable_errors=["DeclinedError"]), error, 1, 0.0) == 1000
    assert (
        next_delay_ms(RetryPolicy(2, non_retryable_errors=["ThrottledError"]), error, 1, 0.0)
        is None
    )


def test_a_delay_of_its_own_is_never_longer_than_a_timestamp_can_hold():
    delay = next_delay_ms(RetryPolicy(2), RetryAfter(timedelta.max), 1, 0.0)

    assert delay == MAX_DELAY // timedelta(milliseconds=1)
