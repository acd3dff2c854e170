"""A workflow type may be any text."""

from __future__ import annotations

from typing import Any

import pytest

from grctl.client import Client
from grctl.worker import Context
from grctl.workflow import Directive, Workflow


@pytest.mark.parametrize("wf_type", ["two\nlines", "*", " ", "ünïcode", "\t'\"\\"])
async def test_who_serves_a_type_with_an_odd_name_is_woken(
    client: Client, serve: Any, wf_type: str
) -> None:
    workflow = Workflow(wf_type)

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.complete(ctx.run.wf_type)

    await serve(workflow, changed={"poll_seconds": 300.0})
    handle = await client.start_workflow(wf_type, "a")

    assert await handle.result(timeout=30) == wf_type
