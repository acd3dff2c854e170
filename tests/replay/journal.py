"""A journal in memory: what is committed stays, all else is lost with the life of its worker.

It keeps the real one's promises and no more: rows of a run commit in order, a batch is delivered
in one go, and no two in one turn of the event loop. How large the batches are, and how long they
take, is a matter of the dice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from grctl.engine.rows import Row, Transition
from grctl.errors import LeaseLostError
from grctl.postgres.batch import Commit, Recorder


@dataclass
class Table:
    """The events table of one run, and the clock of its database."""

    rows: list[Row] = field(default_factory=list)
    now: float = 0.0

    def commit(self, commits: list[Commit], batch: int) -> None:
        self.rows += [replace(commit.row, batch=batch, at=self.now) for commit in commits]

    def read(self, now: float) -> list[Row]:
        """The step's history, as a claim reads it at ``now``."""
        return [
            replace(row, age=now - row.at) for row in self.rows if not row.kind.startswith("step.")
        ]

    @property
    def batches(self) -> int:
        return len({(row.epoch, row.batch) for row in self.rows})


class MemoryJournal:
    """The journal of one life. ``crashed`` is done when the batch ``crash_after`` is committed."""

    def __init__(self, table: Table, dice: Random, crash_after: int | None) -> None:
        self.table = table
        self.crashed = asyncio.get_running_loop().create_future()
        self.is_fenced = False
        self._dice = dice
        self._patience = dice.choice((0.0, 0.5, 1.0))
        self._crash_after = crash_after
        self._queue: deque[Commit] = deque()
        self._batch: list[Commit] = []
        self._arrived = asyncio.Event()

    def record(
        self,
        run: Recorder,
        row: Row,
        transition: Transition | None = None,
        *,
        start: dict[str, Any] | None = None,
        message: dict[str, Any] | None = None,
    ) -> Commit:
        commit = Commit(asyncio.get_running_loop(), run, row, transition)
        if self.is_fenced:
            commit.set_exception(LeaseLostError("dead"))
            return commit
        self._queue.append(commit)
        self._arrived.set()
        return commit

    def fence(self) -> None:
        """The worker is dead: nothing more is recorded, and whoever waits learns it."""
        self.is_fenced = True
        for commit in (*self._batch, *self._queue):
            if not commit.done():
                commit.set_exception(LeaseLostError("dead"))

    async def write(self) -> None:
        """Write until cancelled, or until it crashes."""
        dice = self._dice
        number = 0
        while True:
            await self._arrived.wait()
            if dice.random() < self._patience:  # as if the batch before it took long
                await asyncio.sleep(0.05)
            number += 1
            size = max(1, dice.randint(0, len(self._queue)), dice.randint(0, len(self._queue)))
            batch = self._batch = [self._queue.popleft() for _ in range(size)]
            await self._round_trip()
            self.table.now = asyncio.get_running_loop().time()
            self.table.commit(batch, number)
            if number == self._crash_after:
                self.crashed.set_result(None)
                return
            for commit in batch:
                commit.run.deliver(commit)
            if not self._queue:
                self._arrived.clear()

    async def _round_trip(self) -> None:
        """As long as a database takes; a busy loop may see only a turn or two of it."""
        for _ in range(self._dice.choice((1, 1, 2, 3, 9, 30))):
            await asyncio.sleep(0)
        await asyncio.sleep(self._dice.choice((0, 0, 0.0005, 0.004, 0.02)))
