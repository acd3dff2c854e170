"""`python -m benchmarks`: runs and tasks a second beside the machine's bare commit rate.

One process: a worker, and a client that keeps 500 runs in flight. The cases take turns in every
round, so that a drift of the machine hits all of them; quoted are medians and ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from benchmarks.floor import bare_commits
from benchmarks.measure import Meter
from benchmarks.workload import tasks
from grctl import Client, Connection, Worker, log
from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations

COUNTS = (1, 3, 10)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all cases (5)")
    parser.add_argument("--runs", type=int, default=4000, help="runs a case and round (4000)")
    parser.add_argument("--in-flight", type=int, default=500, help="runs in flight (500)")
    parser.add_argument("--database-url", help="a migrated database; default: an embedded one")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    return parser.parse_args()


async def main(chosen: argparse.Namespace) -> None:
    """Measure, and print one table."""
    if chosen.database_url:
        results = await measure(chosen.database_url, chosen)
    else:
        with tempfile.TemporaryDirectory(prefix="grctl-bench-") as directory:
            os.chmod(directory, 0o755)  # noqa: PTH101 - the server runs under another account
            with EmbeddedPostgres(Path(directory) / "server", ephemeral=True) as server:
                await migrations.upgrade(server.dsn)
                results = await measure(server.dsn, chosen)
    show(results)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))


async def measure(dsn: str, chosen: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Every case in every round: case -> figure -> its values."""
    results: dict[str, dict[str, list[float]]] = {}
    async with await Connection.connect(dsn, concurrency=chosen.in_flight) as connection:
        worker = Worker([tasks], connection)
        working = asyncio.ensure_future(worker.start())
        await worker.wait_until_ready()
        gc.collect()
        gc.freeze()  # what is loaded stays; the collector need not walk it again and again
        client = Client(connection)
        gauges = await asyncpg.connect(dsn)
        for round_no in range(chosen.rounds + 1):
            figures: dict[str, dict[str, float]] = {
                "bare commits": {"commits/s": await bare_commits(dsn, 1.0)}
            }
            for count in COUNTS:
                name = f"{count} task{'s' if count > 1 else ''} a run"
                figures[name] = await case(client, Meter(gauges), count, chosen)
            if round_no == 0:
                continue  # warm-up
            print(f"round {round_no} of {chosen.rounds}", file=sys.stderr)
            for name, values in figures.items():
                for figure, value in values.items():
                    results.setdefault(name, {}).setdefault(figure, []).append(value)
        await gauges.close()
        await worker.stop()
        await working
    return results


async def case(
    client: Client, meter: Meter, count: int, chosen: argparse.Namespace
) -> dict[str, float]:
    """`runs` runs of `count` tasks, so many in flight."""
    prefix, numbers = uuid4().hex, iter(range(chosen.runs))

    async def lane() -> None:
        for number in numbers:
            await client.run_workflow("bench.tasks", f"{prefix}-{number}", {"count": count})

    before = await meter.read()
    await asyncio.gather(*(lane() for _ in range(chosen.in_flight)))
    return (await meter.since(before)).per(chosen.runs, count)


def show(results: dict[str, dict[str, list[float]]]) -> None:
    """A table of medians, with the lowest and highest value of the first figure."""
    commits = statistics.median(results["bare commits"]["commits/s"])
    print(f"bare commits, one connection: {commits:,.0f}/s")
    rows: list[list[Any]] = [["", "runs/s", "range", "tasks/s", "tasks/s : commits/s"]]
    rows[0] += ["transactions/run", "WAL bytes/run", "Python µs/run", "Postgres µs/run"]
    for name, figures in results.items():
        if name == "bare commits":
            continue
        median = {figure: statistics.median(values) for figure, values in figures.items()}
        speeds = figures["runs/s"]
        rows.append(
            [
                name,
                f"{median['runs/s']:,.0f}",
                f"{min(speeds):,.0f}-{max(speeds):,.0f}",
                f"{median['tasks/s']:,.0f}",
                f"{median['tasks/s'] / commits:.1f}",
                f"{median['transactions/run']:.3f}",
                f"{median['WAL bytes/run']:,.0f}",
                f"{median['Python µs/run']:.0f}",
                f"{median['Postgres µs/run']:.0f}",
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    arguments = options()
    log.configure("console", "warning")
    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(main(arguments))
    else:
        asyncio.run(main(arguments))
