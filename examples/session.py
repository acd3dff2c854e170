"""What every example does first: connect, and start a worker in this very process.

A real deployment has its workers apart, as `grctl worker MODULE`; the client's code is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grctl.client import Client, Connection
from grctl.worker import Worker
from grctl.workflow import Workflow


@asynccontextmanager
async def session(*workflows: Workflow) -> AsyncIterator[Client]:
    """A client of GRCTL_DATABASE_URL, and a worker that serves these workflows."""
    async with await Connection.connect() as connection:
        worker = Worker(workflows, connection)
        working = asyncio.create_task(worker.start())
        ready = asyncio.create_task(worker.wait_until_ready())
        await asyncio.wait({working, ready}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if ready.done():
                yield Client(connection)
        finally:
            ready.cancel()
            if not working.done():
                await worker.stop()
            await working
