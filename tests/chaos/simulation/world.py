"""What the tasks of a simulated run do, and who saw it. Nothing here is lost by a crash."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import Any

from grctl.models.directive import RetryPolicy
from grctl.worker.task import task
from tests.chaos.simulation.server import Server

process: ContextVar[Any] = ContextVar("process")
"""The simulated process in which code runs."""

OUTCOMES = """
    select e.kind
    from grctl.events e
    join grctl.events first using (run_id, step_no, op)
    join grctl.runs r using (run_id)
    where first.input ->> 'ident' = $1 and r.owner = $2
        and e.kind in ('task.completed', 'task.failed')
"""


class FlakyError(Exception):
    """What a task raises that does better the next time."""


@dataclass
class Entry:
    """A body began, or ended."""

    kind: str
    ident: str
    worker_no: int
    at: float


@dataclass
class World:
    """The ledger of one simulation."""

    server: Server
    dice: Random
    entries: list[Entry] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    """Bodies begun after their outcome was committed, by the run's own owner: none, ever."""

    async def perform(self, ident: str) -> None:
        worker_no = process.get().worker.worker_no
        if self.server.look(OUTCOMES, ident, worker_no):
            self.repeated.append(ident)
        self._note("start", ident, worker_no)
        await asyncio.sleep(self.dice.choice((0.0, 0.0, 0.001, 0.01, 0.1, 1.5)))
        self._note("end", ident, worker_no)

    def count(self, kind: str, ident: str) -> int:
        return sum(each.kind == kind and each.ident == ident for each in self.entries)

    def _note(self, kind: str, ident: str, worker_no: int) -> None:
        now = asyncio.get_running_loop().time()
        self.entries.append(Entry(kind, ident, worker_no, now))


world: World
"""Of the simulation that runs: one at a time in a process."""


def enter(new: World) -> None:
    global world  # noqa: PLW0603 - tasks are functions of a module, as users write them
    world = new


@task
async def act(ident: str) -> str:
    await world.perform(ident)
    return f"done {ident}"


@task(retry_policy=RetryPolicy(max_attempts=5, initial_delay_ms=20))
async def persist(ident: str, failures: int) -> str:
    """Fails at first, in each of its lives."""
    await world.perform(ident)
    if world.count("end", ident) <= failures:
        raise FlakyError(ident)
    return f"done {ident}"
