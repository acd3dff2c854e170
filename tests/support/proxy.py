"""A TCP proxy between us and PostgreSQL, that delays, cuts, or swallows what passes.

Each fault is armed for the next connection or statement that it fits, so that a test strikes at
one chosen place: before a COMMIT has reached the server, or after its answer has left it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from tests.support.frontend import Frontend


@dataclass
class Proxy:
    """``url`` leads through it. The faults below hold until they are taken back."""

    url: str = ""
    cut_before: bytes | None = None
    """Cut the connection by which the client sends this, before the server has it (once)."""
    cut_after: bytes | None = None
    """The same, once the server has answered it, and the answer is swallowed (once)."""
    loses_answer_to: str | None = None
    """The same, for the text of a statement, prepared or not: it is executed, and the answer is
    swallowed (once)."""
    holds_answer_to: str | None = None
    """It is executed, and its answer held back from when ``is_holding`` is set until ``lets_go``
    is (once)."""
    is_holding: asyncio.Event = field(default_factory=asyncio.Event)
    lets_go: asyncio.Event = field(default_factory=asyncio.Event)
    refuses: bool = False
    """Close each new connection at once."""
    delay: float = 0.0
    """Seconds by which every answer is late."""
    cuts: int = 0
    """How many connections a fault has cut."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _connections: set[_Connection] = field(default_factory=set)

    def cut_all(self) -> None:
        """Cut every connection."""
        for writer in list(self._writers):
            self.cuts += 1
            writer.transport.abort()

    def make_black_holes(self) -> None:
        """Of every connection there is: they stay, and nobody ever hears anything by them."""
        for connection in self._connections:
            connection.is_black_hole = True

    def make_half_open(self) -> None:
        """Of every connection there is: what we send arrives and is done, no answer comes back."""
        for connection in self._connections:
            connection.is_half_open = True

    async def serve(
        self, client: asyncio.StreamReader, back: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        if self.refuses:
            back.transport.abort()
            return
        try:
            server, forth = await asyncio.open_connection(host, port)
        except OSError:
            back.transport.abort()  # as the server would refuse it
            return
        self._writers |= {back, forth}
        connection = _Connection(self, back, forth)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(connection.to_server(client))
                group.create_task(connection.to_client(server))
        except* (OSError, _CutError):
            pass
        finally:
            self._connections.discard(connection)
            for writer in (back, forth):
                self._writers.discard(writer)
                writer.transport.abort()


class _CutError(Exception):
    pass


class _Connection:
    def __init__(
        self, proxy: Proxy, back: asyncio.StreamWriter, forth: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._back = back
        self._forth = forth
        self._frontend = Frontend()
        self._swallows_answer = False
        self._holds_answer = False
        self.is_black_hole = False
        self.is_half_open = False

    async def to_server(self, client: asyncio.StreamReader) -> None:
        proxy = self._proxy
        while data := await client.read(1 << 20):
            if self.is_black_hole:
                continue
            if proxy.cut_before is not None and proxy.cut_before in data:
                proxy.cut_before = None
                self._cut()
            if proxy.cut_after is not None and proxy.cut_after in data:
                proxy.cut_after = None
                self._swallows_answer = True
            executed = self._frontend.executed(data)
            if proxy.loses_answer_to in executed:
                proxy.loses_answer_to = None
                self._swallows_answer = True
            if proxy.holds_answer_to in executed:
                proxy.holds_answer_to = None
                self._holds_answer = True
            self._forth.write(data)
            await self._forth.drain()
        raise _CutError

    async def to_client(self, server: asyncio.StreamReader) -> None:
        proxy = self._proxy
        while data := await server.read(1 << 20):
            if self.is_black_hole or self.is_half_open:
                continue
            if self._swallows_answer and _is_end_of_answer(data):
                self._cut()
            if self._holds_answer and _is_end_of_answer(data):
                self._holds_answer = False
                proxy.is_holding.set()
                await proxy.lets_go.wait()
            if proxy.delay:
                await asyncio.sleep(proxy.delay)
            if not self._swallows_answer:
                self._back.write(data)
                await self._back.drain()
        raise _CutError

    def _cut(self) -> None:
        self._proxy.cuts += 1
        raise _CutError


def _is_end_of_answer(data: bytes) -> bool:
    """ReadyForQuery, outside a transaction: what came before it is committed."""
    return data.endswith(b"Z\x00\x00\x00\x05I")


@asynccontextmanager
async def proxied(dsn: str) -> AsyncIterator[Proxy]:
    """A proxy to the server of ``dsn``."""
    parts = urlsplit(dsn)
    host, port = parts.hostname or "127.0.0.1", parts.port or 5432
    proxy = Proxy()
    open_ones: set[asyncio.Task[None]] = set()

    async def connected(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        with contextlib.suppress(OSError):
            await proxy.serve(client, back, host, port)
        open_ones.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    mine = server.sockets[0].getsockname()[1]
    user = parts.netloc.rpartition("@")[0]
    proxy.url = urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{mine}"))
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut_all()
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
