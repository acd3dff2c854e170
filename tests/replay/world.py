"""The outside world of the generated programs: what their tasks do, and who saw what.

A task's outcome depends on its input alone, so that an interrupted run and an uninterrupted one
must agree. How long it takes is a matter of the dice.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from grctl.models.directive import RetryPolicy
from grctl.worker.task import task
from tests.replay.journal import Table


class RefusedError(Exception):
    """What a task raises that fails for good."""


class FlakyError(Exception):
    """What a task raises that would do better the next time."""


DURATIONS = {"hangs briefly": 0.5, "hangs": 1_000_000.0}


@dataclass
class World:
    """One life of a program."""

    table: Table
    dice: Random
    started: Counter[str] = field(default_factory=Counter)
    """Task bodies begun, by ident."""
    done_again: list[str] = field(default_factory=list)
    """Those of them whose outcome was committed already: must stay empty."""

    async def perform(self, ident: str, behaviour: str) -> None:
        self.started[ident] += 1
        rows = await self.rows_of(ident)
        if any(row.kind in ("task.completed", "task.failed", "task.cancelled") for row in rows):
            self.done_again.append(ident)
        failed = sum(row.kind == "task.attempt_failed" for row in rows)
        try:
            if behaviour in DURATIONS:
                await asyncio.sleep(DURATIONS[behaviour])
            elif behaviour != "at once":
                await self._take_time()
        except asyncio.CancelledError:
            if behaviour == "stubborn":
                return
            if behaviour == "slow to stop":
                await self._take_time()
            raise
        if behaviour == "fails":
            raise RefusedError(f"{ident} is refused")
        if behaviour == "flaky" and failed < 2:
            raise FlakyError(f"{ident} fails once more")

    async def rows_of(self, ident: str) -> list[Any]:
        """What is committed of the call with this ident."""
        ops = {
            row.op
            for row in self.table.rows
            if row.input is not None
            and row.kind.startswith("task.")
            and json.loads(row.input).get("ident") == ident
        }
        return [row for row in self.table.rows if row.op in ops]

    async def _take_time(self) -> None:
        kind = self.dice.randrange(4)
        for _ in range((0, 1, 6, 0)[kind]):
            await asyncio.sleep(0)
        if kind == 3:
            await asyncio.sleep(self.dice.choice((0.0, 0.001, 0.01, 0.03, 0.2)))


world: World
"""Of the program that runs: tests of one process run one at a time."""


def enter(new: World) -> None:
    global world  # noqa: PLW0603 - tasks are functions of a module, as users write them
    world = new


@task
async def act(ident: str, behaviour: str, value: Any = None) -> str:
    await world.perform(ident, behaviour)
    return f"done {ident}"


@task(retry_policy=RetryPolicy(max_attempts=4, initial_delay_ms=15))
async def persist(ident: str, behaviour: str, value: Any = None) -> str:
    await world.perform(ident, behaviour)
    return f"done {ident}"


@task
async def nested(ident: str, behaviour: str, value: Any = None) -> str:
    """A task that calls tasks: what a body calls is not the step's."""
    await world.perform(ident, behaviour)
    await asyncio.gather(helper(ident), helper(ident))
    return f"done {await helper(ident)}"


@task
async def helper(ident: str) -> str:
    await asyncio.sleep(0)
    return ident
