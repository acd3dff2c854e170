"""Batches, cancels and terminates of the same runs in opposite orders: none waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from grctl.client.starts import Start, Starts
from grctl.engine.rows import Row, Transition
from grctl.engine.transitions import Wake, after_directive
from grctl.ids import new_run_id
from grctl.models.directive import NextStep
from grctl.postgres.batch import Commit, arguments
from grctl.postgres.database import Database as Pool
from grctl.settings import Settings
from grctl.worker.run import HeldRun
from tests.chaos.model.database import WF_TYPE
from tests.chaos.simulation.invariants import ALWAYS
from tests.support import Database

WORKERS = 4
RUNS = 32


async def test_cancel_storms_and_batches_in_opposite_orders_do_not_deadlock(
    database: Database, settings: Settings
) -> None:
    await storm(database, settings, batches=25)


@pytest.mark.chaos
async def test_long_storms_do_not_deadlock(database: Database, settings: Settings) -> None:
    await storm(database, settings, batches=1000)


async def storm(database: Database, settings: Settings, batches: int) -> None:
    pool = Pool(settings.model_copy(update={"pool_size": 2 * WORKERS}))
    await pool.open()
    try:
        await pool.fetch("types", "register", WF_TYPE, "begin", ["begin"], ["poke"], [], [])
        runs = [new_run_id() for _ in range(RUNS)]
        starts = [Start(run_id, f"w{n}", WF_TYPE, None) for n, run_id in enumerate(runs)]
        assert await Starts(pool).start_all(starts) == [None] * RUNS
        hands = [await Hand.claim(pool, number, runs) for number in range(WORKERS)]
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            storms = [group.create_task(cancel(pool, runs, n, done)) for n in range(WORKERS)]
            writing = [group.create_task(hand.write(batches)) for hand in hands]
            await asyncio.wait(writing)
            done.set()
        assert min(task.result() for task in storms) > 0
        verdicts = sum((hand.verdicts for hand in hands), Counter())
        assert verdicts["kept"] > 0
        assert verdicts["lost"] > 0
        for invariant, query in ALWAYS.items():
            if invariant != "steps follow each other":  # these go on after their cancel
                assert not await database.fetch(query), invariant
    finally:
        await pool.close()


async def cancel(pool: Pool, runs: list[UUID], number: int, done: asyncio.Event) -> int:
    """Cancels of all runs in an order of its own, again and again; at last a terminate of some."""
    dice = Random(number)
    rounds = 0
    while not done.is_set():
        for run_id in dice.sample(runs, RUNS):
            await pool.fetchval("runs", "cancel", run_id, "storm")
        rounds += 1
        victim = runs[number * 3 + rounds % 3]
        with contextlib.suppress(asyncpg.SerializationError):  # it changed hands
            await pool.fetchval("runs", "terminate", victim, "storm")
    return rounds


class Hand:
    """A worker that ends a step of all its runs in each batch, and has each send to others."""

    def __init__(self, pool: Pool, worker: int, number: int, runs: list[UUID]) -> None:
        self._pool = pool
        self._worker = worker
        self._runs = runs
        self._dice = Random(f"hand {number}")
        self._batch: list[Commit] = []
        self._held: dict[UUID, HeldRun] = {}
        self.verdicts: Counter[str] = Counter()

    @classmethod
    async def claim(cls, pool: Pool, number: int, runs: list[UUID]) -> Hand:
        worker = await pool.fetchval(
            "leases", "register", f"w-{uuid4()}", "w", [WF_TYPE], 10, 600.0, 1
        )
        hand = cls(pool, worker, number, runs)
        for row in await pool.fetch("runs", "claim", worker, [WF_TYPE], RUNS // WORKERS, None):
            hand._held[row["run_id"]] = HeldRun(row, hand)  # type: ignore[arg-type]  # in all it asks
        return hand

    def record(
        self, run: Any, row: Row, transition: Transition | None = None, **more: Any
    ) -> Commit:
        commit = Commit(asyncio.get_running_loop(), run, row, transition)
        commit.message = more["message"]
        self._batch.append(commit)
        return commit

    async def write(self, batches: int) -> None:
        for number in range(1, batches + 1):
            for run in self._dice.sample(list(self._held.values()), len(self._held)):
                self._send(run)
                run.record("step.completed", body="{}", transition=after_directive(NextStep("go")))
            batch, self._batch = self._batch, []
            if not batch:
                return
            answers = await self._pool.fetch(
                "journal", "commit", self._worker, 0, number, *arguments(batch)
            )
            for row in answers:
                self._hear(row)

    def _send(self, run: HeldRun) -> None:
        to = self._dice.choice(self._runs)
        run.record(
            "message.sent",
            op=f"{run.last_seq}",
            name="poke",
            input="{}",
            message={
                "to_run": str(to), "from_run": str(run.run_id), "from_epoch": run.epoch,
                "kind": "event", "name": "poke", "payload": None, "message_id": str(uuid4()),
            },
        )  # fmt: skip

    def _hear(self, row: Any) -> None:
        run_id, verdict = row["run"], row["verdict"]
        self.verdicts[verdict] += 1
        if verdict == "lost":
            self._held.pop(run_id, None)
        elif verdict == "kept" and run_id in self._held:
            self._held[run_id].advance(Wake(row["why"]), after_directive(NextStep("go")))
