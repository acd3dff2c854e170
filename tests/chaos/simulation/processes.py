"""A worker as a process of its own: it can be killed, cut off, stopped, or hurt at any await."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from grctl.settings import Settings
from grctl.worker import Worker
from grctl.worker.lease import LeaseKeeper
from grctl.workflow import Workflow
from tests.chaos.simulation.link import Network, Weather, connection_over
from tests.chaos.simulation.work import work
from tests.chaos.simulation.world import process


class SimulatedLease(LeaseKeeper):
    """The lease is kept in the loop's own time: a thread would have another."""

    def start(self) -> None:
        self._keeping = asyncio.ensure_future(self._keep())

    async def stop(self) -> None:
        self._stopping.set()
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)


class Process:
    """A worker, and its link to the server. ``is_over`` is done when it ended, or was killed."""

    def __init__(
        self,
        network: Network,
        settings: Settings,
        dice: Random,
        weather: Weather,
        workflow: Workflow = work,
    ) -> None:
        self._workflow = workflow
        self.link = network.link(dice, weather)
        self._settings = settings
        self.worker: Worker
        self.main: asyncio.Task[None]

    def start(self) -> None:
        connection = connection_over(self.link, self._settings)
        self.worker = Worker([self._workflow], connection)
        process.set(self)
        self.main = asyncio.ensure_future(self.worker.start())

    async def kill(self) -> None:
        """From one moment to the next nothing of it reaches the server any more."""
        self.link.is_dead = True
        executors = [executor.task for executor in self.worker.slots.executors.values()]
        if hasattr(self.worker, "journal"):
            self.worker.journal.fence()
        await _bury(self.main, *executors)
        await self.worker.client.connection.close()

    async def stop(self, seconds: float) -> None:
        """As by SIGTERM, and a second one after so long."""
        stopping = asyncio.ensure_future(self.worker.stop())
        await asyncio.wait({stopping}, timeout=seconds)
        await self.worker.stop(shutdown_timeout=0)
        await stopping
        await asyncio.wait({self.main})
        await self.worker.client.connection.close()


async def _bury(*tasks: asyncio.Task[Any]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
