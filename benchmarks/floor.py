"""What the machine can do at best: the bare commit, by the same driver."""

from __future__ import annotations

from time import perf_counter

import asyncpg


async def bare_commits(dsn: str, seconds: float) -> float:
    """Commits of a one-row insert a second, one after the other on one connection."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("create table if not exists bench_floor (n int, text text)")
        statement = await connection.prepare("insert into bench_floor values ($1, 'noop')")
        await statement.fetch(0)
        began, done = perf_counter(), 0
        while perf_counter() - began < seconds:
            await statement.fetch(done)
            done += 1
        return done / (perf_counter() - began)
    finally:
        await connection.close()
