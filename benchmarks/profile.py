"""Where the time of runs goes: py-spy says it of Python, pg_stat_statements of PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import asyncpg

from benchmarks.arena import Arena
from benchmarks.server import running

RUNS = 20_000
_STATEMENTS = """
select
    s.calls, round(s.total_exec_time::numeric, 1) as total_ms,
    round(s.mean_exec_time::numeric, 3) as mean_ms, s.rows, s.wal_bytes,
    s.toplevel, regexp_replace(left(s.query, 160), E'\\\\s+', ' ', 'g') as query
from pg_stat_statements s
where s.dbid = (select oid from pg_database where datname = current_database())
order by s.total_exec_time desc
limit 40
"""


async def profile(directory: Path) -> list[Path]:
    """Profile runs of three tasks; the files that were written.

    flame.svg and stacks.txt are the process's, by py-spy, which needs the right to trace another
    process. statements.txt counts nested statements, too: those inside of functions are not
    `toplevel`, and their time is in their callers' as well.
    """
    directory.mkdir(parents=True, exist_ok=True)
    flame, stacks, statements = (
        directory / name for name in ("flame.svg", "stacks.txt", "statements.txt")
    )
    with running() as server:
        async with Arena(server) as arena:
            await arena.prepare(["grctl"])
            url = await arena.fresh("grctl")
            await server.execute("alter database grctl set pg_stat_statements.track = 'all'")
            connection = await asyncpg.connect(url)
            await connection.execute("create extension pg_stat_statements")
            async with arena.opened("grctl") as (driver,):
                given = {"tasks": 3, "in_flight": 500}
                await driver.ask("throughput", prefix="warm", runs=RUNS // 10, **given)
                await connection.execute("select pg_stat_statements_reset()")
                spies = [
                    await _spy(driver.pid, "flamegraph", flame),
                    await _spy(driver.pid, "raw", stacks),
                ]
                await driver.ask("throughput", prefix="profiled", runs=RUNS, **given)
                for spy in spies:
                    spy.send_signal(2)
                    await spy.wait()
            rows = await connection.fetch(_STATEMENTS)
            await connection.close()
    lines = ["calls\ttotal_ms\tmean_ms\trows\twal_bytes\ttoplevel\tquery"]
    lines += ["\t".join(str(value) for value in row) for row in rows]
    statements.write_text("\n".join(lines) + "\n")
    return [path for path in (flame, stacks, statements) if path.exists()]


async def _spy(pid: int, form: str, path: Path) -> asyncio.subprocess.Process:
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    return await asyncio.create_subprocess_exec(
        program, "record", "--nonblocking", "--rate", "200", "--duration", "600",
        "--format", form, "--output", str(path), "--pid", str(pid),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
