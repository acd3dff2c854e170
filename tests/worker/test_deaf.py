"""Steps that do not stop when they are stopped, or stop what is not theirs: their runs go on."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from grctl.client import Client
from grctl.errors import StepFailed
from grctl.models.history import EventReceived
from grctl.worker import Context
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until


async def test_a_handler_that_is_left_to_itself_has_its_message_in_the_history(
    client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.worker.watch.GRACE_SECONDS", 0.3)
    workflow, gate = Workflow("deaf"), asyncio.Event()

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.wait()

    @workflow.event(timeout=timedelta(milliseconds=200))
    async def told(ctx: Context, number: int) -> Directive:
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        return ctx.next.complete("never")

    await serve(workflow)
    handle = await client.start_workflow("deaf", "a")
    await handle.send("told", 7)
    with pytest.raises(StepFailed, match="step told timed out"):
        await handle.result(timeout=30)
    gate.set()

    received = [e.msg for e in await client.get_history("a") if e.kind == "event.received"]
    assert received == [EventReceived("told", 7)]


async def test_code_that_cancels_its_run_between_two_steps_does_not_leave_it_hanging(
    database: Database, client: Client, serve: Any
) -> None:
    """As a timer does that a step set for itself, and forgot."""
    workflow, gate, tasks = Workflow("forgetful"), asyncio.Event(), []

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        tasks.append(asyncio.current_task())
        await gate.wait()
        return ctx.next.wait()

    @workflow.event()
    async def told(ctx: Context, number: int) -> Directive:
        return ctx.next.complete(number)

    await serve(workflow)
    handle = await client.start_workflow("forgetful", "a")
    await wait_until(lambda: tasks, "the step runs")
    await handle.send("told", 7)
    blocker = await asyncpg.connect(database.dsn)
    async with blocker.transaction():
        await blocker.execute("lock table grctl.inbox in access exclusive mode")
        gate.set()
        blocked = "select from pg_locks where relation = 'grctl.inbox'::regclass and not granted"
        await wait_until(lambda: blocker.fetch(blocked), "the event is read", timeout=30)
        tasks[0].cancel()
        await asyncio.wait(tasks)
    await blocker.close()

    assert await handle.result(timeout=30) == 7
