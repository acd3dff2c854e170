"""`python -m tests.support.run_worker MODULE ...`: a worker process without the command line.

Every `Workflow` that is an attribute of a module is served; SIGTERM and SIGINT drain.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys

from grctl import log
from grctl.client import Connection
from grctl.worker import Worker
from grctl.workflow import Workflow


async def main(modules: list[str]) -> None:
    log.configure("json", "info")
    workflows = [
        found
        for module in modules
        for found in vars(importlib.import_module(module)).values()
        if isinstance(found, Workflow)
    ]
    async with await Connection.connect() as connection:
        worker = Worker(workflows, connection)
        loop = asyncio.get_running_loop()
        stops: list[asyncio.Task[None]] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(
                number, lambda: stops.append(asyncio.create_task(worker.stop()))
            )
        await worker.start()
        await asyncio.gather(*stops)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
