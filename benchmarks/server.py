"""The one PostgreSQL that all share: how it is set, and a fresh database for whoever asks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from grctl.dev import EmbeddedPostgres
from grctl.dev.binaries import find_installation
from grctl.settings import with_database

SETTINGS = {
    # What a commit means: on disk before it is acknowledged. Nothing is bought by losing this.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    # A server of its own, of a small machine.
    "shared_buffers": "1GB",
    "max_connections": "200",
    "jit": "off",
    # No checkpoint in the middle of a measurement: there is one before each round.
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    # Loaded, but off: `idle` and `--profile` switch it on for their own database.
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "none",
}


class Server:
    """A running server, and the databases on it."""

    def __init__(self, embedded: EmbeddedPostgres, directory: Path) -> None:
        self.url = embedded.dsn
        self.directory = directory
        self.version = find_installation().version
        self.postmaster = int((embedded.home / "data" / "postmaster.pid").read_text().split()[0])

    def url_of(self, name: str) -> str:
        """Where a database is."""
        return with_database(self.url, name)

    async def fresh(self, name: str, template: str = "template0") -> str:
        """An empty database, or a copy of `template`; what was there is gone."""
        connection = await asyncpg.connect(self.url_of("postgres"))
        try:
            await connection.execute(f'drop database if exists "{name}" with (force)')
            await connection.execute(f'create database "{name}" template "{template}"')
        finally:
            await connection.close()
        return self.url_of(name)

    async def execute(self, sql: str, database: str = "postgres") -> None:
        """One statement, or a script, in a session of its own."""
        connection = await asyncpg.connect(self.url_of(database))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@contextmanager
def running(base: Path | None = None) -> Iterator[Server]:
    """A server of the suite's own, on disk; gone with all its data at the end.

    Its programs are those of GRCTL_PG_BIN, or the embedded ones.
    """
    base = base or Path(os.environ.get("GRCTL_BENCH_DIRECTORY", "/var/tmp"))
    with tempfile.TemporaryDirectory(prefix="grctl-bench-", dir=base) as directory:
        Path(directory).chmod(0o755)  # the server runs under another account
        home = Path(directory) / "server"
        with EmbeddedPostgres(home, ephemeral=True, settings=SETTINGS) as embedded:
            yield Server(embedded, Path(directory))
