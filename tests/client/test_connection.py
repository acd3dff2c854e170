"""Which database and settings a connection goes by."""

from __future__ import annotations

import asyncio

import pytest

from grctl.client import Client, Connection, WorkflowStart
from grctl.errors import ConfigurationError, DatabaseNotMigratedError
from grctl.ids import new_run_id
from grctl.settings import Settings
from tests.support import Database

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


async def test_a_url_and_single_settings_go_before_all_settings_at_once(
    database: Database, settings: Settings
) -> None:
    elsewhere = settings.model_copy(update={"database_url": NOWHERE, "pool_size": 3})

    async with await Connection.connect(
        database.dsn, settings=elsewhere, poll_seconds=7, listen_url=None
    ) as connection:
        used = connection.database.settings
        assert await connection.database.pool.fetchval("select 1") == 1

    assert (used.poll_seconds, used.pool_size, used.listen_url) == (7, 3, elsewhere.listen_url)
    assert elsewhere.database_url == NOWHERE


async def test_a_single_setting_beside_all_at_once_is_checked(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="pool_size"):
        await Connection.connect(settings=settings, pool_size=-1)


async def test_a_client_says_that_the_database_is_not_migrated(
    empty_database: Database, settings: Settings
) -> None:
    async with await Connection.connect(empty_database.dsn, settings=settings) as connection:
        client = Client(connection)
        for asked in (
            client.start_workflow("order", "a"),
            client.run_workflow("order", "a"),
            client.start_workflows([WorkflowStart("order", "a")]),
            client.describe("a"),
            client.get_history("a"),
            client.list_workflows(),
        ):
            with pytest.raises(DatabaseNotMigratedError, match="run `grctl db upgrade`"):
                await asked


async def test_no_variable_has_a_say_in_settings_that_are_given(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRCTL_CONCURRENCY", "many")
    monkeypatch.setenv("GRCTL_LISTEN_URL", NOWHERE)
    async with await Connection.connect(settings=settings) as connection:
        assert connection.settings == settings
    async with await Connection.connect(database.dsn, settings=settings, pool_size=2) as connection:
        assert connection.settings == settings.model_copy(update={"pool_size": 2})


async def test_a_connection_of_another_event_loop_is_refused_rather_than_waited_on(
    settings: Settings,
) -> None:
    async with await Connection.connect(settings=settings) as connection:
        await connection.waiters.ready()
        future_of = Client(connection).handle_of(new_run_id(), "a", "order").result
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(future_of(timeout=30)))
