"""Connections by which nobody answers any more, and that nobody has closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from grctl.postgres import database as database_module
from grctl.postgres import listener as listener_module
from grctl.postgres.database import Database
from grctl.postgres.listener import Listener
from grctl.settings import Settings, load_settings
from tests.support import wait_until
from tests.support.proxy import Proxy, proxied

POOL = 3
SOON = database_module.COMMAND_TIMEOUT / 2
"""Far less than what a statement on a dead connection takes to be given up."""

pytestmark = pytest.mark.parametrize("how", [Proxy.make_black_holes, Proxy.make_half_open])


@asynccontextmanager
async def full_pool(settings: Settings) -> AsyncIterator[tuple[Proxy, Database]]:
    """A pool that has all its connections, by way of a proxy."""
    async with proxied(settings.require_database_url()) as proxy:
        database = Database(load_settings(database_url=proxy.url, pool_size=POOL))
        await database.open()
        held = [await database.pool.acquire() for _ in range(POOL)]
        for connection in held:
            await database.pool.release(connection)
        yield proxy, database
        proxy.cut_all()
        await database.close()


async def test_one_statement_without_an_answer_condemns_the_whole_pool(
    settings: Settings, how: Callable[[Proxy], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "COMMAND_TIMEOUT", 1.0)
    async with full_pool(settings) as (proxy, database):
        how(proxy)
        attempts = 0

        async def latest() -> object:
            nonlocal attempts
            attempts += 1
            return await database.fetchval("runs", "latest", "nobody")

        async with asyncio.timeout(SOON):
            assert await database.patiently("asking", latest) is None

        assert attempts == 2, "after the first failure every old connection is given up"


async def test_a_listener_that_hears_nothing_condemns_the_pool(
    settings: Settings, how: Callable[[Proxy], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "HEARTBEAT_SECONDS", 0.2)
    async with full_pool(settings) as (proxy, database):
        connected: list[None] = []
        listener = Listener(database, {"done": lambda _: None}, lambda: connected.append(None))
        listening = asyncio.create_task(listener.run())
        await wait_until(lambda: connected, "it listens", timeout=30)
        how(proxy)
        await wait_until(lambda: len(connected) > 1, "it listens again", timeout=30)

        async with asyncio.timeout(SOON):
            for _ in range(POOL):
                assert await database.fetchval("runs", "latest", "nobody") is None

        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_who_gives_up_does_not_wait_for_a_dead_connection(
    settings: Settings, how: Callable[[Proxy], None]
) -> None:
    async with full_pool(settings) as (proxy, database):
        how(proxy)
        began = monotonic()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await database.fetchval("runs", "latest", "nobody")

        assert monotonic() - began < SOON
