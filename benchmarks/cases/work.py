"""Work that a subject's own process does and times: many runs, one after the other, or one."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.arena import Arena
from benchmarks.cases.case import Case, Figures, costs

IN_FLIGHT = 500


@dataclass(frozen=True)
class Throughput(Case):
    """(a), (j): so many runs, 500 in flight, in one process or several."""

    tasks: int
    processes: int = 1
    size: int | None = None
    """Bytes of each task's result; None: a number."""

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        return await self.throughput(arena, subject, self.amount(subject, scale))

    async def throughput(
        self, arena: Arena, subject: str, runs: int, database: str | None = None
    ) -> Figures:
        """`runs` in all, shared by the processes."""
        each = runs // self.processes
        given = {"runs": each, "tasks": self.tasks, "in_flight": IN_FLIGHT // self.processes}
        if self.size is not None:
            given["size"] = self.size
        measured = await arena.measure(
            subject,
            "throughput" if self.size is None else "payloads",
            given,
            runs=each,
            tasks=each * self.tasks,
            processes=self.processes,
            database=database,
        )
        runs = each * self.processes
        seconds = max(answer["seconds"] for answer in measured.answers)
        return {
            "runs/s": runs / seconds,
            "tasks/s": runs * self.tasks / seconds,
            **costs(measured, runs),
        }


@dataclass(frozen=True)
class Latency(Case):
    """(b), (f): one run after the other on an idle system."""

    do: str
    tasks: int
    main: ClassVar[str] = "p50_ms"
    more_is_better: ClassVar[bool] = False

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        runs = self.amount(subject, scale)
        given = {"runs": runs, **({"tasks": self.tasks} if self.tasks else {})}
        measured = await arena.measure(subject, self.do, given, runs=runs, tasks=runs * self.tasks)
        latencies = sorted(measured.answers[0]["latencies"])
        return {
            "p50_ms": statistics.median(latencies) * 1000,
            "p99_ms": latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] * 1000,
        }


@dataclass(frozen=True)
class Once(Case):
    """(c), (d), (e), (g): one run that does a lot, in several ways."""

    do: str
    unit: str
    main: ClassVar[str] = "per_second"

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        count = self.amount(subject, scale)
        runs, tasks = (1 + count, 0) if self.unit == "children" else (1, count)
        measured = await arena.measure(subject, self.do, {self.unit: count}, runs=runs, tasks=tasks)
        return {"per_second": count / measured.answers[0]["seconds"], **costs(measured, count)}
