"""What waits in the database, read at a bounded cost: for monitoring."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic

from grctl.postgres.database import Database

__all__ = ["DepthGauge", "Depths", "DueType", "read_depths"]

FRESH_SECONDS = 1.0
"""Whoever asks again within it is given the same."""
PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class DueType:
    """The backlog of one workflow type. ``runs`` is 1,000 at most; ``oldest_seconds`` is how long
    the first has been due (None: none is).
    """

    wf_type: str
    runs: int
    oldest_seconds: float | None
    workers: int


@dataclass(frozen=True, slots=True)
class Depths:
    """Counts are 10,000 at most, but those of workers."""

    due: tuple[DueType, ...]
    messages: int
    queries: int
    closings: int
    workers_up: int
    workers_late: int


async def read_depths(database: Database) -> Depths:
    """Two statements, each of which reads a bounded number of rows."""
    due = await database.fetch("depths", "due")
    (rest,) = await database.fetch("depths", "depths")
    return Depths(
        due=tuple(DueType(**dict(row)) for row in due),
        messages=rest["messages"],
        queries=rest["queries"],
        closings=rest["closings"],
        workers_up=rest["up"],
        workers_late=rest["late"],
    )


class DepthGauge:
    """Depths, read once a second at most, whoever asks how often. Errors are the database's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._read_at = 0.0
        self._depths: Depths | None = None

    async def read(self) -> Depths:
        """What it is now, or was within the last second."""
        async with self._lock:
            if self._depths is None or monotonic() - self._read_at > FRESH_SECONDS:
                self._depths = None
                async with asyncio.timeout(PATIENCE_SECONDS):
                    self._depths = await read_depths(self._database)
                self._read_at = monotonic()
            return self._depths
