"""A step that was running at three crashes begins alone, and not for longer than a few seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grctl import Client, Context, Directive, Worker, Workflow, task
from tests.support import Database, wait_until

NEVER_POLLED = {"poll_seconds": 300}

begun: list[str] = []
gates: dict[str, asyncio.Event] = {}
guarded = Workflow("suspects.guarded")


@task
async def pass_gate(name: str) -> None:
    begun.append(name)
    await gates.setdefault(name, asyncio.Event()).wait()


@guarded.start()
async def begin(ctx: Context) -> Directive:
    await pass_gate(ctx.run.wf_id)
    return ctx.next.step(go_on)


@guarded.step()
async def go_on(ctx: Context) -> Directive:
    await pass_gate(f"{ctx.run.wf_id} went on")
    return ctx.next.complete()


@pytest.fixture(autouse=True)
def closed_gates() -> None:
    begun.clear()
    gates.clear()


async def with_a_suspect(database: Database, client: Client, serve: Any) -> Worker:
    """A worker that begins with a suspect, while a good run is due, too."""
    await client.database.fetch(
        "types", "register", "suspects.guarded", "begin", ["begin", "go_on"], [], [], []
    )
    for name in ("suspect", "good"):
        await client.start_workflow("suspects.guarded", name)
    await database.execute("update grctl.runs set crashes = 3 where wf_id = 'suspect'")
    worker: Worker = await serve(guarded, changed=NEVER_POLLED)
    await wait_until(lambda: begun, "the first run has begun")
    return worker


async def test_nothing_begins_beside_a_suspect_until_its_step_has_ended(
    database: Database, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.worker.suspects.ALONE_SECONDS", 600.0)
    worker = await with_a_suspect(database, client, serve)
    ours = await worker.client.start_workflow("suspects.guarded", "ours")
    assert worker.slots.free == 0
    owners = "select wf_id, owner is not null from grctl.runs"
    assert dict(await database.fetch(owners)) == {"suspect": True, "good": False, "ours": False}

    gates["suspect"].set()

    await wait_until(lambda: len(begun) == 4, "all go on")  # sooner than it may be alone
    assert begun[0] == "suspect"
    assert set(begun[1:]) == {"suspect went on", "good", "ours"}
    for name in begun:
        gates[name].set()
    for name in ("good", "ours"):
        await wait_until(lambda name=name: f"{name} went on" in begun, f"{name} goes on")
        gates[f"{name} went on"].set()
    await ours.result(timeout=10)


async def test_a_suspect_that_lives_on_holds_up_nobody_for_long(
    database: Database, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.worker.suspects.ALONE_SECONDS", 0.5)
    worker = await with_a_suspect(database, client, serve)

    await wait_until(lambda: begun == ["suspect", "good"], "the other has begun")

    assert worker.slots.free == worker.concurrency - 2
