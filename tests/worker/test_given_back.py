"""Runs that a worker gives back when it stops."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from grctl.client import Client
from grctl.models import RunStatus
from grctl.worker import Context, task
from grctl.worker import worker as worker_module
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until


@pytest.mark.parametrize(
    ("kinds", "ending"),
    [
        (["task.completed", "step.completed"], RunStatus.COMPLETED),
        (
            ["run.cancel_received", "task.completed", "step.completed", "run.cancelled"],
            RunStatus.CANCELLED,
        ),
    ],
    ids=["that the step waits for", "that nobody waits for"],
)
async def test_a_run_is_given_back_behind_its_row_that_is_on_its_way(
    database: Database,
    client: Client,
    serve: Any,
    monkeypatch: pytest.MonkeyPatch,
    kinds: list[str],
    ending: RunStatus,
) -> None:
    monkeypatch.setattr(worker_module, "STOP_GRACE_SECONDS", 0.5)
    gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
    bodies: list[str] = []

    def served_by(worker: str) -> Workflow:
        workflow = Workflow("given-back")

        @task
        async def work() -> str:
            bodies.append(worker)
            if worker == "old":
                await gates["it"].wait()
            return "done"

        @workflow.start()
        async def start(ctx: Context) -> Directive:
            if ctx.run.wf_id != "it":
                await gates[ctx.run.wf_id].wait()
                return ctx.next.complete("done")
            return ctx.next.complete(await work())

        return workflow

    old = await serve(served_by("old"))
    it = await client.start_workflow("given-back", "it")
    for wf_id in ("in the first batch", "in the second"):
        await client.start_workflow("given-back", wf_id)
    await wait_until(lambda: bodies and len(old.slots.executors) == 3, "all run", timeout=30)
    await serve(served_by("new"))
    async with locked(database, "in the second"):
        async with locked(database, "in the first batch"):
            gates["in the first batch"].set()
            await wait_until(lambda: is_blocked(database), "the first batch waits", timeout=30)
            gates["in the second"].set()
            if ending is RunStatus.COMPLETED:
                gates["it"].set()
            else:
                await it.cancel()
            await wait_until(lambda: old.journal.waiting >= 2, "the second is there", timeout=30)
        # An end that waits for the lock, and the row of ours in the same transaction.
        await wait_until(lambda: not old.journal.waiting, "the second is sent", timeout=30)
        await wait_until(lambda: is_blocked(database), "and waits", timeout=30)
        stopping = asyncio.create_task(old.stop(shutdown_timeout=0))
        await wait_until(lambda: old.journal.is_fenced, "the time for the stop is over", timeout=30)
        # If it were given back already, it would be claimed before these.
        for wf_id in ("later", "last"):
            gates[wf_id].set()
            handle = await client.start_workflow("given-back", wf_id)
            assert await handle.result(timeout=30) == "done"

    await stopping
    await wait_until(lambda: ended(database, "it"), "the run has ended", timeout=30)
    assert (await client.describe("it")).status is ending
    assert await kinds_of(database, "it") == kinds
    assert bodies.count("old") == 1


async def ended(database: Database, wf_id: str) -> bool:
    sql = "select ended_at is not null from grctl.runs where wf_id = $1"
    return bool(await database.fetchval(sql, wf_id))


@asynccontextmanager
async def locked(database: Database, wf_id: str) -> AsyncIterator[None]:
    """Somebody has the run's row locked."""
    rival = await asyncpg.connect(database.dsn)
    try:
        async with rival.transaction():
            await rival.execute("select from grctl.runs where wf_id = $1 for update", wf_id)
            yield
    finally:
        await rival.close()


async def kinds_of(database: Database, wf_id: str) -> list[str]:
    # The start of a task is a row of its own where it takes long.
    rows = await database.fetch(
        "select e.kind from grctl.events e join grctl.runs r using (run_id) "
        "where r.wf_id = $1 and e.kind <> 'task.started' order by e.seq",
        wf_id,
    )
    return [row["kind"] for row in rows]


async def is_blocked(database: Database) -> bool:
    waiting = await database.fetchval(
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock'"
    )
    return bool(waiting)
