"""(l): what a run costs of a worker's memory, while a task runs and while it waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar
from uuid import uuid4

from benchmarks.arena import Arena
from benchmarks.cases.case import Case, Figures
from benchmarks.meter import resident
from benchmarks.subject import Subject
from benchmarks.verify import NotThereError

PATIENCE_SECONDS = 120.0
FOR_EVER = 3600.0


@dataclass(frozen=True)
class InFlight(Case):
    """Runs whose first task runs and does not end, in a process of their own."""

    main: ClassVar[str] = "kb_a_run"
    more_is_better: ClassVar[bool] = False

    def rounds(self, subject: str, asked: int) -> int:
        return min(asked, 3 if subject == "grctl" else 1)

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        runs = self.amount(subject, scale)
        database = f"memory_{subject}"
        await arena.fresh(subject, database)
        async with await arena.start(subject) as driver:
            given = arena.given(subject, database)
            # Twice the slots: a claim waits until an eighth of them is free.
            await driver.ask("open", **given, concurrency=2 * runs)
            await self.begin(arena, driver, self.before(runs))
            before = await _memory(driver)
            await self.begin(arena, driver, runs)
            after = await _memory(driver)
            driver.kill()
        return {"kb_a_run": (after - before) / runs / 1000, "mb_before": before / 1e6}

    def before(self, runs: int) -> int:
        """One first: what is imported and connected at the first run is not a run's."""
        return 1

    async def begin(self, arena: Arena, driver: Subject, runs: int) -> None:
        """Start so many runs, and come back when all of them are where they stay."""
        prefix = f"stay-{uuid4().hex[:12]}"
        log = arena.server.directory / f"{prefix}.executions"
        await driver.ask(
            "start_slow", prefix=prefix, runs=runs, tasks=1, seconds=FOR_EVER, log=str(log)
        )
        await _until_begun(log, runs)


@dataclass(frozen=True)
class Waiting(InFlight):
    """Runs that wait for an event: they should cost nothing."""

    def before(self, runs: int) -> int:
        """As many, so that the heap is as large as starting them makes it."""
        return runs

    async def begin(self, arena: Arena, driver: Subject, runs: int) -> None:
        await driver.ask("start_waiting", prefix=f"wait-{uuid4().hex[:12]}", runs=runs)


async def _memory(driver: Subject) -> int:
    await driver.ask("collect")
    return resident(driver.pid)


async def _until_begun(log: Path, runs: int) -> None:
    deadline = monotonic() + PATIENCE_SECONDS

    def lines() -> Any:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    while lines() < runs:
        if monotonic() > deadline:
            raise NotThereError(f"{lines()} of {runs} runs have begun")
        await asyncio.sleep(0.02)
