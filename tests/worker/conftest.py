"""Workers in this process on the test's database, and what makes one lose its lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings
from grctl.worker import Worker
from grctl.workflow import Workflow
from tests.support import Database

Start = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with await Connection.connect(settings=settings) as connection:
        yield Client(connection)


@pytest_asyncio.fixture
async def serve(settings: Settings) -> AsyncIterator[Callable[..., Awaitable[Worker]]]:
    """``await serve(workflow, …)``: a worker, ready; stopped at the test's end."""
    workers: list[tuple[Worker, asyncio.Task[None]]] = []
    async with AsyncExitStack() as stack:

        async def start(*workflows: Workflow, changed: Any = None, **options: Any) -> Worker:
            mine = settings.model_copy(update=changed or {})
            connection = await stack.enter_async_context(await Connection.connect(settings=mine))
            worker = Worker(workflows, connection, **options)
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


@pytest.fixture
def execute(client: Client, serve: Any) -> Callable[..., Awaitable[Any]]:
    """``await execute(start, **input)``: the result of a workflow with this start handler."""

    async def run(start: Start, *, return_type: Any = None, **values: Any) -> Any:
        workflow = Workflow(f"w-{uuid4()}")
        workflow.start()(start)
        await serve(workflow)
        handle = await client.start_workflow(
            workflow.workflow_type, workflow.workflow_type, values or None, return_type=return_type
        )
        return await handle.result(timeout=15)

    return run


@pytest.fixture
def lose(database: Database) -> Callable[[Worker], Awaitable[None]]:
    """Declare a worker dead: it drops what it holds, begins anew, and replays."""

    async def declare_dead(worker: Worker) -> None:
        await database.execute("select grctl.release_worker($1, 'lost')", worker.worker_no)

    return declare_dead
