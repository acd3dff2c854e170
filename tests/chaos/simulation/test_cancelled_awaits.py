"""A worker's coroutine is cancelled at any of its awaits: no run is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any
from unittest import mock

import pytest

from grctl.client import Client, Connection
from grctl.errors import WorkflowError
from grctl.models import Directive
from grctl.postgres import journal
from grctl.settings import Settings
from grctl.worker import Context, Worker, chores, claims, executor, signals, task, watch
from grctl.workflow import Workflow
from tests.chaos.simulation.invariants import ALWAYS, AT_THE_END
from tests.chaos.simulation.stumble import Stumbling
from tests.support import Database, wait_until

stumbler = Workflow("stumbler")
ended: list[str] = []


@stumbler.start()
async def begin(ctx: Context) -> Directive:
    await asyncio.gather(*(note(f"{ctx.run.id} {number}") for number in range(3)))
    ctx.store.put("began", value=True)
    return ctx.next.step(middle)


@stumbler.step()
async def middle(ctx: Context) -> Directive:
    await ctx.sleep(timedelta(milliseconds=5))
    await note(f"{ctx.run.id} middle")
    return ctx.next.wait(timeout=timedelta(milliseconds=50), on_timeout=last)


@stumbler.step()
async def last(ctx: Context) -> Directive:
    await note(f"{ctx.run.id} last")
    return ctx.next.complete(await ctx.store.keys())


@task
async def note(ident: str) -> None:
    await asyncio.sleep(0)
    ended.append(ident)


LOOPS: list[tuple[Any, str]] = [
    (Worker, "start"),
    (claims.Claims, "run"),
    (journal.Journal, "run"),
    (journal._Writer, "run"),
    (signals.Signals, "run"),
    (watch.Watch, "run"),
    (chores.Chores, "run"),
    (executor.Executor, "execute"),
]
STARTS = 6


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose ears were struck begins soon all the same."""
    monkeypatch.setattr("grctl.worker.worker.OPENING_SECONDS", 0.3)


@pytest.mark.parametrize("number", range(len(LOOPS)))
async def test_a_loop_that_is_cancelled_anywhere_loses_no_run(
    database: Database, settings: Settings, number: int
) -> None:
    await stumble(database, settings, number, seed=0)


@pytest.mark.chaos
@pytest.mark.parametrize("number", range(len(LOOPS)))
async def test_every_loop_is_cancelled_at_every_await(
    database: Database, settings: Settings, number: int
) -> None:
    for seed in range(1, 40):
        await stumble(database, settings, number, seed)


async def stumble(database: Database, settings: Settings, number: int, seed: int) -> None:
    owner, name = LOOPS[number]
    dice = Random(f"{number} {seed}")
    at, turns = 1 + int(dice.random() ** 2 * 25), dice.choice((0, 0, 1, 3, 10))
    told = f"{owner.__name__}.{name} at its await {at}, {turns} turns later (seed {seed})"
    ended.clear()
    await database.execute("truncate grctl.runs, grctl.events, grctl.store, grctl.inbox")
    ids = [f"{told} {each}" for each in range(STARTS)]
    await start(settings, ids)
    with stumbling(owner, name, at, turns) as made:
        async with serving(settings) as main:

            async def is_over() -> bool:
                open_ones = "select count(*) from grctl.runs where ended_at is null"
                return main.done() or not await database.fetchval(open_ones)

            await wait_until(is_over, f"the worker or its runs are over: {told}", timeout=60)
    await none_in_a_transaction(database, told)
    if made[0].has_stumbled and owner is not executor.Executor:
        await database.execute("update grctl.workers set lease_until = now() - interval '1 s'")
    async with serving(settings), await Connection.connect(settings=settings) as connection:
        for each in ids:
            handle = await Client(connection).get_workflow_handle(each)
            await check_result(handle, told, is_struck=owner is executor.Executor)
    for invariant, query in {**ALWAYS, **AT_THE_END}.items():
        assert not await database.fetch(query), f"{invariant}: {told}"
    rows = await database.fetchval(
        "select count(*) from grctl.events where kind = 'task.completed' and name = 'note'"
    )
    assert rows <= len(ended)


async def start(settings: Settings, ids: list[str]) -> None:
    async with await Connection.connect(settings=settings) as connection:
        known = stumbler.workflow_type, "begin", ["begin", "last", "middle"], [], [], []
        await connection.database.fetch("types", "register", *known)
        for each in ids:
            await Client(connection).start_workflow(stumbler.workflow_type, each)


@contextlib.contextmanager
def stumbling(owner: Any, name: str, at: int, turns: int) -> Any:
    """The first coroutine of this name stumbles."""
    original = getattr(owner, name)
    made: list[Stumbling] = []

    def call(*args: Any) -> Any:
        if made:
            return original(*args)
        made.append(Stumbling(original(*args), at, turns))
        return made[0]

    with mock.patch.object(owner, name, call):
        yield made


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    async with await Connection.connect(settings=settings) as connection:
        worker = Worker([stumbler], connection)
        main = asyncio.create_task(worker.start())
        ready = asyncio.create_task(worker.wait_until_ready())
        await asyncio.wait({main, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        try:
            yield main
        finally:
            stopping = asyncio.create_task(worker.stop(shutdown_timeout=0))
            await asyncio.wait({main, stopping})
            await asyncio.gather(main, stopping, return_exceptions=True)


async def check_result(handle: Any, told: str, *, is_struck: bool) -> None:
    try:
        assert await handle.result(timeout=60) == ["began"], told
    except WorkflowError as error:
        # Nothing but its own code cancels a step's task, so that a strike there is its own.
        assert is_struck, told
        assert "CancelledError" in str(error), told  # noqa: PT017 - either end is right


async def none_in_a_transaction(database: Database, told: str) -> None:
    async def all_idle() -> bool:
        open_ones = await database.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() "
            "and application_name like 'grctl%' and state like 'idle in transaction%'"
        )
        return open_ones == 0

    await wait_until(all_idle, f"no connection has an open transaction: {told}", timeout=30)
