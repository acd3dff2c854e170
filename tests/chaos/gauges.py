"""What must stay flat: the workers' memory, connections, dead rows and the size of the tables."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg

from tests.chaos.cluster import Workers

EVERY_SECONDS = 5.0

_SQL = """
    select
        (select count(*) from pg_stat_activity where backend_type = 'client backend')
            as connections,
        (select count(*) from grctl.runs) as runs,
        (select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables) as dead_rows,
        (select pg_total_relation_size('grctl.runs')) as runs_bytes,
        (select pg_total_relation_size('grctl.events')) as events_bytes,
        (select pg_total_relation_size('grctl.writers') + pg_total_relation_size('grctl.workers')
            + pg_total_relation_size('grctl.inbox')) as hot_bytes
"""


@dataclass(frozen=True)
class Sample:
    """One look; ``worker_mib`` is the resident memory of the worker that is never killed, or else
    of the one that has most.
    """

    at: float
    worker_mib: float
    connections: int
    runs: int
    dead_rows: int
    runs_bytes: int
    events_bytes: int
    hot_bytes: int


class Gauges:
    """Samples a storm."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.samples: list[Sample] = []

    @asynccontextmanager
    async def sampling(self, workers: Workers) -> AsyncIterator[None]:
        """Sample as long as the block runs."""
        looking = asyncio.create_task(self._look(workers))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def summary(self) -> dict[str, dict[str, int]]:
        """Medians of each quarter of the time: what grows is seen. Empty for a short storm."""
        size = len(self.samples) // 4
        if not size:
            return {}
        return {
            f"quarter {n + 1}": _medians(self.samples[n * size : (n + 1) * size]) for n in range(4)
        }

    async def _look(self, workers: Workers) -> None:
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self._dsn, timeout=5, command_timeout=30)
                try:
                    found = await connection.fetchrow(_SQL)
                finally:
                    connection.terminate()
                watched = [workers.spared] if workers.spared else workers.alive
                mib = max((_resident_mib(worker.pid) for worker in watched), default=0.0)
                self.samples.append(Sample(time.monotonic(), mib, **dict(found)))
            await asyncio.sleep(EVERY_SECONDS)


def _medians(samples: list[Sample]) -> dict[str, int]:
    def of(figure: Callable[[Sample], float]) -> int:
        return round(median(map(figure, samples)))

    return {
        "worker MiB": of(lambda s: s.worker_mib),
        "connections": of(lambda s: s.connections),
        "dead rows": of(lambda s: s.dead_rows),
        "bytes of runs, a run": of(lambda s: s.runs_bytes / max(1, s.runs)),
        "bytes of events, a run": of(lambda s: s.events_bytes / max(1, s.runs)),
        "KiB of workers, writers, inbox": of(lambda s: s.hot_bytes / 1024),
    }


def _resident_mib(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * 4096 / 1024 / 1024
