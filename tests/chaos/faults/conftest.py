"""Workers of ``tests.workflows.faults`` in processes of their own, with the ledger they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import load_settings
from tests.support import Database, WorkerProcess
from tests.support.ledger import VARIABLE, Ledger
from tests.support.runner import RunnerProcess


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.sqlite")
    yield made
    made.close()


@pytest_asyncio.fixture
async def launch(
    database: Database, ledger: Ledger, tmp_path: Path
) -> AsyncIterator[Callable[..., Any]]:
    """``await launch(**variables)``: a worker, ready; ``GRCTL_`` stands before the variables."""
    async with AsyncExitStack() as stack:

        async def start(**variables: object) -> WorkerProcess:
            given = {f"GRCTL_{name.upper()}": str(value) for name, value in variables.items()}
            worker = RunnerProcess(
                "tests.workflows.faults",
                database_url=database.dsn,
                env={
                    VARIABLE: str(tmp_path / "ledger.sqlite"),
                    "GRCTL_LEASE_SECONDS": "2",
                    "GRCTL_POLL_SECONDS": "0.2",
                    **given,
                },
            )
            return await stack.enter_async_context(worker)

        yield start


@pytest_asyncio.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    settings = load_settings(database_url=database.dsn, poll_seconds=0.2)
    async with await Connection.connect(settings=settings) as connection:
        yield Client(connection)
