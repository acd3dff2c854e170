"""The lease, kept by a thread of its own.

A step that blocks the event loop must not cost the worker its lease, nor its other runs with it:
so the renewal has its own thread, event loop and connection. The same thread takes over the runs
of workers whose leases have ended, and notices when the main loop stands still.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any

import asyncpg

from grctl.log import get_logger
from grctl.postgres.database import Database, is_passing
from grctl.telemetry.metrics import Metrics
from grctl.worker import stacks

__all__ = ["LeaseKeeper"]

log = get_logger("grctl.lease")

PING_SECONDS = 0.25
STALL_WARNING_SECONDS = 1.0
LONGEST_SILENCE = STALL_WARNING_SECONDS + PING_SECONDS
"""Without a sign of life for longer, the main loop stands still."""
STALLED_EXIT_CODE = 70
"""EX_SOFTWARE: the process ended itself because its event loop stood still for too long."""


class LeaseKeeper:
    """Renews one worker's lease until stopped; calls ``on_lost`` in the main loop if it is gone."""

    def __init__(
        self,
        database: Database,
        worker_no: int,
        worker_id: str,
        on_lost: Callable[[], None],
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._worker_no = worker_no
        self._worker_id = worker_id
        self._on_lost = on_lost
        self._main = asyncio.get_running_loop()
        self._main_thread = threading.get_ident()
        self._answered = monotonic()
        self._renewed = monotonic()
        self._metrics = metrics or Metrics()
        self._warned_at = 0.0
        self._is_stalled = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grctl lease", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs; without it the lease runs out."""
        return self._thread.is_alive()

    @property
    def seconds_left(self) -> float:
        """How long the lease lasts without another renewal; negative once it is over."""
        return self._renewed + self._database.settings.lease_seconds - monotonic()

    @property
    def loop_silent(self) -> float:
        """Seconds since the worker's event loop gave its last sign of life."""
        return monotonic() - self._answered

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; the lease is left as it is."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 5)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._keep())

    async def _keep(self) -> None:
        every = self._database.settings.lease_seconds / 3
        connection: asyncpg.Connection[Any] | None = None
        due = monotonic()
        while not self._stopping.is_set():
            if self._ping():
                due = monotonic()  # operators see it at once
            if monotonic() >= due:
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._database.connect("lease")
                    if not await self._renew(connection, every):
                        break
                    due = monotonic() + every
                except Exception as error:
                    if not is_passing(error):
                        log.exception("lease failed", worker=self._worker_id)
                    else:
                        log.warning(
                            "lease not renewed", worker=self._worker_id, error=repr(error)[:300]
                        )
                    if connection is not None:
                        connection.terminate()
                        connection = None
                    due = monotonic() + min(every, 1.0)
            await asyncio.sleep(PING_SECONDS)
        if connection is not None:
            connection.terminate()

    async def _renew(self, connection: asyncpg.Connection[Any], every: float) -> bool:
        """One renewal, and a look at the others. False if the lease is lost."""
        sql = self._database.sql
        asked_at = monotonic()
        silent = self.loop_silent if self._is_stalled else None
        stack = stacks.of_thread(self._main_frame()) if self._is_stalled else None
        renewed = await connection.fetchrow(
            sql("leases", "renew"), self._worker_no, silent, stack, timeout=every
        )
        if renewed is None:
            if not self._stopping.is_set():
                log.error("lease lost", worker=self._worker_id)
                self._metrics.leases_lost += 1
                self._call_main(self._on_lost)
            return False
        self._renewed = asked_at
        if renewed["others_lost"]:
            await self._take_over(connection, every)
        return True

    async def _take_over(self, connection: asyncpg.Connection[Any], every: float) -> None:
        """One lost worker after another, until it is time to renew."""
        sql = self._database.sql("leases", "take_over")
        while monotonic() < self._renewed + every:
            lost = await connection.fetchrow(sql, timeout=every * 3)
            if lost is None:
                break
            log.warning(
                "worker lost",
                worker=self._worker_id,
                lost=lost["lost_id"],
                runs_taken_over=lost["freed"],
            )
            self._metrics.workers_taken_over += 1
            self._metrics.runs_taken_over += lost["freed"]

    def _ping(self) -> bool:
        """Ask the main loop for a sign of life, and say so when it has given none for long.

        Whether it has come to stand still, or to move again, since the last time.
        """
        stalled = self.loop_silent
        self._call_main(self._answer)
        was_stalled, self._is_stalled = self._is_stalled, stalled >= LONGEST_SILENCE
        if self._is_stalled:
            self._note_stall(stalled)
        return was_stalled != self._is_stalled

    def _note_stall(self, stalled: float) -> None:
        limit = self._database.settings.max_loop_stall_seconds
        if stalled >= limit:
            log.critical("loop stalled too long", worker=self._worker_id, seconds=round(stalled, 1))
            os._exit(STALLED_EXIT_CODE)
        if self._warned_at < self._answered:
            self._warned_at = monotonic()
            self._metrics.stalls += 1
            frame = self._main_frame()
            stack = "".join(traceback.format_stack(frame)) if frame else "unknown"
            log.warning(
                "loop stalled",
                worker=self._worker_id,
                seconds=round(stalled, 1),
                stack=stack[-4000:],
            )

    def _main_frame(self) -> FrameType | None:
        return sys._current_frames().get(self._main_thread)  # noqa: SLF001 - documented for this

    def _answer(self) -> None:
        self._answered = monotonic()

    def _call_main(self, callback: Callable[[], None]) -> None:
        try:
            self._main.call_soon_threadsafe(callback)
        except RuntimeError:
            self._stopping.set()  # the main loop is closed
