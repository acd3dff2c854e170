"""A client, and a worker in this process that serves the workflows of the tests of reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings
from grctl.worker import Worker
from tests.workflows import reading


@pytest_asyncio.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with await Connection.connect(settings=settings) as made:
        yield made


@pytest.fixture
def client(connection: Connection) -> Client:
    return Client(connection)


@pytest_asyncio.fixture
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    async with await Connection.connect(settings=settings) as connection:
        made = Worker(reading.ALL, connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(made.start())
            await made.wait_until_ready()
            yield made
            await made.stop(shutdown_timeout=0)
