"""One simulated history: workers, clients, and what goes wrong, all by one seed.

``python -m tests.chaos.simulation SEED`` tells it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest import mock

import asyncpg

from grctl.client import Client
from grctl.errors import WorkflowAlreadyRunningError, WorkflowError
from grctl.settings import Settings
from grctl.worker import worker as worker_module
from tests.chaos.simulation.clock import SimulatedLoop, simulate
from tests.chaos.simulation.link import CALM, STORMY, Network, connection_over
from tests.chaos.simulation.processes import Process, SimulatedLease
from tests.chaos.simulation.server import Server
from tests.chaos.simulation.work import plan
from tests.chaos.simulation.world import World, enter

STORM_SECONDS = 40.0
PATIENCE_SECONDS = 400.0
WORKERS = 3
LEASE_SECONDS = 3.0

UNKNOWN = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""After these a client does not know whether it was done."""


@dataclass
class Told:
    """What the clients were told: started runs, and events that were taken."""

    started: dict[str, int] = field(default_factory=Counter)
    sent: list[int] = field(default_factory=list)
    doubtful: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)


@dataclass
class History:
    """What a simulation left behind. The database is as it was at its end."""

    seed: int
    world: World
    told: Told
    rows: list[Any]
    happened: Counter[str]
    seconds: float

    @property
    def digest(self) -> str:
        """The same for the same history: every row with its time, every body that ran."""
        text = repr([tuple(row) for row in self.rows]) + repr(self.world.entries)
        return hashlib.sha256(text.encode()).hexdigest()


def tell(server: Server, settings: Settings, seed: int, runs: int = 8) -> History:
    """The history of ``seed``."""

    async def main(loop: SimulatedLoop) -> History:
        with mock.patch.object(worker_module, "LeaseKeeper", SimulatedLease):
            return await Story(server, settings, seed, runs).play(loop)

    try:
        return simulate(seed, main)
    except BaseException as error:
        error.add_note(f"seed {seed}: `python -m tests.chaos.simulation {seed}` tells it again")
        raise


class Story:
    """The seed's dice decide who does what, and when."""

    def __init__(self, server: Server, settings: Settings, seed: int, runs: int) -> None:
        self._server = server
        self._settings = settings.model_copy(
            update={"lease_seconds": LEASE_SECONDS, "poll_seconds": 0.5, "shutdown_seconds": 5.0}
        )
        self._seed = seed
        self._ids = [f"w{number}" for number in range(runs)]
        self._network = Network(server)
        self._processes: list[Process] = []
        self._told = Told()
        self._happened: Counter[str] = Counter()
        self._world = World(server, Random(f"{seed} world"))

    async def play(self, loop: SimulatedLoop) -> History:
        self._server.begin(loop)
        enter(self._world)
        for _ in range(WORKERS):
            self._launch()
        await self._until(lambda: bool(self._rows("select from grctl.workflow_types")))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nemesis())
            for wf_id in self._ids:
                group.create_task(self._use(wf_id))
        await self._recover()
        await self._until(lambda: not self._rows("select from grctl.runs where ended_at is null"))
        for each in self._processes:
            await each.stop(0)
        return History(
            self._seed,
            self._world,
            self._told,
            self._rows("select * from grctl.events order by run_id, seq"),
            self._happened,
            loop.time(),
        )

    # --- what goes wrong ----------------------------------------------------------------------

    async def _nemesis(self) -> None:
        dice = Random(f"{self._seed} nemesis")
        deeds: list[Callable[[Random], Awaitable[None]]] = [
            self._kill, self._kill, self._cut_off, self._stop, self._outage, self._calm,
        ]  # fmt: skip
        loop = asyncio.get_running_loop()
        while loop.time() < STORM_SECONDS:
            await asyncio.sleep(dice.uniform(0.2, 4.0))
            deed = dice.choice(deeds)
            self._happened[deed.__name__.strip("_")] += 1
            await deed(dice)

    async def _kill(self, dice: Random) -> None:
        victim = self._take(dice)
        await victim.kill()
        await asyncio.sleep(dice.uniform(0.0, 2.0))
        self._launch()

    async def _stop(self, dice: Random) -> None:
        leaver = self._take(dice)
        await leaver.stop(dice.choice((0.0, 0.3, 5.0)))
        self._launch()

    async def _cut_off(self, dice: Random) -> None:
        """A partition, longer than a lease or not: it comes back as a zombie."""
        link = dice.choice(self._processes).link
        link.cut_off()
        await asyncio.sleep(dice.uniform(0.1, 2.5) * LEASE_SECONDS)
        link.heal()

    async def _outage(self, dice: Random) -> None:
        self._network.go_down()
        await asyncio.sleep(dice.uniform(0.1, 6.0))
        self._network.come_up()

    async def _calm(self, dice: Random) -> None:
        await asyncio.sleep(dice.uniform(0.5, 3.0))

    async def _recover(self) -> None:
        """No more faults; what is open must end by itself."""
        for link in self._network.links:
            link.weather = CALM

    def _launch(self) -> None:
        dice = Random(f"{self._seed} process {len(self._network.links)}")
        made = Process(self._network, self._settings, dice, STORMY)
        made.start()
        self._processes.append(made)

    def _take(self, dice: Random) -> Process:
        victim = dice.choice(self._processes)
        self._processes.remove(victim)
        return victim

    # --- what clients do ----------------------------------------------------------------------

    async def _use(self, wf_id: str) -> None:
        """The life of one workflow id, as its client brings it about."""
        dice = Random(f"{self._seed} {wf_id}")
        link = self._network.link(dice, STORMY)
        client = Client(connection_over(link, self._settings))
        await asyncio.sleep(dice.uniform(0.0, 10.0))
        await self._start(client, wf_id, dice)
        for _ in range(dice.randint(0, 8)):
            await asyncio.sleep(dice.choice((0.0, 0.01, 0.3, 2.0, 6.0)))
            deed = dice.choice(
                [self._send, self._send, self._send, self._update, self._query, self._start,
                 self._cancel, self._terminate]
            )  # fmt: skip
            await deed(client, wf_id, dice)
        await client.connection.close()

    async def _start(self, client: Client, wf_id: str, dice: Random) -> None:
        made = plan(dice, self._ids)
        with contextlib.suppress(*UNKNOWN, WorkflowAlreadyRunningError):
            handle = await client.start_workflow("simulation.work", wf_id, {"plan": made})
            self._told.started[str(handle.run_id)] += 1

    async def _send(self, client: Client, wf_id: str, dice: Random) -> None:
        number = dice.randint(10_000, 10**9)
        with contextlib.suppress(WorkflowError):
            try:
                handle = await client.get_workflow_handle(wf_id)
            except UNKNOWN:
                return
            try:
                await handle.send("poke", number)
                self._told.sent.append(number)
            except UNKNOWN:
                self._told.doubtful.append(number)

    async def _update(self, client: Client, wf_id: str, dice: Random) -> None:
        number = dice.randint(10_000, 10**9)
        with contextlib.suppress(WorkflowError, *UNKNOWN):
            handle = await client.get_workflow_handle(wf_id)
            answer = await handle.update("ask", number, timeout=5)
            assert answer == number
            self._told.asked.append(number)

    async def _query(self, client: Client, wf_id: str, _: Random) -> None:
        with contextlib.suppress(WorkflowError, *UNKNOWN):
            handle = await client.get_workflow_handle(wf_id)
            assert await handle.query("where", timeout=3) >= 0

    async def _cancel(self, client: Client, wf_id: str, _: Random) -> None:
        with contextlib.suppress(WorkflowError, *UNKNOWN):
            await (await client.get_workflow_handle(wf_id)).cancel("enough")

    async def _terminate(self, client: Client, wf_id: str, dice: Random) -> None:
        if dice.random() < 0.3:
            with contextlib.suppress(WorkflowError, *UNKNOWN):
                await (await client.get_workflow_handle(wf_id)).terminate("enough")

    # --- looking ------------------------------------------------------------------------------

    def _rows(self, sql: str) -> list[Any]:
        return self._server.look(sql)

    async def _until(self, condition: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while not condition():
            if loop.time() > deadline:
                open_ones = self._rows("select * from grctl.runs where ended_at is null")
                raise AssertionError(f"still open after {PATIENCE_SECONDS} s: {open_ones}")
            await asyncio.sleep(0.5)
