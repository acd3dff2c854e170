"""Where a storm takes place, if not on a server of its own: behind PgBouncer, on a small disk,
under a false clock. Each yields what the storm is told of it, and the strikes that belong to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations
from tests.chaos.cluster import SERVER_SETTINGS, postgres
from tests.chaos.faults.disk import Disk, disk
from tests.chaos.faults.needs import FAKETIME
from tests.chaos.faults.network import run
from tests.chaos.faults.pgbouncer import pgbouncer
from tests.chaos.faults.server import served
from tests.chaos.storm import Storm, Strike


@dataclass(frozen=True)
class Surroundings:
    """``plan``: fields of the StormPlan."""

    plan: dict[str, Any]
    strikes: Sequence[Strike] = field(default=())


@asynccontextmanager
async def behind_pgbouncer(directory: Path) -> AsyncIterator[Surroundings]:
    """PgBouncer in transaction mode, with far fewer connections than it has clients."""
    async with (
        postgres(directory) as server,
        pgbouncer(server.dsn, directory / "pgbouncer", connections=6) as url,
    ):
        env = {"GRCTL_LISTEN_URL": server.dsn, "GRCTL_STATEMENT_CACHE": "0"}
        yield Surroundings({"database_url": url, "direct_url": server.dsn, "env": env})


@asynccontextmanager
async def on_a_small_disk(directory: Path) -> AsyncIterator[Surroundings]:
    """A disk of 250 MB, that is filled and freed again."""
    async with disk(directory / "disk", megabytes=250) as small:
        settings = {**SERVER_SETTINGS, "max_wal_size": "64MB", "min_wal_size": "32MB"}
        server = EmbeddedPostgres(small.path / "server", settings=settings)
        await asyncio.to_thread(server.start)
        try:
            await migrations.upgrade(server.dsn)
            yield Surroundings({"database_url": server.dsn}, [_filling(small, server)])
        finally:
            await asyncio.to_thread(server.stop)


def _filling(small: Disk, server: EmbeddedPostgres) -> Strike:
    async def fill(storm: Storm) -> None:
        while await storm.pause(3, 5):
            async with storm.fault("disk full"):
                small.fill()
                await storm.pause(8, 10)
                small.free()
                # It ends itself if it cannot write its log; then somebody starts it again.
                await asyncio.to_thread(server.start)

    return fill


class FalseClock:
    """A server whose clock is another one than ours, and another one after each restart."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._stack = AsyncExitStack()

    async def start(self, offset: str) -> str:
        """Start the server with its clock so far from ours (``+2h``); its URL."""
        env = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return await self._stack.enter_async_context(
            served(self._home, env=env, settings=SERVER_SETTINGS)
        )

    async def stop(self) -> None:
        await self._stack.aclose()

    def steps(self, offsets: Sequence[str], name: str = "clock set") -> Strike:
        """Restart the server with one offset after another."""

        async def step(storm: Storm) -> None:
            for offset in offsets:
                if not await storm.pause(6, 8):
                    break
                async with storm.fault(name, offset):
                    await self.stop()
                    await self.start(offset)

        return step


def with_a_clock_off(offset: str, *steps: str) -> Any:
    """A server whose clock is ``offset`` from ours; with ``steps`` it is set at restarts."""

    @asynccontextmanager
    async def surroundings(directory: Path) -> AsyncIterator[Surroundings]:
        clock = FalseClock(directory / "server")
        dsn = await clock.start(offset)
        try:
            await migrations.upgrade(dsn)
            yield Surroundings({"database_url": dsn}, [_being_off, clock.steps(steps)])
        finally:
            await clock.stop()

    return surroundings


async def _being_off(storm: Storm) -> None:
    async with storm.fault("clock off"):
        while await storm.pause(1, 2):
            pass


async def lose_packets(storm: Storm) -> None:
    """For 10 to 20 seconds no packet between workers, clients and server arrives, and nobody is
    told; then they arrive again. Only in a network namespace of the storm's own."""
    port = storm.proxy.url.rpartition(":")[2].partition("/")[0]
    rules = [("INPUT", "-p", "tcp", side, port, "-j", "DROP") for side in ("--dport", "--sport")]
    while await storm.pause(3, 5):
        async with storm.fault("packets lost"):
            for rule in rules:
                await run("iptables", "-A", *rule)
            await asyncio.sleep(storm.dice.uniform(10, 20))
            for rule in rules:
                await run("iptables", "-D", *rule)
