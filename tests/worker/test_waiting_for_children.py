"""A process's waiters outlive the step that was the first to wait: they are no part of it."""

from __future__ import annotations

import asyncio

import pytest

from grctl.client import Connection
from grctl.worker import Context, Worker
from grctl.workflow import Directive, Workflow
from tests.support import wait_until

parent = Workflow("waiting.parent")
child = Workflow("waiting.child")
patient = Workflow("waiting.patient")
waiter = Workflow("waiting.waiter")


@parent.start()
async def begin(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.run_child("waiting.child", f"{ctx.run.wf_id}-child"))


@child.start()
async def answer(ctx: Context) -> Directive:
    return ctx.next.complete("done")


@patient.start()
async def wait_for_word(ctx: Context) -> Directive:
    return ctx.next.wait()


@patient.event()
async def word(ctx: Context, text: str) -> Directive:
    return ctx.next.complete(text)


@waiter.start()
async def wait_for_child(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.run_child("waiting.patient", "the child"))


async def test_the_second_parent_is_told_of_its_child_too(client, serve) -> None:
    await serve(parent, child)
    for n in range(2):
        handle = await client.start_workflow("waiting.parent", f"parent-{n}")
        assert await handle.result(timeout=30) == "done"


async def test_a_connection_closed_under_its_worker_ends_no_run(client, serve, settings) -> None:
    await serve(patient)
    connection = await Connection.connect(settings=settings)
    worker = Worker([waiter], connection)
    working = asyncio.create_task(worker.start())
    await worker.wait_until_ready()
    handle = await client.start_workflow("waiting.waiter", "the parent")

    async def child_waits() -> bool:
        runs = await client.list_workflows(type="waiting.patient", status="waiting")
        return bool(runs)

    await wait_until(child_waits, "the child was started", timeout=30)
    await connection.close()  # the worker was not stopped
    with pytest.raises(RuntimeError, match="the connection is closed"):
        await asyncio.wait_for(working, 30)

    await serve(waiter)
    await (await client.get_workflow_handle("the child")).send("word", "come")
    assert await handle.result(timeout=30) == "come"
