"""Connections of the pool by which nobody answers any more, and that nobody has closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from grctl.postgres import database as module
from grctl.postgres.database import Database
from grctl.settings import Settings, load_settings
from tests.support.proxy import Proxy, proxied

STUCK = 60.0


@pytest.mark.parametrize("how", [Proxy.make_black_holes, Proxy.make_half_open])
async def test_one_statement_without_an_answer_condemns_the_whole_pool(
    settings: Settings, how: Callable[[Proxy], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND_TIMEOUT", 1.0)
    async with proxied(settings.require_database_url()) as proxy:
        database = Database(load_settings(database_url=proxy.url, pool_size=3))
        await database.open()
        held = [await database.pool.acquire() for _ in range(3)]
        for connection in held:
            await database.pool.release(connection)
        how(proxy)
        attempts = 0

        async def latest() -> object:
            nonlocal attempts
            attempts += 1
            return await database.fetchval("runs", "latest", "nobody")

        async with asyncio.timeout(STUCK):
            assert await database.patiently("asking", latest) is None

        assert attempts == 2, "after the first failure every old connection is given up"
        await database.close()
