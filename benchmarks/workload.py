"""The workflows that are measured: steps that do nothing but be recorded."""

from __future__ import annotations

from grctl import Context, Directive, Workflow, task


@task
async def noop(i: int) -> int:
    """The least a task can do."""
    return i


tasks = Workflow("bench.tasks")


@tasks.start()
async def run_tasks(ctx: Context, count: int) -> Directive:
    """So many tasks, one after the other."""
    for i in range(count):
        await noop(i)
    return ctx.next.complete()
