"""A step that reads its store: the first time it waits for that, in a replay it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from grctl.client import Client
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until


@task
async def note(what: str, number: int) -> int:
    return number


quick = Workflow("quick")


@quick.start()
async def be_quick(ctx: Context) -> Directive:
    return ctx.next.complete(await note("quick", 0))


async def test_no_outcome_overtakes_code_that_waits_for_its_store(
    database: Database, client: Client, serve: Any, lose: Any
) -> None:
    workflow, gate, ended = Workflow("reader"), asyncio.Event(), []

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        done: list[int] = []

        async def read() -> None:
            await ctx.store.keys()
            await note("read", len(done))  # a replay has read already: nothing is done by then

        async def work() -> None:
            done.append(await note("work", 1))

        await asyncio.gather(read(), work())
        ended.append(done)
        await gate.wait()
        return ctx.next.complete()

    worker = await serve(workflow, quick)
    blocker = await asyncpg.connect(database.dsn)
    async with blocker.transaction():
        await blocker.execute("lock table grctl.store in access exclusive mode")
        handle = await client.start_workflow("reader", "a")
        worked = "select from grctl.events where input ->> 'what' = 'work'"
        await wait_until(lambda: database.fetch(worked), "the work is recorded", timeout=30)
        await client.run_workflow("quick", "b")  # so the worker has heard of what was before
    await blocker.close()
    await wait_until(lambda: len(ended) == 1, "the step came to its gate", timeout=30)
    await lose(worker)
    await wait_until(lambda: len(ended) == 2, "and again", timeout=30)
    gate.set()

    await handle.result(timeout=30)
