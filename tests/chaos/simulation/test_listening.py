"""A notification that nobody heard, because the connection was just being made anew."""

from __future__ import annotations

from random import Random
from unittest import mock

import pytest

from grctl.client import Client
from grctl.settings import Settings
from grctl.worker import worker as worker_module
from tests.chaos.simulation.clock import SimulatedLoop, simulate
from tests.chaos.simulation.link import CALM, Network, connection_over
from tests.chaos.simulation.processes import Process, SimulatedLease
from tests.chaos.simulation.server import Server
from tests.chaos.simulation.world import World, enter
from tests.support import Database

POLL_SECONDS = 300.0


@pytest.mark.parametrize("whose", ["worker", "client"])
def test_who_listens_again_looks_at_once(
    database: Database, settings: Settings, whose: str
) -> None:
    """Not at the next poll, which is far away."""
    settings = settings.model_copy(update={"poll_seconds": POLL_SECONDS})
    with Server(database.dsn) as server:
        seconds = simulate(1, lambda loop: _unheard(loop, server, settings, whose))
    assert seconds < POLL_SECONDS / 10


async def _unheard(loop: SimulatedLoop, server: Server, settings: Settings, whose: str) -> float:
    """How long a run takes whose start, or end, is told while one's ears are shut."""
    server.begin(loop)
    enter(World(server, Random(1)))
    network = Network(server)
    with mock.patch.object(worker_module, "LeaseKeeper", SimulatedLease):
        process = Process(network, settings, Random(1), CALM)
        process.start()
        await process.worker.wait_until_ready()
        client = Client(connection_over(network.link(Random(2), CALM), settings))
        await client.connection.waiters.ready()
        deaf = process.link if whose == "worker" else client.database._pool._link
        for connection in list(deaf.connections):
            if connection.listeners:
                connection.terminate()
        began = loop.time()
        plan = [{"do": [["act", None]], "then": ["step", 0]}]
        handle = await client.start_workflow("simulation.work", "w", {"plan": plan})
        assert await handle.result() == 1
        took = loop.time() - began
        await process.stop(0)
        await client.connection.close()
    return took
