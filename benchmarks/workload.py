"""grctl's workflows that are measured: steps that do nothing but be recorded."""

from __future__ import annotations

import asyncio

from benchmarks.drivers.wire import note_execution
from grctl import Context, Directive, Workflow, task

__all__ = ["ALL", "tasks"]


@task
async def noop(i: int) -> int:
    """The least a task can do."""
    return i


@task
async def give(i: int, size: int) -> str:
    """A result of so many bytes."""
    return "x" * size


@task
async def slow(run: str, i: int, seconds: float, log: str) -> int:
    """A task that takes its time, and leaves a line for each execution."""
    note_execution(log, run, i)
    await asyncio.sleep(seconds)
    return i


tasks = Workflow("bench.tasks")
payloads = Workflow("bench.payloads")
gathered = Workflow("bench.gathered")
chain = Workflow("bench.chain")
answers = Workflow("bench.answers")
child = Workflow("bench.child")
parent = Workflow("bench.parent")
slowly = Workflow("bench.slowly")
ALL = (tasks, payloads, gathered, chain, answers, child, parent, slowly)


@tasks.start()
async def run_tasks(ctx: Context, count: int) -> Directive:
    """So many tasks, one after the other."""
    for i in range(count):
        await noop(i)
    return ctx.next.complete(count)


@payloads.start()
async def run_payloads(ctx: Context, count: int, size: int) -> Directive:
    """So many tasks that give so many bytes each."""
    total = 0
    for i in range(count):
        total += len(await give(i, size))
    return ctx.next.complete(total)


@gathered.start()
async def run_gathered(ctx: Context, count: int) -> Directive:
    """So many tasks at once."""
    return ctx.next.complete(sum(await asyncio.gather(*(noop(i) for i in range(count)))))


@chain.start()
async def first(ctx: Context, steps: int) -> Directive:
    """So many steps of one task each."""
    ctx.store.put("left", steps - 1)
    await noop(steps)
    return ctx.next.step(link) if steps > 1 else ctx.next.complete(steps)


@chain.step()
async def link(ctx: Context) -> Directive:
    left = await ctx.store.get("left", int)
    await noop(left)
    ctx.store.put("left", left - 1)
    return ctx.next.step(link) if left > 1 else ctx.next.complete(left)


@answers.start()
async def listen(ctx: Context) -> Directive:
    """Wait for a ping, and be done."""
    return ctx.next.wait()


@answers.event()
async def ping(ctx: Context, number: int) -> Directive:
    return ctx.next.complete(number)


@child.start()
async def run_child(ctx: Context, number: int) -> Directive:
    return ctx.next.complete(number)


@parent.start()
async def run_parent(ctx: Context, count: int) -> Directive:
    """So many children at once, each awaited."""
    wf_id = ctx.run.wf_id
    results = await asyncio.gather(
        *(ctx.run_child("bench.child", f"{wf_id}/{i}", {"number": i}) for i in range(count))
    )
    return ctx.next.complete(sum(results))


@slowly.start()
async def run_slowly(ctx: Context, count: int, seconds: float, log: str) -> Directive:
    """So many tasks that take their time."""
    for i in range(count):
        await slow(ctx.run.wf_id, i, seconds, log)
    return ctx.next.complete(count)
