"""The database's side: real PostgreSQL, its clock shifted by whole hours, called without await."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg

from grctl.client.starts import Start, Starts
from grctl.engine.rows import Row, Transition
from grctl.postgres.batch import Commit, arguments
from grctl.postgres.database import Database
from grctl.settings import Settings
from grctl.worker.run import HeldRun
from tests.chaos.model.reference import LEASE
from tests.support.ordering import SAME_ORDER

T = TypeVar("T")

EMPTY = """
    truncate grctl.workers, grctl.writers, grctl.runs, grctl.events, grctl.store, grctl.inbox,
        grctl.closings, grctl.answers, grctl.queries
    restart identity cascade
"""
HOUR = 3_600_000
WF_TYPE = "model"


async def one_connection(dsn: str) -> asyncpg.Pool[Any]:
    """The shift of the clock is the connection's own: it is not reset, and never replaced, as by
    default it is after 50,000 statements.
    """

    async def keep(_: asyncpg.Connection[Any]) -> None:
        pass

    return await asyncpg.create_pool(
        dsn, min_size=1, max_size=1, max_queries=1 << 31, max_inactive_connection_lifetime=0,
        reset=keep,
    )  # fmt: skip


class Shifted:
    """Each method is one statement of grctl's, as its caller runs it."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._database = Database(settings)
        self._database._pool = self.run(one_connection(self._database.dsn))
        self.run(self._database.pool.execute(SAME_ORDER))
        self.fetch("types", "register", WF_TYPE, "begin", ["begin"], ["poke"], ["ask"], [])

    def close(self) -> None:
        self.run(self._database.close())
        self._loop.close()

    def begin(self) -> None:
        self.run(self._database.pool.execute(EMPTY))
        self.shift(0)

    def shift(self, hours: int) -> None:
        self.run(self._database.pool.execute(f"set grctl_clock.shift = '{hours} hours'"))

    def tidy(self) -> None:
        self.run(self._database.pool.execute("vacuum analyze grctl.runs"))

    def fetch(self, file: str, name: str, *args: Any) -> list[Any]:
        return self.run(self._database.fetch(file, name, *args))

    def value(self, file: str, name: str, *args: Any) -> Any:
        return self.run(self._database.fetchval(file, name, *args))

    def look(self, sql: str) -> list[Any]:
        return self.run(self._database.pool.fetch(sql))

    def start(self, run_id: UUID, wf_id: str, hours: int | None) -> str | None:
        timeout = None if hours is None else hours * HOUR
        start = Start(run_id, wf_id, WF_TYPE, None, timeout)
        [answer] = self.run(Starts(self._database).start_all([start]))
        return answer

    def register(self) -> int:
        lease = LEASE * HOUR / 1000
        number = self.value("leases", "register", f"w-{uuid4()}", "w", [WF_TYPE], 10, lease, 1)
        return int(number)

    def claim(self, worker: int, most: int) -> list[Any]:
        return self.fetch("runs", "claim", worker, [WF_TYPE], most, None)

    def commit(self, worker: int, number: int, batch: Sequence[Commit]) -> list[Any]:
        return self.fetch("journal", "commit", worker, 0, number, *arguments(batch))

    def new_commit(self, run: Any, row: Row, transition: Transition | None) -> Commit:
        return Commit(self._loop, run, row, transition)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)


class Desk:
    """A worker's journal that writes when it is told to: ``commit``. Numbered like the real one."""

    def __init__(self, database: Shifted, worker: int) -> None:
        self._database = database
        self.worker = worker
        self.number = 0
        self.batch: list[Commit] = []
        self.held: dict[tuple[UUID, int], HeldRun] = {}

    def record(
        self,
        run: Any,
        row: Row,
        transition: Transition | None = None,
        *,
        start: dict[str, Any] | None = None,
        message: dict[str, Any] | None = None,
    ) -> Commit:
        commit = self._database.new_commit(run, row, transition)
        commit.start, commit.message = start, message
        self.batch.append(commit)
        return commit

    def commit(self, *, answer_is_lost: bool) -> dict[UUID | None, tuple[str, str | None]]:
        """Send the batch, and a second time if its answer was lost; the last answer."""
        batch, self.batch = self.batch, []
        self.number += 1
        for _ in range(1 + answer_is_lost):
            rows = self._database.commit(self.worker, self.number, batch)
        return {row["run"]: (row["verdict"], row["why"]) for row in rows}
