"""(i): the same work, with a lot of other things in the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg

from benchmarks.arena import Arena
from benchmarks.cases.case import Case, Figures
from benchmarks.cases.work import Throughput

# Ids as they are made, but of long ago: ordered in time, and before all others.
_OLD_ID = (
    "(lpad(to_hex(1600000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid"
)


@dataclass(frozen=True)
class Grown(Case):
    """grctl alone: what one real run left is copied so many times."""

    sizes: dict[str, int]
    finished: int = 0
    waiting: int = 0
    main: ClassVar[str] = "runs/s"

    def __init__(
        self, key: str, title: str, runs: int, finished: int = 0, waiting: int = 0
    ) -> None:
        super().__init__(key, title, {"grctl": runs})
        object.__setattr__(self, "finished", finished)
        object.__setattr__(self, "waiting", waiting)

    async def prepare(self, arena: Arena, scale: float) -> None:
        url = await arena.fresh("grctl", self._database)
        async with arena.opened("grctl", database=self._database) as (driver,):
            if self.finished:
                await driver.ask("throughput", prefix="model", runs=1, tasks=3, in_flight=1)
            if self.waiting:
                await driver.ask("start_waiting", prefix="model", runs=1)
        connection = await asyncpg.connect(url)
        try:
            await _copy(connection, round((self.finished or self.waiting) * scale))
            await connection.execute("vacuum analyze")
        finally:
            await connection.close()

    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        work = Throughput(self.key, self.title, self.sizes, tasks=3)
        return await work.throughput(arena, subject, self.amount(subject, scale), self._database)

    @property
    def _database(self) -> str:
        return f"grctl_{self.key.replace('-', '_')}"


async def _copy(connection: asyncpg.Connection[Any], times: int) -> None:
    """Copy the one run that is there, with its history, whatever columns they have."""
    model = await connection.fetchval("select run_id from grctl.runs")
    for table, names in (("runs", "run_id, wf_id"), ("events", "run_id")):
        columns = await connection.fetchval(
            "select string_agg(quote_ident(column_name), ', ') from information_schema.columns"
            " where table_schema = 'grctl' and table_name = $1 and column_name <> all($2)",
            table,
            names.split(", "),
        )
        values = names.replace("run_id", _OLD_ID).replace("wf_id", "'old-' || n")
        await connection.execute(
            f"insert into grctl.{table} ({names}, {columns})"
            f" select {values}, {columns} from generate_series(1, {times}) as n"
            f" cross join grctl.{table} where run_id = '{model}'"
        )
