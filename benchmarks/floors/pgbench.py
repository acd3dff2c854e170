"""PostgreSQL's own pgbench with grctl's own statements: what the database can do at most."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from benchmarks.verify import NotThereError
from grctl.dev.binaries import find_installation
from grctl.postgres.sql import statements

_TRANSACTIONS = re.compile(r"number of transactions actually processed: (\d+)")
_FAILED = re.compile(r"number of failed transactions: (\d+)")
_TPS = re.compile(r"tps = ([\d.]+)")


async def hot_statements(
    url: str, script: Path, batch: int, clients: int, seconds: int
) -> dict[str, float]:
    """Runs a second that pgbench gets through, with so many clients.

    Raises:
        NotThereError: pgbench failed, or the runs are not in the database.
    """
    connection = await asyncpg.connect(url)
    try:
        # A worker for pgbench to write as, with one writer for each of its clients.
        worker = await connection.fetchval(
            statements("leases", "grctl")["register"],
            "pgbench", "pgbench", ["bench.tasks"], batch, 3600.0, clients,
        )  # fmt: skip
        before = await _completed(connection)
        said = await _run(url, script, worker, clients, seconds)
        transactions = int(_found(_TRANSACTIONS, said))
        done = await _completed(connection) - before
        # A client may find fewer than it has started: another one has claimed them, too.
        if int(_found(_FAILED, said)) or not 0.8 * transactions * batch <= done:
            raise NotThereError(
                f"{transactions} transactions of {batch} runs left {done} runs: {said}"
            )
        await connection.fetchval(statements("leases", "grctl")["stop"], worker)
        return {"runs/s": float(_found(_TPS, said)) * done / transactions}
    finally:
        await connection.close()


async def _run(url: str, script: Path, worker: int, clients: int, seconds: int) -> str:
    place = urlsplit(url)
    process = await asyncio.create_subprocess_exec(
        find_installation().program("pgbench"),
        "--no-vacuum", "--protocol=prepared", f"--file={script}",
        f"--client={clients}", f"--jobs={min(clients, 2)}", f"--time={seconds}",
        f"--define=worker={worker}", "--define=batch=0",
        f"--host={place.hostname}", f"--port={place.port}", f"--username={place.username}",
        place.path.removeprefix("/"),
        env={"PGPASSWORD": unquote(place.password or ""), "LC_ALL": "C"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    said = out.decode(errors="replace")
    if process.returncode != 0:
        raise NotThereError(f"pgbench failed: {said[-1500:]}")
    return said


async def _completed(connection: asyncpg.Connection) -> int:
    return int(
        await connection.fetchval("select count(*) from grctl.runs where status = 'completed'")
    )


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    if match is None:
        raise NotThereError(f"pgbench did not say {pattern.pattern!r}: {text[-1500:]}")
    return match[1]
