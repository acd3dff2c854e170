"""A client, workers in this process or in others, and the ledger that they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings
from grctl.worker import Worker
from grctl.workflow import Workflow
from tests.support import Database, WorkerProcess
from tests.support.ledger import VARIABLE, Ledger
from tests.support.runner import RunnerProcess
from tests.workflows import features


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger of this test; `features.book()` is the same file."""
    path = tmp_path / "ledger.sqlite"
    monkeypatch.setenv(VARIABLE, str(path))
    made = Ledger(path)
    yield made
    made.close()
    features.close_books()


@pytest_asyncio.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with await Connection.connect(settings=settings) as made:
        yield made


@pytest.fixture
def client(connection: Connection) -> Client:
    return Client(connection)


@pytest_asyncio.fixture
async def serve(
    settings: Settings, book: Ledger
) -> AsyncIterator[Callable[..., Awaitable[Worker]]]:
    """``await serve(workflow, …, concurrency=…)``: a worker in this process, ready.

    Each has a connection of its own, as in a process of its own.
    """
    workers: list[tuple[Worker, asyncio.Task[None]]] = []
    async with AsyncExitStack() as stack:

        async def start(*workflows: Workflow, **options: Any) -> Worker:
            connection = await stack.enter_async_context(
                await Connection.connect(settings=settings)
            )
            worker = Worker(workflows or features.ALL, connection, **options)
            running = asyncio.create_task(worker.start())
            workers.append((worker, running))
            ready = asyncio.create_task(worker.wait_until_ready())
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                ready.cancel()
                running.result()
            return worker

        yield start
        for worker, running in workers:
            await worker.stop(shutdown_timeout=0)
            await running


@pytest_asyncio.fixture
async def launch(
    database: Database, book: Ledger, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[WorkerProcess]]]:
    """``await launch(lease=…)``: a worker process of ``tests.workflows.features``, ready."""
    workers: list[WorkerProcess] = []
    async with AsyncExitStack() as stack:

        async def start(*, lease: float = 1.0, **variables: object) -> WorkerProcess:
            worker = RunnerProcess(
                "tests.workflows.features",
                database_url=database.dsn,
                env={
                    VARIABLE: str(tmp_path / "ledger.sqlite"),
                    "GRCTL_LEASE_SECONDS": str(lease),
                    "GRCTL_POLL_SECONDS": "0.2",
                    **{name: str(value) for name, value in variables.items()},
                },
            )
            workers.append(worker)
            return await stack.enter_async_context(worker)

        yield start
    for worker in workers:  # pytest shows it where a test fails
        print(worker.output)  # noqa: T201
