"""The loop that watches what runs: timeouts, long tasks, steps that do not stop."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from grctl.worker.executor import Executor, Interrupt
from grctl.worker.scope import Scope

if TYPE_CHECKING:
    from grctl.worker.slots import Slots

__all__ = ["Watch"]

TICK_SECONDS = 0.1
"""The precision of step and run timeouts."""
LONG_TASK_SECONDS = 1.0
"""A task that runs for longer has its start recorded, so that operators see it."""
GRACE_SECONDS = 5.0
"""How long a step that was stopped may take to end, before it is left to itself."""


class Watch:
    """Watches a worker's slots. One loop for all: a timer for each step would cost more."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._stopped_at: dict[Executor, float] = {}

    async def run(self) -> None:
        """Watch until cancelled; asleep while nothing runs."""
        last = monotonic()
        while True:
            await self._slots.has_runs.wait()
            await asyncio.sleep(TICK_SECONDS)
            now = monotonic()
            # A stall of the loop is no step's fault alone: at most a second counts.
            self._tick(now, min(now - last, 1.0))
            last = now

    def _tick(self, now: float, passed: float) -> None:
        sleeping = 0
        for executor in list(self._slots.executors.values()):
            scope = executor.run.scope
            if executor.interrupted is not None:
                self._check_stopped(executor, now)
            elif scope is not None and not scope.is_closed:
                sleeping += scope.is_sleeping
                _check_times(executor, now, 0.0 if scope.is_sleeping else passed)
                _note_long_tasks(scope, now)
        self._slots.note_sleepers(sleeping)

    def _check_stopped(self, executor: Executor, now: float) -> None:
        since = self._stopped_at.setdefault(executor, now)
        if now - since > GRACE_SECONDS and executor.run.scope is not None:
            self._slots.abandon(executor)
        for gone in [e for e in self._stopped_at if e.run.run_id not in self._slots.executors]:
            del self._stopped_at[gone]


def _check_times(executor: Executor, now: float, passed: float) -> None:
    if executor.step_time_left is not None:
        executor.step_time_left -= passed
        if executor.step_time_left <= 0:
            executor.interrupt(Interrupt.TIMEOUT)
    if executor.run_ends_at is not None and now >= executor.run_ends_at:
        executor.interrupt(Interrupt.RUN_TIMEOUT)


def _note_long_tasks(scope: Scope, now: float) -> None:
    for call in list(scope.active.values()):
        if not call.noted and now - call.began > LONG_TASK_SECONDS:
            call.note_start()
