"""A server that is far away: every answer takes a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from grctl.client import Client
from grctl.worker import Context
from grctl.workflow import Directive, Workflow
from tests.support import Database
from tests.support.proxy import proxied


async def test_a_timer_goes_off_though_each_answer_takes_longer_than_what_counts_as_due(
    database: Database, client: Client, serve: Any
) -> None:
    workflow = Workflow("far")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.wait(timedelta(milliseconds=500), on_timeout=rung)

    @workflow.step()
    async def rung(ctx: Context) -> Directive:
        return ctx.next.complete("rung")

    async with proxied(database.dsn) as proxy:
        proxy.delay = 0.02
        worker = await serve(workflow, changed={"database_url": proxy.url})
        handle = await client.start_workflow("far", "a")

        assert await handle.result(timeout=30) == "rung"
        await worker.stop(0)
