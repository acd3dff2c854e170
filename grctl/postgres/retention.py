"""Deleting ended runs: in small transactions, with pauses, so that nobody feels it.

Nothing is remembered between two batches but where to go on, and not even that is needed: a
deletion that was interrupted is begun again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

from grctl.models.retention import Policy, Pruned
from grctl.postgres.database import Database

__all__ = ["BATCH_RUNS", "FIRST", "Chosen", "choose", "delete", "delete_others", "prune"]

FIRST = UUID(int=0)
"""Before all runs: where a deletion begins."""
BATCH_RUNS = 500
"""Runs deleted in one transaction, at most."""
BATCH_EVENTS = 20_000
"""Their events, at most: but one run is always deleted whole."""
SCANNED_ROWS = 5_000
"""Rows looked at in one statement: those that are kept are passed over."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Runs to be deleted, when they ended, and how many events they have.

    ``next`` is the run after which to go on; ``is_last`` says that there is no more.
    """

    runs: Sequence[UUID]
    ended: Sequence[datetime]
    events: int
    next: UUID
    is_last: bool


async def choose(
    database: Database, policy: Policy, after: UUID = FIRST, most: int = BATCH_RUNS
) -> Chosen:
    """The next runs after ``after`` that ``policy`` says are to be deleted; there may be none
    among those that were looked at.
    """
    found = await database.fetch(
        "retention",
        "choose",
        after,
        [status.value for status in policy.ages],
        [age.total_seconds() for age in policy.ages.values()],
        policy.wf_type,
        SCANNED_ROWS,
        most,
        BATCH_EVENTS,
    )
    row = found[0]
    return Chosen(row["runs"], row["ended"], row["events"], row["next"] or after, row["is_last"])


async def delete(database: Database, runs: Sequence[UUID], ended: Sequence[datetime]) -> Pruned:
    """Delete these runs, if they are still those that ended then, in one transaction."""
    found = await database.fetch("retention", "delete", runs, ended)
    return Pruned(**dict(found[0]))


async def delete_others(database: Database, what: str, age: timedelta, most: int) -> int:
    """Delete at most so many rows of ``what`` (of ``OTHER_ROWS``) that are older; how many."""
    return int(await database.fetchval("retention", f"delete_{what}", age.total_seconds(), most))


async def prune(
    database: Database,
    policy: Policy,
    *,
    after: UUID = FIRST,
    most: int = BATCH_RUNS,
    pause: float = 1.0,
) -> AsyncGenerator[tuple[Pruned, UUID | None], None]:
    """Delete what ``policy`` says, from ``after`` on; each batch, and where to go on after it
    (None: that was all).

    ``pause`` is how long to rest after a batch, in times of what the batch took: 1.0 leaves the
    server half of the time to the others, 0.0 does not rest.
    """
    while True:
        began = monotonic()
        chosen = await choose(database, policy, after, most)
        deleted = Pruned()
        if chosen.runs:
            deleted = await delete(database, chosen.runs, chosen.ended)
        took = monotonic() - began
        if chosen.is_last:
            yield deleted, None
            return
        after = chosen.next
        yield deleted, after
        await asyncio.sleep(took * pause)
