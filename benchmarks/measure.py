"""What is measured around a case: time, processor time, transactions, WAL."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import asyncpg
import psutil


@dataclass(frozen=True, slots=True)
class Figures:
    """What a case cost, in all."""

    seconds: float
    python_cpu: float
    postgres_cpu: float
    transactions: int
    wal_bytes: int

    def per(self, runs: int, tasks: int) -> dict[str, float]:
        """The same for each run, in the units of the table."""
        return {
            "runs/s": runs / self.seconds,
            "tasks/s": runs * tasks / self.seconds,
            "transactions/run": self.transactions / runs,
            "WAL bytes/run": self.wal_bytes / runs,
            "Python µs/run": self.python_cpu / runs * 1e6,
            "Postgres µs/run": self.postgres_cpu / runs * 1e6,
        }


class Meter:
    """Reads all gauges at once; `since` gives what has come between two readings."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def read(self) -> Figures:
        """The gauges now. Statistics of transactions are flushed when sessions turn idle."""
        row = await self._connection.fetchrow(
            "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint as wal, xact_commit"
            " from pg_stat_database where datname = current_database()"
        )
        return Figures(
            time.perf_counter(),
            time.process_time(),
            _postgres_cpu(),
            row["xact_commit"],
            row["wal"],
        )

    async def since(self, before: Figures) -> Figures:
        """What has come since `before`."""
        now = await self.read()
        return Figures(
            now.seconds - before.seconds,
            now.python_cpu - before.python_cpu,
            now.postgres_cpu - before.postgres_cpu,
            now.transactions - before.transactions,
            now.wal_bytes - before.wal_bytes,
        )


def _postgres_cpu() -> float:
    total = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres" and process.info["cpu_times"]:
            total += process.info["cpu_times"].user + process.info["cpu_times"].system
    return total
