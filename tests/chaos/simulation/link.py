"""The way between a process and the server: what asyncpg is to grctl, over a seeded network.

A statement may be late, get lost on its way, or be done and its answer lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg

from grctl.client import Connection
from grctl.settings import Settings
from tests.chaos.simulation.server import Server

LATENCIES = (0.0, 0.0002, 0.0005, 0.001, 0.003, 0.02)
COMMAND_TIMEOUT = 60.0


@dataclass
class Weather:
    """How likely each fault is, a statement."""

    lost_before: float = 0.0
    lost_after: float = 0.0
    rolled_back: float = 0.0
    very_late: float = 0.0
    unheard: float = 0.0


CALM = Weather()
STORMY = Weather(0.01, 0.02, 0.01, 0.01, 0.1)


class Network:
    """The server, and every process's link to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.links: list[Link] = []
        self.is_down = False

    def link(self, dice: Random, weather: Weather) -> Link:
        made = Link(self, dice, weather)
        self.links.append(made)
        return made

    def tell(self, channel: str, payload: str) -> None:
        for link in self.links:
            link.tell(channel, payload)

    def go_down(self) -> None:
        """The server is gone, until ``come_up``: every connection is closed."""
        self.is_down = True
        for link in self.links:
            for connection in list(link.connections):
                connection.terminate()

    def come_up(self) -> None:
        self.is_down = False


@dataclass
class Link:
    """A process's way to the server."""

    network: Network
    dice: Random
    weather: Weather
    is_dead: bool = False
    connections: list[SimulatedConnection] = field(default_factory=list)
    faults: int = 0

    def __post_init__(self) -> None:
        self._is_whole = asyncio.Event()
        self._is_whole.set()

    def cut_off(self) -> None:
        """From now on nothing goes either way, and nobody is told."""
        self._is_whole.clear()

    def heal(self) -> None:
        self._is_whole.set()

    async def travel(self) -> None:
        """One way."""
        weather, dice = self.weather, self.dice
        await asyncio.sleep(dice.choice(LATENCIES))
        if weather.very_late and dice.random() < weather.very_late:
            await asyncio.sleep(dice.choice((0.3, 1.0, 4.0)))
        while self.is_dead or not self._is_whole.is_set():
            if self.is_dead:
                await asyncio.get_running_loop().create_future()
            await self._is_whole.wait()

    async def call(self, connection: SimulatedConnection, sql: str, args: tuple[Any, ...]) -> Any:
        if connection.is_closed():
            raise asyncpg.InterfaceError("connection is closed")
        await self.travel()
        if self.network.is_down or self._happens(self.weather.lost_before):
            connection.terminate()
            raise asyncpg.ConnectionDoesNotExistError("lost on its way to the server")
        if self._happens(self.weather.rolled_back):
            raise self.dice.choice([asyncpg.DeadlockDetectedError, asyncpg.SerializationError])("x")
        rows, heard = self.network.server.do(sql, *args)
        for channel, payload in heard:
            self.network.tell(channel, payload)
        if self._happens(self.weather.lost_after):
            connection.terminate()
            raise asyncpg.ConnectionDoesNotExistError("the answer was lost")
        await self.travel()
        return rows

    def tell(self, channel: str, payload: str) -> None:
        """A notification, to whoever listens at this end."""
        if self.is_dead or not self._is_whole.is_set() or self._happens(self.weather.unheard):
            return
        loop = asyncio.get_running_loop()
        for connection in self.connections:
            for callback in connection.listeners.get(channel, ()):
                delay = self.dice.choice(LATENCIES)
                loop.call_later(delay, connection.hear, callback, channel, payload)

    async def connect(self, application: str, *, listen: bool = False) -> SimulatedConnection:
        async with asyncio.timeout(10):
            await self.travel()
            if self.network.is_down:
                raise ConnectionRefusedError
            await self.travel()
        made = SimulatedConnection(self)
        self.connections.append(made)
        return made

    def _happens(self, likely: float) -> bool:
        happens = likely > 0 and self.dice.random() < likely
        self.faults += happens
        return happens


class SimulatedConnection:
    """What grctl uses of ``asyncpg.Connection``."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._is_closed = False
        self._on_end: list[Callable[[Any], None]] = []
        self.listeners: dict[str, list[Callable[..., None]]] = {}

    async def fetch(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        async with asyncio.timeout(timeout or COMMAND_TIMEOUT):
            return await self._link.call(self, sql, args)

    async def fetchrow(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        rows = await self.fetch(sql, *args, timeout=timeout)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        row = await self.fetchrow(sql, *args, timeout=timeout)
        return None if row is None else row[0]

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        await self.fetch("select 1")
        self.listeners.setdefault(channel, []).append(callback)

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None:
        self._on_end.append(callback)

    def hear(self, callback: Callable[..., None], channel: str, payload: str) -> None:
        if not self._is_closed:
            callback(self, 0, channel, payload)

    def is_closed(self) -> bool:
        return self._is_closed

    def terminate(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._link.connections.remove(self)
        for callback in self._on_end:
            callback(self)


class SimulatedPool:
    """What grctl uses of ``asyncpg.Pool``. A connection goes to one caller at a time."""

    def __init__(self, link: Link, size: int) -> None:
        self._link = link
        self._free: list[SimulatedConnection] = []
        self._room = asyncio.Semaphore(size)
        self._generation = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[SimulatedConnection]:
        async with self._room:
            open_ones = [each for each in self._free if not each.is_closed()]
            self._free = open_ones
            connection = open_ones.pop() if open_ones else await self._link.connect("pool")
            generation = self._generation
            try:
                yield connection
            finally:
                if generation != self._generation:
                    connection.terminate()
                self._free.append(connection)

    async def fetch(self, sql: str, *args: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetch(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchval(sql, *args)

    async def expire_connections(self) -> None:
        self._generation += 1
        await self.close()

    async def close(self) -> None:
        for connection in self._free:
            connection.terminate()


def connection_over(link: Link, settings: Settings) -> Connection:
    """grctl's connection of a process; below its ``Database`` all is simulated."""
    made: Any = Connection(settings)
    made.database._pool = SimulatedPool(link, settings.pool_size)
    made.database.connect = link.connect
    return made
