"""Steps that do not stop when they are stopped: their runs end without them."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.errors import StepFailed
from grctl.models.history import EventReceived
from grctl.worker import Context
from grctl.workflow import Directive, Workflow


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
