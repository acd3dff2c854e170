"""What goes wrong in worker processes by their own runs, and when they are deployed anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grctl.client import Client, Connection
from grctl.errors import StepFailed
from grctl.settings import load_settings
from tests.chaos.storm import Storm

MODULE = "tests.workflows.faults"
PATIENCE = 120.0


@asynccontextmanager
async def client(storm: Storm) -> AsyncIterator[Client]:
    """A client beside the drivers, for the runs that are the fault."""
    settings = load_settings(database_url=storm.dsn, poll_seconds=0.5)
    async with await Connection.connect(settings=settings) as connection:
        yield Client(connection)


async def block(storm: Storm) -> None:
    """A step holds the event loop for two leases, again and again, on one worker or another."""
    seconds, number = 2 * storm.plan.lease, 0
    async with client(storm) as starter:
        while await storm.pause(0.5, 2):
            number += 1
            async with storm.fault("block"):
                result = await starter.run_workflow(
                    "faults.blocker", f"block-{number}", {"seconds": seconds}
                )
            assert result == "unblocked"


async def outlast(storm: Storm) -> None:
    """A task that runs for three leases, on a worker that lives: it is called once."""
    seconds, number = 3 * storm.plan.lease, 0
    async with client(storm) as starter:
        while await storm.pause(0.1, 0.5):
            number += 1
            name = f"long-{number}"
            assert await starter.run_workflow("faults.long", name, {"seconds": seconds}) == "taken"


async def poison(storm: Storm) -> None:
    """Runs that end their workers (os._exit, SIGKILL as by the kernel) or eat all memory."""
    number = 0
    async with client(storm) as starter, asyncio.TaskGroup() as group:
        supervising = group.create_task(supervise(storm))
        while await storm.pause(0.1, 1):
            number += 1
            how = ("exit", "killed", "memory")[number % 3]
            async with storm.fault("poison", how):
                handle = await starter.start_workflow(
                    "faults.poison", f"poison-{number}", {"how": how}
                )
                [end] = await asyncio.gather(
                    handle.result(timeout=PATIENCE), return_exceptions=True
                )
            assert isinstance(end, StepFailed), end
            assert str(end).startswith("MemoryError" if how == "memory" else "PoisonedStep")
        supervising.cancel()


async def supervise(storm: Storm) -> None:
    """As systemd or Kubernetes do: whoever is gone is replaced."""
    while True:
        for worker in list(storm.workers.alive):
            if worker.returncode is not None:
                async with storm.fault("gone", str(worker.pid)):
                    await storm.workers.replace(worker)
        await asyncio.sleep(0.1)


async def roll(storm: Storm) -> None:
    """A deployment: SIGTERM to one worker after another, once (it drains) or twice (at once)."""
    while await storm.pause(2, 4):
        times = storm.dice.choice((1, 2))
        for worker in list(storm.workers.alive):
            async with storm.fault("roll", f"{times} SIGTERM"):
                successor = asyncio.create_task(storm.workers.launch())
                for _ in range(times):
                    worker.terminate()
                code = await worker.wait(timeout=PATIENCE)
                storm.workers.alive.remove(worker)
                await successor
            assert code == 0, worker.output[-3000:]
