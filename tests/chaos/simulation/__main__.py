"""`python -m tests.chaos.simulation [SEED]`: tell the history of a seed, with the workers' log.

`--seeds N` tells that many from SEED on, without it. The server is that of GRCTL_TEST_DATABASE_URL,
else an embedded one for the time being.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import structlog

from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations
from grctl.settings import load_settings, normalize_url, with_database
from tests.chaos.simulation.checks import check
from tests.chaos.simulation.server import Server
from tests.chaos.simulation.story import tell


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.simulation")
    parser.add_argument("seed", type=int, nargs="?", default=secrets.randbelow(10**9))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    if options.seeds > 1:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        logging.disable()
    failed = 0
    with _database() as dsn, Server(dsn) as server:
        for seed in range(options.seed, options.seed + options.seeds):
            try:
                history = tell(server, load_settings(database_url=dsn), seed)
                check(history, server)
            except AssertionError as error:
                failed += 1
                print(f"seed {seed}: {error}")
                continue
            happened = ", ".join(f"{n} {what}" for what, n in sorted(history.happened.items()))
            print(
                f"seed {seed}: {history.seconds:.0f} s, {len(history.rows)} rows, "
                f"{server.calls} statements; {happened}; {history.digest[:16]}"
            )
    return 1 if failed else 0


@contextmanager
def _database() -> Iterator[str]:
    if url := os.environ.get("GRCTL_TEST_DATABASE_URL"):
        yield from _made(normalize_url(url))
        return
    with tempfile.TemporaryDirectory(prefix="grctl-simulation-") as home:
        Path(home).chmod(0o755)
        with EmbeddedPostgres(Path(home) / "server", ephemeral=True) as server:
            yield from _made(server.dsn)


def _made(server: str) -> Iterator[str]:
    name = f"grctl_simulation_{secrets.token_hex(4)}"
    dsn = with_database(server, name)
    asyncio.run(_execute(server, f"create database {name}"))
    try:
        asyncio.run(migrations.upgrade(dsn))
        yield dsn
    finally:
        asyncio.run(_execute(server, f"drop database {name} with (force)"))


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


if __name__ == "__main__":
    sys.exit(main())
