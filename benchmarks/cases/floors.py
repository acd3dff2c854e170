"""The floors, measured in the same rounds as everything else."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.arena import Arena
from benchmarks.cases.case import Case, Figures
from benchmarks.floors.pgbench import hot_statements
from benchmarks.subject import REPOSITORY, DriverError

BATCH = 250
"""Runs in a batch, as in a worker with 500 in flight."""


@dataclass(frozen=True)
class BareCommits(Case):
    sizes: dict[str, int]
    main: ClassVar[str] = "commits/s"

    def __init__(self, key: str, title: str) -> None:
        super().__init__(key, title, {"1 writer": 1, "8 writers": 8})

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.floors.commits",
            arena.server.url_of("postgres"), str(max(0.3, 1.5 * scale)), str(self.sizes[subject]),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        if process.returncode != 0:
            raise DriverError("the bare commits failed")
        figures: Figures = json.loads(out)
        return figures


@dataclass(frozen=True)
class HotStatements(Case):
    sizes: dict[str, int]
    main: ClassVar[str] = "runs/s"

    def __init__(self, key: str, title: str) -> None:
        super().__init__(key, title, {f"{n} client{'s' * (n > 1)}": n for n in (1, 2, 4)})

    async def prepare(self, arena: Arena, scale: float) -> None:
        await arena.fresh("grctl", self._database)
        # All in one batch, by one writer: so that the script is the same each time.
        async with arena.opened("grctl", database=self._database, concurrency=BATCH, writers=1) as (
            driver,
        ):
            text = await driver.ask("record", runs=BATCH)
        self._script(arena).write_text(text)

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        url = arena.server.url_of(self._database)
        seconds = max(1, round(2 * scale))
        return await hot_statements(url, self._script(arena), BATCH, self.sizes[subject], seconds)

    @property
    def _database(self) -> str:
        return "grctl_pgbench"

    def _script(self, arena: Arena) -> Path:
        return arena.server.directory / "hot-statements.sql"
