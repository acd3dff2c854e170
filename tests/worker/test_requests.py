"""What a client asks for and cannot have is refused at the client, and harms no run."""

from __future__ import annotations

import asyncio
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
