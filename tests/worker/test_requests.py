"""What a client asks for and cannot have is refused at the client, and harms no run."""

from __future__ import annotations

import asyncio
import functools
import math
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.errors import (
    WorkflowAlreadyRunningError,
    WorkflowError,
    WorkflowNotFoundError,
    WorkflowTypeNotRegisteredError,
)
from grctl.worker import Context
from grctl.workflow import Directive, Workflow
from tests.support import Database


async def test_requests_that_cannot_be_met_are_refused_at_their_sender(
    client: Client, serve: Any
) -> None:
    workflow, gate = Workflow("open"), asyncio.Event()

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        await gate.wait()
        return ctx.next.complete()

    await serve(workflow)
    handle = await client.start_workflow("open", "a")
    with pytest.raises(WorkflowAlreadyRunningError, match="'a'"):
        await client.start_workflow("open", "a")
    with pytest.raises(WorkflowTypeNotRegisteredError, match="'unknown'"):
        await client.start_workflow("unknown", "b")
    with pytest.raises(WorkflowNotFoundError, match="'nobody'"):
        await client.get_workflow_handle("nobody")
    for bad in ("", "x" * 256, "a\0b", "a\ud800", 7):
        with pytest.raises(ValueError, match="a workflow id must"):
            await client.start_workflow("open", bad)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValueError, match="timeout must be positive"):
        await client.start_workflow("open", "c", timeout=timedelta(0))
    with pytest.raises(ValueError, match="workflow input"):
        await client.start_workflow("open", "d", {"x": object()})
    gate.set()
    await handle.result(timeout=10)
    for request in (handle.cancel(), handle.terminate(), handle.send("x")):
        with pytest.raises(WorkflowError, match="has ended"):
            await request
    await client.run_workflow("open", "a")  # the id is free again


async def test_ids_of_any_script_and_length_are_taken(client: Client, serve: Any) -> None:
    workflow = Workflow("ünïcode ✓ \n'\"; drop table")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.complete(ctx.run.wf_id)

    await serve(workflow)
    for name in ("x" * 255, "日本語" * 80, "a\nb\t'\"\\", " ", "%s $1 {}"):
        assert await client.run_workflow(workflow.workflow_type, name) == name


async def test_what_no_name_or_number_of_seconds_can_be_is_refused_before_it_is_sent(
    database: Database, client: Client, serve: Any
) -> None:
    workflow = Workflow("strict")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.wait()

    @workflow.update()
    async def add(ctx: Context, n: int) -> tuple[Directive, int]:
        return ctx.next.wait(), n

    @workflow.query()
    async def one(ctx: Context) -> int:
        return 1

    await serve(workflow)
    handle: Any = await client.start_workflow("strict", "a")
    for name in ("a\0b", "\ud800", 5):
        for call in (handle.send(name), handle.query(name), handle.update(name)):
            with pytest.raises(WorkflowError, match="'strict' handles no"):
                await call
        for look in (client.describe, client.get_history, client.get_workflow_handle):
            with pytest.raises(WorkflowNotFoundError, match="no workflow with the id"):
                await look(name)  # type: ignore[operator]  # that is the test
        for end in (handle.cancel, handle.terminate):
            with pytest.raises(ValueError, match="a reason must be a string"):
                await end(name)
    for wait in (
        handle.result,
        functools.partial(handle.query, "one"),
        functools.partial(handle.update, "add", 1),
    ):
        with pytest.raises(TypeError, match=r"number of seconds, not timedelta .* \.total_seconds"):
            await wait(timeout=timedelta(seconds=5))
        with pytest.raises(ValueError, match="not NaN"):
            await wait(timeout=math.nan)
    with pytest.raises(TypeError, match="number of seconds, not None"):
        await handle.query("one", timeout=None)

    assert await handle.query("one", timeout=math.inf) == 1
    assert await database.fetchval("select inbox_tail from grctl.runs") == 0  # nothing was sent
    assert await handle.update("add", 7, timeout=30) == 7
