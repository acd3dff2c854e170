"""The bare commit: one row updated, and on disk, by the driver that grctl uses.

`python -m benchmarks.floors.commits URL SECONDS WRITERS` prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from time import perf_counter

import asyncpg
import uvloop

UPDATE = "update floor set n = n + 1 where id = $1"


async def bare_commits(url: str, seconds: float, writers: int) -> dict[str, float]:
    """Commits a second of so many connections, each of which sends one after the other."""
    connections = [await asyncpg.connect(url) for _ in range(writers)]
    try:
        await connections[0].execute(
            "create table if not exists floor (id int primary key, n bigint not null)"
            " with (fillfactor = 50)"
        )
        await connections[0].execute(
            "insert into floor select g, 0 from generate_series(1, 100) g on conflict do nothing"
        )
        counts = await asyncio.gather(
            *(_write(each, number + 1, seconds) for number, each in enumerate(connections))
        )
    finally:
        for each in connections:
            await each.close()
    latencies = [latency for count in counts for latency in count]
    return {
        "commits/s": len(latencies) / seconds,
        "p50_ms": statistics.median(latencies) * 1000,
        "p99_ms": sorted(latencies)[int(len(latencies) * 0.99)] * 1000,
    }


async def _write(connection: asyncpg.Connection, row: int, seconds: float) -> list[float]:
    statement = await connection.prepare(UPDATE)
    await statement.fetch(row)
    latencies = []
    end = perf_counter() + seconds
    now = perf_counter()
    while now < end:
        began = now
        await statement.fetch(row)
        now = perf_counter()
        latencies.append(now - began)
    return latencies


if __name__ == "__main__":
    url, seconds, writers = sys.argv[1:]
    print(json.dumps(uvloop.run(bare_commits(url, float(seconds), int(writers)))))
