"""How things stand, at a price that does not grow with the number of runs.

Counts are of the runs that were *started* in a window of time. Where a span of it has more than
``SAMPLE`` runs, its first ones are counted and the rest is reckoned from how closely they follow
one another; ``is_reckoned`` says so. Open runs are counted up to ``MOST_OPEN``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

import asyncpg

from grctl.ids import first_run_id
from grctl.postgres.database import Database

__all__ = ["MOST_OPEN", "Overview", "Period", "read_overview"]

SAMPLE = 500
MOST_OPEN = 10_000
MOST_FAILED = 2_000
OLDEST = 8
_ENDED_TOO = False


@dataclass(frozen=True, slots=True)
class Period:
    """A span of the window, and how many runs started in it have which status now."""

    start: datetime
    end: datetime
    by_status: Mapping[str, float]
    is_reckoned: bool = False

    @property
    def runs(self) -> float:
        """Of all statuses."""
        return sum(self.by_status.values())


@dataclass(frozen=True, slots=True)
class Overview:
    """What an operator sees first. Rows are as ``overview.sql`` has them."""

    now: datetime
    periods: Sequence[Period]
    open: Sequence[asyncpg.Record]
    oldest: Sequence[asyncpg.Record]
    due: Sequence[asyncpg.Record]
    failures: Sequence[asyncpg.Record]
    workers: Sequence[asyncpg.Record]

    @property
    def by_status(self) -> dict[str, float]:
        """Runs that were started in the window, by the status they have now."""
        totals: dict[str, float] = {}
        for period in self.periods:
            for status, runs in period.by_status.items():
                totals[status] = totals.get(status, 0) + runs
        return totals

    @property
    def is_reckoned(self) -> bool:
        """Whether a count of the window is not exact."""
        return any(period.is_reckoned for period in self.periods)


async def read_overview(database: Database, window: timedelta, spans: int) -> Overview:
    """How things stand now; the last ``window`` in so many ``spans``."""
    now: datetime = await database.fetchval("overview", "now")
    begin = now - window
    edges = [begin + window * n / spans for n in range(spans)]
    # Clocks of clients may be ahead of the database's: what is made "later" is of the last span.
    ids = [*map(first_run_id, edges), first_run_id(now + timedelta(days=1))]
    counted, opened, oldest, due, failures, workers = await asyncio.gather(
        database.fetch("overview", "buckets", ids[:-1], ids[1:], SAMPLE),
        database.fetch("overview", "open", MOST_OPEN),
        database.fetch("overview", "oldest", MOST_OPEN, OLDEST),
        database.fetch("overview", "due"),
        database.fetch("overview", "failures", ids[0], MOST_FAILED),
        database.fetch("leases", "list", _ENDED_TOO),
    )
    periods = _periods([*edges, now], counted)
    return Overview(now, periods, opened, oldest, due, failures, workers)


def _periods(edges: Sequence[datetime], rows: Sequence[asyncpg.Record]) -> list[Period]:
    by_span: dict[int, list[asyncpg.Record]] = {}
    for row in rows:
        by_span.setdefault(row["n"], []).append(row)
    return [
        _period(start, end, by_span.get(n, []))
        for n, (start, end) in enumerate(pairwise(edges), start=1)
    ]


def _period(start: datetime, end: datetime, rows: Sequence[asyncpg.Record]) -> Period:
    counted = sum(row["runs"] for row in rows)
    factor = 1.0
    if counted >= SAMPLE:
        last = max(UUID(row["last"]).int for row in rows) >> 80
        seen = max(1.0, last - start.timestamp() * 1000)
        factor = max(1.0, (end - start) / timedelta(milliseconds=1) / seen)
    by_status = {row["status"]: row["runs"] * factor for row in rows}
    return Period(start, end, by_status, counted >= SAMPLE)
