"""Worker processes that share a ledger with the test, and a client beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings
from tests.support import Database, WorkerProcess
from tests.support.ledger import VARIABLE, Ledger
from tests.support.runner import RunnerProcess

Launch = Callable[..., WorkerProcess]


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(ledger_path: Path) -> Iterator[Ledger]:
    made = Ledger(ledger_path)
    yield made
    made.close()


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with await Connection.connect(settings=settings) as connection:
        yield Client(connection)


@pytest_asyncio.fixture
async def launch(
    database: Database, ledger_path: Path, ledger: Ledger
) -> AsyncIterator[Callable[..., Any]]:
    """``await launch(lease=…, **variables)``: a worker of ``tests.workflows.chaos``, ready."""
    workers: list[WorkerProcess] = []
    async with AsyncExitStack() as stack:

        async def start(
            *, lease: float = 1.0, url: str | None = None, **variables: object
        ) -> WorkerProcess:
            worker = RunnerProcess(
                "tests.workflows.chaos",
                database_url=url or database.dsn,
                env={
                    VARIABLE: str(ledger_path),
                    "GRCTL_LEASE_SECONDS": str(lease),
                    "GRCTL_POLL_SECONDS": "0.2",
                    **{name: str(value) for name, value in variables.items()},
                },
            )
            workers.append(worker)
            return await stack.enter_async_context(worker)

        yield start
    for worker in workers:  # pytest shows it where a test fails
        print(worker.output)
