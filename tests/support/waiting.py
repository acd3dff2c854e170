"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def wait_until(
    condition: Callable[[], T | Awaitable[T]],
    description: str,
    *,
    timeout: float = 30.0,
    interval: float = 0.02,
) -> T:
    """Look at `condition` until what it gives is true, and give that.

    Raises:
        AssertionError: it was not within `timeout` seconds; says `description` and the last value.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"after {timeout} s it still does not hold that {description} (last: {value!r})"
            )
        await asyncio.sleep(interval)
