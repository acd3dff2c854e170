"""LISTEN, on one connection a process, re-established whenever it is lost.

A notification only wakes; it never carries the work. Whoever listens looks at the tables when
told that the connection was made anew (``on_connect``), and by a poll of its own besides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg

from grctl.postgres.database import Backoff, Database, is_passing
from grctl.postgres.migrations import qualify

__all__ = ["Listener"]

HEARTBEAT_SECONDS = 20.0
"""How often a silent connection is asked whether it is there: a half-open one says nothing."""


class Listener:
    """Calls ``handlers[channel](payload)`` for notifications on ``grctl.<channel>``."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Callable[[str], None]],
        on_connect: Callable[[], None],
    ) -> None:
        self._database = database
        self._handlers = {
            qualify(f"grctl.{name}", database.schema): handler for name, handler in handlers.items()
        }
        self._on_connect = on_connect
        self.is_connected = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled."""
        backoff = Backoff("listening")
        while True:
            connection: asyncpg.Connection[Any] | None = None
            try:
                connection = await self._database.connect("listener", listen=True)
                for channel in self._handlers:
                    await connection.add_listener(channel, self._notified)
                self._on_connect()
                self.is_connected.set()
                backoff.reset()
                await _until_gone(connection)
            except Exception as error:
                if not is_passing(error):
                    raise
                if isinstance(error, TimeoutError):
                    await self._database.suspect()
                await backoff.pause(error)
            finally:
                self.is_connected.clear()
                if connection is not None:
                    connection.terminate()

    def _notified(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._handlers[channel](str(payload))


async def _until_gone(connection: asyncpg.Connection[Any]) -> None:
    """Until the connection is lost, which is raised."""
    gone = asyncio.Event()
    connection.add_termination_listener(lambda _: gone.set())
    while not connection.is_closed():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await gone.wait()
                break
        await connection.fetchval("select 1", timeout=HEARTBEAT_SECONDS)
    raise ConnectionResetError("the listening connection was closed")
