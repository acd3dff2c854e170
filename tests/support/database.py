"""A test's own database."""

from __future__ import annotations

from typing import Any

import asyncpg


class Database:
    """Where the test's database is, and a connection to look into it."""

    schema = "grctl"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._conn: asyncpg.Connection[Any] | None = None

    async def connect(self) -> asyncpg.Connection[Any]:
        """The connection that the methods below share; use another one for a transaction."""
        if self._conn is None or self._conn.is_closed():
            self._conn = await asyncpg.connect(self.dsn)
        return self._conn

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """All rows."""
        return await (await self.connect()).fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        """The first row."""
        return await (await self.connect()).fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return await (await self.connect()).fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> str:
        """The command's tag; a script of several statements if there are no arguments."""
        return await (await self.connect()).execute(sql, *arguments)

    async def shift_clock(self, by: str) -> None:
        """What connections made from now on see as the database's time: a timer can be due without
        a test that has to be done with something before.
        """
        name = await self.fetchval("select current_database()")
        await self.execute(f"alter database {name} set grctl_clock.shift = '{by}'")

    async def close(self) -> None:
        if self._conn is not None and not self._conn.is_closed():
            await self._conn.close(timeout=5)
