"""Races of an event against a wait and its timer, and how close they came.

The sender is in the server and aims: at the timer's due time, at the claim that the timer causes,
or at the end of the step that waits. How far it is off is measured at each commit by the server's
clock (``track_commit_timestamp``); what it is off by in the median is made good in the next round.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg

from grctl.client import Client, Connection
from grctl.settings import load_settings
from tests.chaos.cluster import postgres, scratch
from tests.support import wait_until
from tests.support.runner import RunnerProcess

RUNS = 400
"""Of a round."""

APART_MS = 5
SPREAD_MS = 0.8
"""A send is as much as this before or after what it aims at, at random."""

MOST_LEAD_MS = 100.0

CLOCKS_MS = 1.0
"""A commit has its time a moment before others see it."""

_COURSE = Path(__file__).with_name("course.sql")

_WAITING = """
    select run_id, wait_until
    from grctl.runs
    where wf_id like $1 and status = 'waiting'
"""

Send = tuple[datetime, UUID, str]
Figures = dict[str, Any]


class Races:
    """The races so far in which the sends had one aim."""

    def __init__(self, aim: str, lead_ms: float, least_ms: float) -> None:
        self.aim = aim
        self._least_ms = least_ms
        self.lead_ms = lead_ms
        """How long after what it knows the sender sends."""
        self.off: list[tuple[float, str]] = []
        """Of each pair, how many milliseconds after its aim the send was committed; who won."""

    @property
    def close(self) -> int:
        """How many came within a millisecond."""
        return self._within(1)

    def figures(self) -> Figures:
        """How close they came, and who won; also of those that came within a millisecond."""
        return {
            "pairs": len(self.off),
            "within ms": {str(ms): self._within(ms) for ms in (1, 2, 5, 20)},
            "won": dict(Counter(winner for _, winner in self.off)),
            "won within 1 ms": dict(Counter(winner for ms, winner in self.off if abs(ms) <= 1)),
        }

    def add(self, rows: list[asyncpg.Record]) -> None:
        """What came of a round."""
        off = [(row[self.aim], row["winner"]) for row in rows if row[self.aim] is not None]
        self.off += off
        self.lead_ms -= median(ms for ms, _ in off) / 2
        self.lead_ms = min(max(self.lead_ms, self._least_ms), MOST_LEAD_MS)

    def _within(self, most: float) -> int:
        return sum(abs(ms) <= most for ms, _ in self.off)


class Course:
    """A server with two workers, and the sender that aims."""

    def __init__(self, client: Client, sender: asyncpg.Connection[Any], seed: int) -> None:
        self.races = [Races("due", -0.5, -5.0), Races("claim", 2.0, -5.0), Races("park", 5.0, 1.0)]
        self._client = client
        self._sender = sender
        self._dice = Random(f"races {seed}")
        self._numbers = itertools.count()

    async def round(self, races: Races, runs: int = RUNS) -> None:
        """So many more. AssertionError if one ended as it may not, or did not end."""
        name = f"{races.aim}:{next(self._numbers)}:"
        in_turn = races.aim == "park"
        starts = [
            {
                "type": "races.close",
                "id": f"{name}{n}",
                # In the first case the timer is due while the wait is committed, or just after.
                "input": {"timeout_ms": n % 3 if in_turn else 1000 + n * APART_MS, "told": in_turn},
            }
            for n in range(runs)
        ]
        await self._client.start_workflows(starts)

        async def waiting() -> list[asyncpg.Record] | None:
            rows = await self._sender.fetch(_WAITING, f"{name}%")
            return rows if len(rows) == runs else None

        async def outcomes() -> list[asyncpg.Record] | None:
            rows = await self._sender.fetch(
                "select * from races.outcomes where wf_id like $1 and status = 'completed'",
                f"{name}%",
            )
            return rows if len(rows) == runs else None

        parked = await wait_until(waiting, "every run waits", timeout=60)
        sends = self._told_and_hit(parked, races) if in_turn else self._hit(parked, races)
        at, run, what = zip(*sorted(sends), strict=True)
        await self._sender.execute("call races.volley($1, $2, $3)", at, run, what)
        rows = await wait_until(outcomes, "every run has ended", timeout=60)
        for row in rows:
            _check(row)
        races.add(rows)

    def _hit(self, parked: list[asyncpg.Record], races: Races) -> Iterator[Send]:
        for row in parked:
            # On a slow machine its timer has struck by now: it waits for the event alone.
            due = row["wait_until"] or datetime.now().astimezone()
            yield due + self._aim(races), row["run_id"], "hit"

    def _told_and_hit(self, parked: list[asyncpg.Record], races: Races) -> Iterator[Send]:
        first = datetime.now().astimezone() + timedelta(milliseconds=100)
        for n, row in enumerate(parked):
            told_at = first + n * timedelta(milliseconds=APART_MS)
            yield told_at, row["run_id"], "told"
            yield told_at + self._aim(races), row["run_id"], "hit"

    def _aim(self, races: Races) -> timedelta:
        spread = self._dice.uniform(-SPREAD_MS, SPREAD_MS)
        return timedelta(milliseconds=races.lead_ms + spread)


def _check(row: asyncpg.Record) -> None:
    """One of the two won, the other is not lost, and the timer was not early."""
    assert row["hit"] == 1, row
    assert row["winner"] in ("event", "timer"), row
    assert row["late"] == (row["winner"] == "timer"), row
    if row["winner"] == "timer":
        assert row["claim_after_due"] >= 0, row
        # An event that was there when the run was claimed would have won.
        assert row["after_claim_began"] > -CLOCKS_MS, row


@asynccontextmanager
async def course(seed: int) -> AsyncIterator[Course]:
    """Everything that the races need, up."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(scratch())
        server = await stack.enter_async_context(postgres(directory, track_commit_timestamp="on"))
        sender = await asyncpg.connect(server.dsn)
        stack.push_async_callback(sender.close)
        await sender.execute(_COURSE.read_text(encoding="utf-8"))
        for _ in range(2):
            worker = RunnerProcess("tests.chaos.races.workload", database_url=server.dsn)
            await stack.enter_async_context(worker)
        settings = load_settings(database_url=server.dsn)
        connection = await stack.enter_async_context(await Connection.connect(settings=settings))
        yield Course(Client(connection), sender, seed)
