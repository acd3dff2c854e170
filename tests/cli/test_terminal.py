"""What a command writes steers no terminal, whatever users' code and payloads hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings
from grctl.worker import Worker
from tests.support import Database, Finished, run_cli
from tests.workflows import hostile


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with (
        await Connection.connect(settings=settings) as connection,
        asyncio.TaskGroup() as group,
    ):
        worker = Worker(hostile.ALL, connection)
        group.create_task(worker.start())
        await worker.wait_until_ready()
        yield Client(connection)
        await worker.stop(shutdown_timeout=0)


def steers_nothing(done: Finished) -> None:
    """Nothing but lines of printable text came."""
    for line in [*done.out.split("\n"), *done.err.split("\n")]:
        assert line.isprintable(), line


async def test_an_error_is_one_line_whatever_its_message(client: Client, database: Database):
    await client.start_workflow("hostile.asked", "a")
    for command in [("run", "hostile.failing"), ("query", "a", "refuse")]:
        done = await run_cli(*command, database_url=database.dsn)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert "error: nothing" in done.err
        steers_nothing(done)


async def test_json_is_the_value_and_steers_nothing(client: Client, database: Database):
    await client.start_workflow("hostile.asked", hostile.STEERING)
    answer = await run_cli("query", hostile.STEERING, "tell", database_url=database.dsn)
    assert json.loads(answer.out) == hostile.STEERING
    steers_nothing(answer)
    for command in ("describe", "why"):
        done = await run_cli(command, hostile.STEERING, "--json", database_url=database.dsn)
        assert json.loads(done.out)["wf_id"] == hostile.STEERING
        steers_nothing(done)


async def test_text_steers_nothing(client: Client, database: Database):
    await client.start_workflow("hostile.asked", hostile.STEERING)
    for command in [
        ("list",), ("describe", hostile.STEERING), ("why", hostile.STEERING),
        ("history", hostile.STEERING), ("types",), ("workers",),
    ]:  # fmt: skip
        done = await run_cli(*command, database_url=database.dsn)
        assert (done.code, done.err) == (0, "")
        steers_nothing(done)
