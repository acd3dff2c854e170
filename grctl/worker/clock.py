"""The database's time, between two looks at it: the last one seen plus what has passed since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic

__all__ = ["DatabaseClock"]


class DatabaseClock:
    """Never the worker's wall clock, which may be wrong or jump."""

    def __init__(self, now: datetime) -> None:
        self.set(now)

    def set(self, now: datetime) -> None:
        """The database just said what time it is."""
        self._seen = now.astimezone(UTC)
        self._at = monotonic()

    def now(self) -> datetime:
        """The database's time now, in UTC."""
        return self._seen + timedelta(seconds=monotonic() - self._at)
