"""What `grctl top` shows: one look at a database's workers and runs, at a bounded cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import asyncpg

from grctl.ids import first_run_id
from grctl.postgres.database import Database
from grctl.postgres.depths import Depths, read_depths

__all__ = ["Look", "View", "look_at"]

View = Literal["running", "due", "timers", "latest"]
"""Held by workers; due and nobody's; due by themselves later; the newest of all."""

CLOCK_SLACK = timedelta(minutes=5)
"""By how much a client's clock, which is in its run ids, may be behind."""


@dataclass(frozen=True, slots=True)
class Look:
    """Rows as ``top.sql`` and ``leases.list`` give them; ``started`` in the last ten seconds."""

    workers: list[asyncpg.Record]
    runs: list[asyncpg.Record]
    depths: Depths
    started: int


async def look_at(database: Database, view: View, limit: int) -> Look:
    """How it is now; ``limit`` bounds the runs."""
    since = first_run_id(datetime.now(UTC) - CLOCK_SLACK - timedelta(seconds=10))
    return Look(
        workers=await database.fetch("leases", "list", False),  # noqa: FBT003 - not the old ones
        runs=await database.fetch("top", view, limit),
        depths=await read_depths(database),
        started=await database.fetchval("top", "started", since),
    )
