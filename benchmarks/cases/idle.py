"""(k): workers that have nothing to do, and what they do then."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg
import psutil

from benchmarks.arena import Arena
from benchmarks.cases.case import Case, Figures
from benchmarks.meter import cpu, tree

SETTLE_SECONDS = 2.0
WINDOW_SECONDS = 8.0


@dataclass(frozen=True)
class Idle(Case):
    """`sizes` are numbers of processes."""

    main: ClassVar[str] = "cpu_percent"
    more_is_better: ClassVar[bool] = False

    def rounds(self, subject: str, asked: int) -> int:
        return min(asked, 3 if subject == "grctl" else 1)

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        """Statements, and percent of a core of the processes and of their sessions, a second."""
        window = WINDOW_SECONDS * max(scale, 0.2)
        database = f"idle_{subject}"
        if subject == "restate":
            async with arena.opened(subject) as (driver,):
                await asyncio.sleep(SETTLE_SECONDS)
                before = _processes([driver.pid])
                await asyncio.sleep(window)
                return {"cpu_percent": (_processes([driver.pid]) - before) / window * 100}
        url = await arena.fresh(subject, database)
        await arena.server.execute(
            f"alter database {database} set pg_stat_statements.track = 'top'"
        )
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("create extension if not exists pg_stat_statements")
            async with AsyncExitStack() as stack:
                drivers = [
                    await stack.enter_async_context(await arena.start(subject, number))
                    for number in range(self.sizes[subject])
                ]
                given = arena.given(subject, database)
                await asyncio.gather(*(driver.ask("open", **given) for driver in drivers))
                await asyncio.sleep(SETTLE_SECONDS)
                pids = [driver.pid for driver in drivers]
                first = await _read(connection, pids)
                await asyncio.sleep(window)
                last = await _read(connection, pids)
                for driver in drivers:
                    driver.kill()
        finally:
            await connection.close()
        return {
            "cpu_percent": (last[0] - first[0]) / window * 100,
            "server_cpu_percent": (last[1] - first[1]) / window * 100,
            "statements/s": (last[2] - first[2]) / window,
        }


async def _read(connection: asyncpg.Connection[Any], pids: list[int]) -> tuple[float, float, int]:
    """Seconds of the processes, seconds of their sessions, statements; but ours."""
    sessions = await connection.fetch(
        "select pid from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    statements = await connection.fetchval(
        "select coalesce(sum(calls), 0)::bigint from pg_stat_statements"
        " where dbid = (select oid from pg_database where datname = current_database())"
        " and query not like '%pg_stat_%'"
    )
    server = sum(cpu(psutil.Process(row["pid"])) for row in sessions)
    return _processes(pids), server, statements


def _processes(pids: list[int]) -> float:
    return sum(cpu(process) for pid in pids for process in tree(pid))
