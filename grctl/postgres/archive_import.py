"""Lines of an archive (``grctl.postgres.archive``) into a database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from grctl.errors import ArchiveError
from grctl.postgres.archive import FORMAT, TABLES
from grctl.postgres.database import Database

__all__ = ["Import"]

_MOST_RUNS: Final = 1_000
_MOST_CHARACTERS: Final = 8 * 1024 * 1024

_DAMAGES: Final = (
    KeyError, TypeError, ValueError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError,
)  # fmt: skip

_Row = dict[str, Any]


@dataclass(slots=True)
class _Run:
    """A run's row, and those that belong to it, by kind."""

    row: _Row
    missing: int
    others: dict[str, list[_Row]] = field(default_factory=dict)


class Import:
    """Puts the lines of an archive into a database: whole runs only, some of them a transaction.

    A run that is there already, and is the same, is passed over: an import may be repeated. One
    that is there and ended otherwise is left as it is, and named in ``refused``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[int, int] = {}
        self._waiting: list[_Run] = []
        self._size = 0
        self._begun = False
        self.is_whole = False
        """Whether the archive's last line was seen."""
        self.runs = 0
        self.known = 0
        self.refused: list[tuple[str, UUID]] = []

    async def put(self, line: str) -> None:
        """Put one more line. ArchiveError for what is none."""
        kind, row, lines = _read(line)
        if not self._begun:
            _check_header(kind, row)
            self._begun = True
        elif kind == "run":
            self._drop_part()
            if self._size > _MOST_CHARACTERS or len(self._waiting) >= _MOST_RUNS:
                await self._flush()
            self._waiting.append(_Run(row, lines))
        elif kind in TABLES:
            self._add(kind, row)
        elif kind in ("type", "worker"):
            await self._put_shared(kind, row)
        elif kind == "end":
            self.is_whole = True
        else:
            raise ArchiveError(f"a line of a kind that is not known here: {kind!r:.40}")
        self._size += len(line)

    async def _put_shared(self, kind: str, row: _Row) -> None:
        """A row that belongs to several runs."""
        try:
            put = await self._database.fetch("archive", f"put_{kind}", json.dumps(row))
            if kind == "worker":
                self._numbers[row["worker_no"]] = put[0]["worker_no"]
        except _DAMAGES as error:
            raise ArchiveError(f"a row that is damaged: {error}") from error

    async def finish(self) -> None:
        """Put what is left. The last run of an archive that was cut off may not be whole."""
        self._drop_part()
        await self._flush()

    def _add(self, kind: str, row: _Row) -> None:
        if not self._waiting or not self._waiting[-1].missing:
            raise ArchiveError(f"a line of the kind {kind!r} that belongs to no run")
        run = self._waiting[-1]
        run.others.setdefault(kind, []).append(row)
        run.missing -= 1
        if kind == "event" and "worker_no" in row:
            row["worker_no"] = self._numbers.get(row["worker_no"])

    def _drop_part(self) -> None:
        if self._waiting and self._waiting[-1].missing:
            self._waiting.pop()

    async def _flush(self) -> None:
        runs, self._waiting, self._size = self._waiting, [], 0
        if not runs:
            return
        try:
            async with self._database.pool.acquire() as connection, connection.transaction():
                new = await self._unknown(connection, runs)
                await self._copy(connection, "runs", [run.row for run in new])
                for kind, table in TABLES.items():
                    rows = [row for run in new for row in run.others.get(kind, ())]
                    await self._copy(connection, table, rows)
        except (KeyError, TypeError, ValueError, asyncpg.DataError) as error:
            raise ArchiveError(f"a row before this line is damaged: {error}") from error
        except asyncpg.IntegrityConstraintViolationError as error:
            raise ArchiveError(f"a row before this line cannot be put there: {error}") from error
        self.runs += len(new)

    async def _unknown(self, connection: Any, runs: list[_Run]) -> list[_Run]:
        """Those that are not there; the others are counted."""
        sql = self._database.sql("archive", "known")
        ids = [UUID(run.row["run_id"]) for run in runs]
        known = {row["run_id"]: row for row in await connection.fetch(sql, ids)}
        new = []
        for run, run_id in zip(runs, ids, strict=True):
            there = known.get(run_id)
            if there is None:
                new.append(run)
            elif (there["ended_at"], there["next_seq"]) == (
                datetime.fromisoformat(run.row["ended_at"]),
                run.row["next_seq"],
            ):
                self.known += 1
            else:
                self.refused.append((run.row["wf_id"], run_id))
        return new

    async def _copy(self, connection: Any, table: str, rows: list[_Row]) -> None:
        """Rows, by the columns that they have; the others get their defaults."""
        if not rows:
            return
        schema = self._database.schema
        statement = await connection.prepare(f"select * from {schema}.{table} limit 0")
        types = {each.name: each.type.name for each in statement.get_attributes()}
        for names, some in _alike(rows):
            unknown = set(names) - types.keys()
            if unknown:
                raise ArchiveError(
                    f"{table} have no column {', '.join(sorted(unknown))} here: a newer grctl made "
                    "the archive"
                )
            readers = [_READERS.get(types[name], _as_it_is) for name in names]
            records = [
                [read(row[name]) for name, read in zip(names, readers, strict=True)] for row in some
            ]
            await connection.copy_records_to_table(
                table, schema_name=schema, columns=names, records=records
            )


def _alike(rows: list[_Row]) -> Iterator[tuple[list[str], list[_Row]]]:
    """Rows by the columns that they have: what is null is left out of a line."""
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(row)
    for names, some in groups.items():
        yield list(names), some


def _as_it_is(value: Any) -> Any:
    return value


def _moment(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _id(value: Any) -> UUID | None:
    return None if value is None else UUID(value)


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {"timestamptz": _moment, "uuid": _id}


def _read(line: str) -> tuple[str, _Row, int]:
    """A line's kind, its row, and how many lines belong to it."""
    try:
        told = json.loads(line)
        lines = int(told.pop("lines", 0))
        [(kind, row)] = told.items()
        if not isinstance(row, dict):
            raise TypeError(kind)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ArchiveError("this is no line of an archive of grctl") from None
    return kind, row, lines


def _check_header(kind: str, row: _Row) -> None:
    if kind != "archive":
        raise ArchiveError("this is no archive of grctl: its first line does not say so")
    made = row.get("format")
    if not isinstance(made, int):
        raise ArchiveError(f"the archive's format is not known here: {made!r:.40}")
    if made > FORMAT:
        raise ArchiveError(
            f"the archive is of format {made}, made by grctl {row.get('grctl')}; this grctl "
            f"reads formats up to {FORMAT}: upgrade it"
        )
