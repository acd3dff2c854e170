"""Time in a worker: the database's, between two looks at it, and pauses that are never short."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from time import monotonic

__all__ = ["DatabaseClock", "pause"]

TIMER_PRECISION = 0.002
"""Seconds by which a timer of uvloop may be early: it counts in whole milliseconds."""


class DatabaseClock:
    """The last time seen, plus what has passed since; never the worker's wall clock, which may be
    wrong or jump.
    """

    def __init__(self, now: datetime) -> None:
        self.set(now)

    def set(self, now: datetime) -> None:
        """The database just said what time it is."""
        self._seen = now.astimezone(UTC)
        self._at = monotonic()

    def now(self) -> datetime:
        """The database's time now, in UTC."""
        return self._seen + timedelta(seconds=monotonic() - self._at)


async def pause(seconds: float, unless: asyncio.Event) -> None:
    """Wait for ``unless``, or so long: never less, whatever the event loop's timers are."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + TIMER_PRECISION):
            await unless.wait()
