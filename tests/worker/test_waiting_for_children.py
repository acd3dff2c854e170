"""A process's waiters outlive the step that was the first to wait: they are no part of it."""

from __future__ import annotations

from grctl.worker import Context
from grctl.workflow import Directive, Workflow

parent = Workflow("waiting.parent")
child = Workflow("waiting.child")


@parent.start()
async def begin(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.run_child("waiting.child", f"{ctx.run.wf_id}-child"))


@child.start()
async def answer(ctx: Context) -> Directive:
    return ctx.next.complete("done")


async def test_the_second_parent_is_told_of_its_child_too(client, serve) -> None:
    await serve(parent, child)
    for n in range(2):
        handle = await client.start_workflow("waiting.parent", f"parent-{n}")
        assert await handle.result(timeout=30) == "done"
