"""Findings about a PgBouncer between us and PostgreSQL: a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.faults.needs import needs
from tests.chaos.faults.pgbouncer import pgbouncer
from tests.doctor.conftest import Examine
from tests.support import Database

pytestmark = needs("pgbouncer")


@pytest_asyncio.fixture
async def pooled(database: Database, server_home: Path) -> AsyncIterator[str]:
    """A URL that leads to the test's database through a PgBouncer in transaction mode."""
    async with pgbouncer(database.dsn, server_home, connections=5) as url:
        yield url


async def test_a_pooler_without_a_listen_url(
    examined: Examine, pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.postgres.pooler.NOTIFY_SECONDS", 1.0)

    found = await examined(database_url=pooled)

    assert set(found) == {"statement_cache", "notifications"}
    assert "GRCTL_STATEMENT_CACHE=0" in found["statement_cache"].advice
    assert "pooler in transaction mode" in found["notifications"].text
    assert "set GRCTL_LISTEN_URL" in found["notifications"].advice


async def test_a_pooler_as_it_should_be_used(
    examined: Examine, pooled: str, database: Database
) -> None:
    found = await examined(database_url=pooled, listen_url=database.dsn, statement_cache=0)
    assert found == {}


async def test_a_listen_url_that_leads_elsewhere_or_nowhere(
    examined: Examine, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.postgres.pooler.NOTIFY_SECONDS", 1.0)
    elsewhere = await examined(listen_url=empty_database.dsn)
    assert "GRCTL_LISTEN_URL (none within 1 s)" in elsewhere["notifications"].text
    nowhere = await examined(listen_url="postgresql://me@127.0.0.1:1/app")
    assert "no connection" in nowhere["notifications"].text
