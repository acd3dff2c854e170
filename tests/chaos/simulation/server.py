"""The server of a simulation: a real PostgreSQL that has the simulation's clock.

A statement is done whole while the simulated world stands still, so that the order of statements,
and with it all that the database decides, is a matter of the seed. What rivals do to each other
while both are at work is for the tests beside this one, which run on real time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

import asyncpg

from tests.chaos.simulation.clock import SimulatedLoop
from tests.support.ordering import SAME_ORDER

T = TypeVar("T")

CLOCK = """
    create or replace function grctl.now() returns timestamptz
    language sql stable
    return current_setting('simulation.now')::timestamptz
"""
EMPTY = """
    truncate grctl.workflow_types, grctl.workers, grctl.writers, grctl.runs, grctl.events,
        grctl.store, grctl.inbox, grctl.closings, grctl.answers, grctl.queries
    restart identity cascade
"""
CHANNELS = ("wake", "worker", "query", "done", "answer")


class Server:
    """``do`` is a statement; ``heard`` what it told by NOTIFY. A context manager."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="server", daemon=True)
        self._connection: asyncpg.Connection[Any]
        self._heard: list[tuple[str, str]] = []
        self.clock: SimulatedLoop
        self.calls = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._connect())
        return self

    def __exit__(self, *_error: object) -> None:
        self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def begin(self, clock: SimulatedLoop) -> None:
        """A new simulation: empty tables, its clock."""
        self.clock = clock
        self.calls = 0
        self._run(self._connection.execute(EMPTY))
        self._heard.clear()

    def do(self, sql: str, *args: Any) -> tuple[list[asyncpg.Record], list[tuple[str, str]]]:
        """A statement's rows, and the notifications (channel, payload) it sent."""
        self.calls += 1
        rows = self._run(self._do(sql, args))
        heard, self._heard = self._heard, []
        return rows if _is_ordered(sql) else sorted(rows, key=repr), heard

    def look(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """What the tables say; no part of the simulated world."""
        return self._run(self._do(sql, args))

    async def _connect(self) -> None:
        self._connection = await asyncpg.connect(self._dsn)
        await self._connection.execute(CLOCK)
        await self._connection.execute(SAME_ORDER)
        for channel in CHANNELS:
            await self._connection.add_listener(f"grctl.{channel}", self._hear)

    async def _do(self, sql: str, args: tuple[Any, ...]) -> list[asyncpg.Record]:
        now = self.clock.date.isoformat()
        await self._connection.fetch("select set_config('simulation.now', $1, false)", now)
        rows = await self._connection.fetch(sql, *args)
        await asyncio.sleep(0)  # asyncpg hands out what it heard in the next turn
        return rows

    def _hear(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._heard.append((channel, ",".join(sorted(str(payload).split(",")))))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


def _is_ordered(sql: str) -> bool:
    """Whether the rows of a statement come in an order that it names. The others' is one of plans
    and of places in tables, which the rest of the server has a hand in.
    """
    return sql.rfind("order by") > max(sql.rfind("from"), sql.rfind("returning"))
