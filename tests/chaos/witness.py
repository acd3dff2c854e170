"""Looks into history while the storm is on: what was there once must be there for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from grctl.postgres.tables import metadata_for

MOST_ROWS = 200_000

_COLUMNS = ", ".join(
    f"e.{column.name}" for column in metadata_for("grctl").tables["grctl.events"].columns
)

# Column by column: a migration may add one, and no row has changed by that.
_ROWS = f"""
    select e.run_id, e.seq, md5(row({_COLUMNS})::text) as digest
    from grctl.events e
    where e.run_id = any($1)
"""
_HELD = """
    select run_id from grctl.runs where owner is not null order by random() limit 40
"""


class Witness:
    """Sees the rows of runs that are being executed, again and again."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.sightings: dict[tuple[str, int], str] = {}
        """(run, seq) -> hash of the row, as it was first seen."""

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look as often as it goes, as long as the block runs."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def again(self) -> dict[tuple[str, int], str]:
        """The same rows, as they are now."""
        runs = sorted({run for run, _ in self.sightings})
        connection = await asyncpg.connect(self._dsn, command_timeout=600)
        try:
            found = await connection.fetch(_ROWS, runs)
        finally:
            await connection.close()
        return {(str(row["run_id"]), row["seq"]): row["digest"] for row in found}

    async def _look(self) -> None:
        while True:
            # The server may be down, or be what another storm is about: then it looks later.
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self._dsn, timeout=5, command_timeout=10)
                try:
                    while True:
                        await self._see(connection)
                        await asyncio.sleep(0.2)
                finally:
                    connection.terminate()
            await asyncio.sleep(0.2)

    async def _see(self, connection: asyncpg.Connection) -> None:
        if len(self.sightings) > MOST_ROWS:
            return
        held = [row["run_id"] for row in await connection.fetch(_HELD)]
        for row in await connection.fetch(_ROWS, held):
            self.sightings.setdefault((str(row["run_id"]), row["seq"]), row["digest"])
