"""`grctl doctor` on the test's database, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grctl.dev import EmbeddedPostgres
from grctl.models.findings import Finding
from grctl.postgres import migrations
from grctl.postgres.doctor import examine
from grctl.settings import Settings
from tests.features.conftest import book, client, connection, launch, serve

__all__ = ["book", "client", "connection", "launch", "serve"]

Examine = Callable[..., Awaitable[dict[str, Finding]]]

# What the server of the tests is told to do, to be quick, is found as it should be.
OF_THE_TESTS = {"fsync", "full_page_writes"}


@pytest.fixture
def examined(settings: Settings) -> Examine:
    """``await examined(statement_cache=0)``: what is found, by name; the first of each name."""

    async def findings(**changed: Any) -> dict[str, Finding]:
        found: dict[str, Finding] = {}
        async for finding in examine(settings.model_copy(update=changed)):
            if finding.name not in OF_THE_TESTS:
                found.setdefault(finding.name, finding)
        return found

    return findings


@pytest.fixture
def bad_server(server_home: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own that is set up as badly as can be."""
    settings = {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "autovacuum": "off",
        "track_counts": "off",
        "autovacuum_freeze_max_age": "100000",
        "default_transaction_isolation": "repeatable read",
        "max_connections": "12",
        "max_prepared_transactions": "2",
        "wal_level": "logical",
        "max_wal_senders": "2",
        "max_replication_slots": "2",
    }
    with EmbeddedPostgres(server_home, ephemeral=True, settings=settings) as server:
        yield server


@pytest.fixture
def standby(server_home: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own with our schema, which waits for a primary's changes."""
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        asyncio.run(migrations.upgrade(server.dsn))
        (server.home / "data" / "standby.signal").touch(mode=0o644)
        server.restart()
        yield server
