"""(h): a process is killed in the middle of its runs; another one goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar
from uuid import uuid4

import asyncpg

from benchmarks.arena import Arena
from benchmarks.cases.case import Case, Figures
from benchmarks.subject import Subject
from benchmarks.verify import NotThereError, counted, recorded

TASKS = 3
TASK_SECONDS = 0.05
LEASE_SECONDS = 5.0
PATIENCE_SECONDS = 90.0
# The same lease for whoever has one. DBOS has none: its runs are recovered by a process that
# starts under the same name. Restate notices that its service is gone.
SETTINGS: dict[str, dict[str, Any]] = {
    "grctl": {"lease_seconds": LEASE_SECONDS},
    "absurd": {"claim_timeout": int(LEASE_SECONDS)},
}


@dataclass(frozen=True)
class Recovery(Case):
    sizes: dict[str, int]
    main: ClassVar[str] = "seconds"
    more_is_better: ClassVar[bool] = False

    def __init__(self, key: str, title: str) -> None:
        super().__init__(key, title, dict.fromkeys(("grctl", "dbos", "absurd"), 500))

    def rounds(self, subject: str, asked: int) -> int:
        return min(asked, 3 if subject == "grctl" else 1)

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        runs = self.amount(subject, scale)
        database = f"recovery_{subject}"
        url = await arena.fresh(subject, database)
        prefix = f"kill-{uuid4().hex[:12]}"
        log = arena.server.directory / f"{prefix}.executions"
        given = {
            **arena.given(subject, database),
            **SETTINGS.get(subject, {}),
            "concurrency": runs,
        }
        async with await arena.start(subject) as victim, await arena.start(subject) as heir:
            await victim.ask("open", **given)
            await victim.ask(
                "start_slow", prefix=prefix, runs=runs, tasks=TASKS, seconds=TASK_SECONDS,
                log=str(log),
            )  # fmt: skip
            await _until(lambda: _all_begun(log, runs), "all runs have begun")
            before = await _kill(victim, url)
            killed_at = monotonic()
            known = await recorded(subject, url)
            open_runs = runs - (await counted(subject, url, prefix))[0]
            executed = len(_executions(log))
            await heir.ask("open", **given)

            async def all_done() -> bool:
                return (await counted(subject, url, prefix))[0] == runs

            await _until(all_done, "all runs have ended")
            seconds = monotonic() - killed_at
            await heir.ask("close")
        found = await counted(subject, url, prefix)
        if found != (runs, runs * TASKS):
            raise NotThereError(f"{subject}: {found} after the recovery of {runs} runs")
        executions = _executions(log)
        again = Counter(executions[executed:])
        return {
            "seconds": seconds + before,
            "in_flight": open_runs,
            "extra": len(executions) - runs * TASKS,
            "extra_of_recorded": sum(n for (run, i), n in again.items() if i < known.get(run, 0)),
            "lost": runs - found[0],
        }


async def _kill(victim: Subject, url: str) -> float:
    """SIGKILL; returns, with the seconds it took, when its last statement is over."""
    began = monotonic()
    victim.kill()
    connection = await asyncpg.connect(url)

    async def is_gone() -> bool:
        return not await connection.fetchval(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
            " and backend_type = 'client backend'"
        )

    try:
        await _until(is_gone, "its sessions are gone")
    finally:
        await connection.close()
    return monotonic() - began


def _executions(log: Path) -> list[tuple[str, int]]:
    if not log.exists():
        return []
    lines = (line.split() for line in log.read_text().splitlines())
    return [(run, int(task)) for run, task in lines]


async def _all_begun(log: Path, runs: int) -> bool:
    return len({run for run, _ in _executions(log)}) == runs


async def _until(condition: Any, what: str) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while not await condition():
        if monotonic() > deadline:
            raise NotThereError(f"not after {PATIENCE_SECONDS:.0f} s: {what}")
        await asyncio.sleep(0.02)
