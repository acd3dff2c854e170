"""What a retry policy does, read from the calls that were made and from history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from grctl.errors import NonRetryableError, RetryAfter, StepFailed
from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive
from tests.support import Database

Execute = Callable[..., Awaitable[Any]]


class A(Exception):  # noqa: N818 - a name for the policy
    pass


class FatalError(NonRetryableError):
    pass


async def rows(database: Database, kinds: str = "task.%") -> list[tuple[Any, ...]]:
    found = await database.fetch(
        "select kind, name, attempt from grctl.events where kind like $1 order by seq", kinds
    )
    return [tuple(row) for row in found]


Policy = RetryPolicy


@pytest.mark.parametrize(
    ("policy", "errors", "attempts"),
    [
        (Policy(), [ValueError], 1),
        (Policy(max_attempts=3), [ValueError] * 3, 3),
        (Policy(max_attempts=3), [ValueError, KeyError], 3),
        (Policy(max_attempts=3, retryable_errors=["ValueError"]), [ValueError] * 2, 3),
        (Policy(max_attempts=3, retryable_errors=["ValueError"]), [KeyError], 1),
        (Policy(max_attempts=3, retryable_errors=["LookupError"]), [KeyError], 1),
        (Policy(max_attempts=3, non_retryable_errors=["KeyError"]), [ValueError, KeyError], 2),
        (
            Policy(max_attempts=3, retryable_errors=["A", "KeyError"], non_retryable_errors=["A"]),
            [KeyError, A],
            2,
        ),
        (Policy(max_attempts=3), [FatalError], 1),
        (Policy(max_attempts=2), [TimeoutError], 2),
    ],
)
async def test_the_retry_policy_says_how_often_and_for_what(
    database: Database, execute: Execute, policy: Policy, errors: list[type], attempts: int
) -> None:
    quick = Policy(
        policy.max_attempts,
        1,
        1.0,
        retryable_errors=policy.retryable_errors,
        non_retryable_errors=policy.non_retryable_errors,
    )
    calls = 0

    @task(retry_policy=quick)
    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls <= len(errors):
            raise errors[calls - 1]("no")
        return "done"

    async def start(ctx: Context) -> Directive:
        try:
            return ctx.next.complete(await work())
        except Exception as error:  # noqa: BLE001 - whatever it was
            return ctx.next.complete(type(error).__name__)

    succeeds = attempts > len(errors)
    expected = "done" if succeeds else errors[attempts - 1].__name__
    assert await execute(start) == expected
    assert calls == attempts
    last = ("task.completed" if succeeds else "task.failed", "work", attempts)
    failed = [("task.attempt_failed", "work", number) for number in range(1, attempts)]
    assert await rows(database) == [*failed, last]


async def test_backoff_grows_up_to_its_limit(database: Database, execute: Execute) -> None:
    @task(retry_policy=RetryPolicy(5, initial_delay_ms=10, backoff_multiplier=3.0, max_delay_ms=50))
    async def work() -> None:
        raise ValueError("no")

    async def start(ctx: Context) -> Directive:
        await work()
        raise AssertionError

    with pytest.raises(StepFailed, match="ValueError: no"):
        await execute(start)
    delays = await database.fetch(
        "select (body ->> 'next_retry_delay_ms')::int as ms from grctl.events "
        "where kind = 'task.attempt_failed' order by seq"
    )
    assert [row["ms"] for row in delays] == [10, 30, 50, 50]


async def test_an_error_may_say_when_to_try_again(database: Database, execute: Execute) -> None:
    calls = 0

    @task(retry_policy=RetryPolicy(2, initial_delay_ms=60_000, max_delay_ms=60_000))
    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RetryAfter(timedelta(milliseconds=7), "busy")
        return "done"

    async def start(ctx: Context) -> Directive:
        return ctx.next.complete(await work())

    assert await execute(start) == "done"
    body = "select (body ->> 'next_retry_delay_ms')::int from grctl.events where seq = 1"
    assert await database.fetchval(body) == 7
