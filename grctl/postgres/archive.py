"""Ended runs as lines of text, and back: for archives, and for another database.

An archive is JSON lines, each an object that says what it is:

* ``archive``: the first line: format, versions, when it was made;
* ``type``, ``worker``: a row each, before the first run that needs it;
* ``run``: a row, with ``lines``: how many follow it. They are its ``event``, ``store``, ``inbox``
  and ``answer`` rows, in their order;
* ``end``: the last line, with the number of runs. Without it the archive was cut off.

A recorded value stands there as a string: the JSON text as it is in the database, to the letter.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from grctl.models.retention import Policy
from grctl.postgres.database import Database
from grctl.postgres.retention import FIRST, Chosen, choose
from grctl.version import __version__

__all__ = ["FORMAT", "TABLES", "Exported", "export", "header", "trailer"]

FORMAT: Final = 1
"""The version of the format above."""

TABLES: Final = {"event": "events", "store": "store", "inbox": "inbox", "answer": "answers"}
"""What follows a run's line, by kind."""

_PREFETCH: Final = 50
"""Rows fetched at a time: each may be large."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A batch of runs that are about to be written, and their lines."""

    chosen: Chosen
    lines: AsyncIterator[str]


async def export(database: Database, policy: Policy) -> AsyncIterator[Exported]:
    """The runs that ``policy`` names, batch by batch; the lines of each are of one snapshot.

    A batch's lines have to be read to their end before the next one is asked for.
    """
    told: set[str] = set()
    after, is_last = FIRST, False
    while not is_last:
        chosen = await choose(database, policy, after)
        after, is_last = chosen.next, chosen.is_last
        if chosen.runs:
            yield Exported(chosen, _lines(database, chosen, told))


def header(database: Database, revision: str | None, now: datetime) -> str:
    """The first line."""
    told = {"format": FORMAT, "grctl": __version__, "revision": revision}
    return json.dumps({"archive": {**told, "schema": database.schema, "made_at": now.isoformat()}})


def trailer(runs: int) -> str:
    """The last line."""
    return json.dumps({"end": {"runs": runs}})


async def _lines(database: Database, chosen: Chosen, told: set[str]) -> AsyncIterator[str]:
    def sql(name: str) -> str:
        return database.sql("archive", name)

    async with (
        database.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        rows = [dict(r) for r in await connection.fetch(sql("runs"), chosen.runs, chosen.ended)]
        ids = [row["run_id"] for row in rows]
        for kind in ("type", "worker"):
            for row in await connection.fetch(sql(f"{kind}s"), ids):
                line = _line(kind, dict(row))
                if line not in told:
                    told.add(line)
                    yield line
        others = {
            kind: _ByRun(connection.cursor(sql(table), ids, prefetch=_PREFETCH))
            for kind, table in TABLES.items()
        }
        for row in rows:
            count = row.pop("lines")
            yield _line("run", row, lines=count)
            for kind, cursor in others.items():
                async for other in cursor.of(row["run_id"]):
                    yield _line(kind, dict(other))


def _line(kind: str, row: dict[str, Any], **more: int) -> str:
    told = {name: value for name, value in row.items() if value is not None}
    return json.dumps({**more, kind: told}, default=_text, separators=(",", ":"))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class _ByRun:
    """Rows of a cursor in the order of their runs, handed out a run at a time."""

    def __init__(self, cursor: Any) -> None:
        self._rows = aiter(cursor)
        self._next: asyncpg.Record | None = None

    async def of(self, run_id: UUID) -> AsyncIterator[asyncpg.Record]:
        while True:
            row = self._next or await anext(self._rows, None)
            self._next = row
            if row is None or row["run_id"] != run_id:
                return
            self._next = None
            yield row
