"""What a task raises that is no error: it ends the worker, and no run."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from grctl.client import Client, Connection
from grctl.settings import Settings
from grctl.worker import Context, Worker, task
from grctl.workflow import Directive, Workflow
from tests.support import Database


class Fatal(BaseException):
    """As SystemExit is, which asyncio would let out of the test's own loop."""


@task
async def fail() -> None:
    raise Fatal


@task
async def compensate() -> None:
    """Must not begin."""


async def catch() -> None:
    with contextlib.suppress(BaseException):
        await fail()


async def gather() -> None:
    await asyncio.gather(fail(), return_exceptions=True)


async def catch_and_go_on() -> None:
    await catch()
    with contextlib.suppress(BaseException):
        await compensate()


@pytest.mark.parametrize("hide", [catch, gather, catch_and_go_on])
async def test_code_that_hides_what_ends_the_worker_does_not_keep_it_from_ending(
    database: Database, client: Client, settings: Settings, hide: Any
) -> None:
    workflow = Workflow("fatal")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        await hide()
        return ctx.next.complete("all is well")

    async with await Connection.connect(settings=settings) as connection:
        worker = Worker([workflow], connection)
        running = asyncio.create_task(worker.start())
        await worker.wait_until_ready()
        await client.start_workflow("fatal", "a")
        try:
            with pytest.raises(Fatal):
                await asyncio.wait_for(running, 30)
        finally:
            await worker.stop(0)
    assert await database.fetchval("select status from grctl.runs") == "running"
    assert await database.fetchval("select count(*) from grctl.events") == 0
