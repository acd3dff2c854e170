"""The loop that claims: when to look for due runs, and how many to take.

It looks when it is told to (a notification, a timer of its own, a slot that came free), and every
``poll_seconds`` besides. A claim takes all the free slots; while there is a backlog it waits until
a good part of them is free, so that claims are few and large.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from grctl.engine.rows import Row
from grctl.worker.run import HeldRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grctl.worker.worker import Worker

__all__ = ["Claims"]

MOST_AT_ONCE = 1000

BEHIND = timedelta(seconds=1)
"""How far behind the last due time that was claimed a claim begins: transactions that commit late
have due times of their beginning."""

LEFT_BEHIND_SECONDS = 0.1
"""When to look again for what is due and was not to be had: locked by another, or not alone."""


class Claims:
    """Claims for one worker, in one registration."""

    def __init__(self, worker: Worker, worker_no: int) -> None:
        self._worker = worker
        self._slots = worker.slots
        self._worker_no = worker_no
        self._types = sorted(worker.workflows)
        self._called = asyncio.Event()
        self._due_at = monotonic()
        self._backlog = False
        self._poll_at = 0.0
        self._since: datetime | None = None
        self._whole_at = 0.0
        self.is_in_doubt = False
        """Whether a claim had no answer: it may have been done, even later than the next one."""

    @property
    def has_backlog(self) -> bool:
        """Whether more was due than could be taken."""
        return self._backlog

    def call(self) -> None:
        """There may be something to claim, or room for it."""
        self._called.set()

    def freed(self) -> None:
        """A slot came free. Worth a look only if more was due than could be taken."""
        if self._backlog:
            self._called.set()

    def note_timer(self, seconds: float) -> None:
        """A run of ours was parked and is due in so many seconds."""
        due_at = monotonic() + seconds
        if due_at < self._due_at:
            self._due_at = due_at
            self._called.set()

    async def run(self) -> None:
        """Claim until cancelled."""
        await self._worker.journal.until_open()  # what is claimed before it could not be recorded
        while True:
            if alone := self._slots.suspects.alone_seconds:
                await self._until_called(alone)
                continue
            free = self._slots.free
            if free <= 0:
                self._backlog = True  # what called us is still to be claimed
            elif not (self._backlog and free < self._worker.concurrency // 8):
                await self._look(min(free, MOST_AT_ONCE))
                if self._backlog:
                    continue
            await self._wait()

    async def _look(self, free: int) -> None:
        rows = await self._claim(free)
        self._backlog = len(rows) >= free
        if rows:
            await self._prepare(rows)
        if self._slots.free <= 0:
            self._backlog = True  # a suspect among them was claimed alone: there may be others
        if not self._backlog and monotonic() >= self._due_at:
            await self._ask_when_due(0.001 if rows else LEFT_BEHIND_SECONDS)

    async def _ask_when_due(self, soonest: float = 0.001) -> None:
        database = self._worker.database
        rows = await database.patiently(
            "looking for timers", lambda: database.fetch("runs", "next_due", self._types)
        )
        if monotonic() >= self._poll_at:
            self._poll_at = monotonic() + database.settings.poll_seconds
            await self._poll()
        if rows[0]["queries"] or rows[0]["closings"]:
            self._worker.chores.call()
        seconds = rows[0]["seconds"]
        poll = database.settings.poll_seconds
        self._due_at = monotonic() + (poll if seconds is None else min(poll, max(soonest, seconds)))

    async def _poll(self) -> None:
        """What a missed notification or a lost answer would have told: cancels, and claims."""
        slots = self._slots
        if not slots.executors and not self.is_in_doubt:
            return
        for run_id in await self._worker.holdings.overlooked(slots.held):
            executor = slots.executors.get(run_id)
            if executor is not None:
                executor.request_cancel()

    async def _wait(self) -> None:
        """Until called, or a timer is due; a poll that finds nothing due asks just that."""
        while True:
            seconds = self._due_at - monotonic()
            if self._backlog:
                seconds = self._worker.database.settings.poll_seconds
            try:
                async with asyncio.timeout(max(0.0, seconds)):
                    await self._called.wait()
            except TimeoutError:
                await self._ask_when_due()
                # From now on, not from when it was asked: the server may be far away.
                if self._due_at - monotonic() > 0.01:
                    continue
            self._called.clear()
            return

    async def _until_called(self, most_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                await self._called.wait()
        self._called.clear()

    async def _claim(self, most: int) -> Sequence[Any]:
        database = self._worker.database
        since = self._begin_at()

        async def attempt() -> Sequence[Any]:
            try:
                return await database.fetch(
                    "runs",
                    "claim",
                    self._worker_no,
                    self._types,
                    most,
                    since,
                )
            except Exception:
                self.is_in_doubt = True
                raise

        rows = await database.patiently("claiming", attempt)
        if rows:
            self._since = max(row["was_due"] for row in rows) - BEHIND
        return rows

    def _begin_at(self) -> datetime | None:
        """From which due time on to look. The whole backlog once in ``poll_seconds``, and whenever
        a timer is due: what others had locked, or committed late, lies behind.
        """
        now = monotonic()
        if now >= self._whole_at or (now >= self._due_at and not self._backlog):
            self._whole_at = now + self._worker.database.settings.poll_seconds
            return None
        return self._since

    async def _prepare(self, rows: Sequence[Any]) -> None:
        """Read what a claimed run needs besides its row, and set them going."""
        journal = self._worker.journal
        runs = {row["run_id"]: HeldRun(row, journal) for row in rows}
        started = [row for row in rows if row["was"] == "running" or row["step_attempt"] > 1]
        if started:
            for event in await self._history(started):
                run = runs[event.run_id]
                run.recorded.append(event)
                run.resume_after(event.seq)
        waiting = [run for run in runs.values() if run.wake == "event"]
        if waiting:
            await self._worker.holdings.load_messages(waiting)
        self._worker.clock.set(rows[0]["now"])
        if self._worker.metrics is not None:
            self._worker.metrics.claimed(rows)
        for run in runs.values():
            self._slots.execute(run)

    async def _history(self, rows: Sequence[Any]) -> list[Row]:
        database = self._worker.database
        found = await database.patiently(
            "reading history",
            lambda: database.fetch(
                "history", "steps", [r["run_id"] for r in rows], [r["step_seq"] for r in rows]
            ),
        )
        return [Row(**dict(row)) for row in found]
