"""What work costs: processor time of both sides, WAL, transactions, memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg
import psutil

from benchmarks.server import Server

SERVERS = {"restate-server"}
"""Processes below a driver that are a server, and count with PostgreSQL's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Gauges that only go up: seconds of processor time, bytes."""

    python: float
    server: float
    wal_bytes: int


class Meter:
    """Reads the gauges of a server and of drivers."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def read(self, drivers: Iterable[int]) -> Reading:
        """The gauges now; `drivers` are their process ids."""
        connection = await asyncpg.connect(self._server.url_of("postgres"))
        try:
            wal = await connection.fetchval(
                "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
            )
        finally:
            await connection.close()
        python = server = 0.0
        for driver in drivers:
            for process in tree(driver):
                if process.name() in SERVERS:
                    server += cpu(process)
                else:
                    python += cpu(process)
        server += sum(cpu(process) for process in tree(self._server.postmaster))
        return Reading(python, server, wal)

    async def transactions(self, database: str) -> int:
        """Committed in a database so far. Sessions flush what they count when they end."""
        connection = await asyncpg.connect(self._server.url_of("postgres"))
        try:
            sql = "select xact_commit from pg_stat_database where datname = $1"
            return int(await connection.fetchval(sql, database) or 0)
        finally:
            await connection.close()


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu(process: psutil.Process) -> float:
    """Seconds of processor time, of ended children too."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # it ended just now, and counts with its parent from here on
    return float(
        times.user
        + times.system
        + getattr(times, "children_user", 0.0)
        + getattr(times, "children_system", 0.0)
    )


def resident(pid: int) -> int:
    """Bytes of memory of a process and all below it."""
    return sum(process.memory_info().rss for process in tree(pid))
