"""The chore that deletes ended runs, and workers and notes of acts, where the settings say how long
they are kept.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import asdict
from time import monotonic
from typing import Final
from uuid import UUID

from grctl.ages import OTHER_ROWS, parse_retention
from grctl.log import get_logger
from grctl.models.retention import Policy, Pruned
from grctl.models.run import RunStatus
from grctl.postgres.database import Database
from grctl.postgres.retention import FIRST, delete_others, prune

__all__ = ["Retention"]

log = get_logger("grctl.retention")

LOOK_SECONDS: Final = 60.0
"""How often a worker asks whether a round is due. Of all workers one gets it."""
ROUND_SECONDS: Final = 20.0
"""The length of a round; what is left then is the next one's, of whichever worker."""
REST_SECONDS: Final = 600.0
"""After a round that came to the end."""
OTHERS_AT_ONCE: Final = 1000
PAUSE: Final = 3.0
"""How long to rest after each batch, in times of what the batch took."""


class Retention:
    """Deletes what is older than ``settings.retention`` says; nothing if that is not set."""

    def __init__(self, database: Database, worker_id: str) -> None:
        self._database = database
        self._worker_id = worker_id
        ages = parse_retention(database.settings.retention or "")
        self._others = {what: ages.pop(what) for what in OTHER_ROWS if what in ages}
        self._policy = Policy({RunStatus(status): age for status, age in ages.items()})

    async def run(self) -> None:
        """Rounds, whenever one is due, until cancelled."""
        while self._policy.ages or self._others:
            more = False
            try:
                more = await self._database.patiently("deleting old runs", self._round)
            except Exception:  # no reason to end a worker
                log.exception("old runs not deleted", worker=self._worker_id)
            await asyncio.sleep(0.0 if more else LOOK_SECONDS)
        await asyncio.Event().wait()

    async def _round(self) -> bool:
        """A round, if one is due and nobody else has it. Whether the next one is due at once."""
        begun = await self._database.fetch("retention", "begin_round", LOOK_SECONDS)
        if not begun:
            return False
        stop_at = monotonic() + ROUND_SECONDS
        total, after = Pruned(), begun[0]["resume_after"] or FIRST
        resume_after: UUID | None = None
        batches = prune(self._database, self._policy, after=after, pause=PAUSE)
        async with aclosing(batches):
            async for deleted, reached in batches:
                total += deleted
                resume_after = reached
                if monotonic() > stop_at:
                    break
        if resume_after is None:
            await self._delete_others()
        if total.runs:
            log.info("old runs deleted", worker=self._worker_id, **asdict(total))
        pause = REST_SECONDS if resume_after is None else 0.0
        await self._database.fetch("retention", "end_round", pause, resume_after)
        return resume_after is not None

    async def _delete_others(self) -> None:
        """Workers and notes that are old enough; they are few."""
        deleted = dict.fromkeys(self._others, 0)
        for what, age in self._others.items():
            while count := await delete_others(self._database, what, age, OTHERS_AT_ONCE):
                deleted[what] += count
        if any(deleted.values()):
            log.info("old rows deleted", worker=self._worker_id, **deleted)
