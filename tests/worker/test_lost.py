"""A run that is not this worker's any more: its step stops where it is, and does nothing else."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import asyncpg
import pytest

from grctl.client import Client
from grctl.worker import Context, Worker, task
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until


@pytest.mark.parametrize("how", ["the worker was declared dead", "the run alone was taken away"])
async def test_a_step_that_lost_its_run_begins_no_compensation(
    database: Database, client: Client, serve: Any, how: str
) -> None:
    workflow, gate = Workflow("lost"), asyncio.Event()
    bodies: list[str] = []
    ends: list[str] = []

    @task
    async def work() -> None:
        bodies.append("work")
        await gate.wait()

    @task
    async def compensate() -> None:
        bodies.append("compensate")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        try:
            await work()
            await compensate()
        except Exception:  # noqa: BLE001 - as users write it
            ends.append("exception")
            await compensate()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        raise AssertionError

    worker = await serve(workflow)
    await client.start_workflow("lost", "a")
    await wait_until(lambda: bodies == ["work"], "the task runs")
    # No notification tells the worker: it finds out by its record, which is not written.
    if how == "the worker was declared dead":
        await database.execute(
            "update grctl.runs set owner = null, epoch = epoch + 1, status = 'terminated', "
            "ended_at = now()"
        )
        await database.execute("delete from grctl.writers where worker_no = $1", worker.worker_no)
        await database.execute(
            "update grctl.workers set ended_at = now(), end_reason = 'lost' where worker_no = $1",
            worker.worker_no,
        )
    else:
        await database.execute(
            "update grctl.runs set owner = null, epoch = epoch + 1, status = 'terminated', "
            "ended_at = now()"
        )
    gate.set()
    await wait_until(lambda: ends, "the step was stopped")
    await wait_until(lambda: not worker.slots.executors, "and came to its end")

    assert bodies == ["work"]
    assert ends == ["cancelled"]
    # Its start may have been noted, where it stood for more than a second before the loss.
    outcomes = "select count(*) from grctl.events where kind <> 'task.started'"
    assert await database.fetchval(outcomes) == 0
    assert await database.fetchval("select count(*) from grctl.events") == 0


async def test_a_start_on_its_way_when_the_lease_is_lost_is_nobodys_error(
    database: Database, client: Client, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    workflow, gate = Workflow("lost"), asyncio.Event()

    @task
    async def stand() -> None:
        await gate.wait()

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        await stand()
        return ctx.next.complete()

    worker: Worker = await serve(workflow)
    handle = await client.start_workflow("lost", "a")

    def is_noted() -> bool:
        scopes = [held.run.scope for held in worker.slots.executors.values()]
        return any(call.noted for scope in scopes if scope for call in scope.active.values())

    blocker = await asyncpg.connect(database.dsn)
    async with blocker.transaction():
        await blocker.execute("lock table grctl.events")
        await wait_until(is_noted, "the task's start is on its way", timeout=30)
        worker.journal.fence()
    await blocker.close()
    gate.set()
    await handle.result(timeout=30)

    gc.collect()  # asyncio complains when the future goes
    assert "never retrieved" not in caplog.text
