"""Restate's side that executes: served by granian, called by the Restate server."""

from __future__ import annotations

import asyncio
from typing import Any

import restate
from restate import Context, Service, Workflow, WorkflowContext, WorkflowSharedContext

from benchmarks.drivers.wire import note_execution

bench = Service("bench")
waiting = Workflow("waiting")


async def noop(i: int) -> int:
    return i


async def give(size: int) -> str:
    return "x" * size


async def slow(run: str, i: int, seconds: float, log: str) -> int:
    note_execution(log, run, i)
    await asyncio.sleep(seconds)
    return i


@bench.handler()
async def tasks(ctx: Context, given: dict[str, Any]) -> int:
    for i in range(given["count"]):
        await ctx.run_typed("noop", noop, i=i)
    return int(given["count"])


@bench.handler()
async def payloads(ctx: Context, given: dict[str, Any]) -> int:
    total = 0
    for _ in range(given["count"]):
        total += len(await ctx.run_typed("give", give, size=given["size"]))
    return total


@bench.handler()
async def gathered(ctx: Context, given: dict[str, Any]) -> int:
    calls = [ctx.run_typed("noop", noop, i=i) for i in range(given["count"])]
    return sum([await each for each in await restate.gather(*calls)])


@bench.handler()
async def child(_ctx: Context, number: int) -> int:
    return number


@bench.handler()
async def parent(ctx: Context, given: dict[str, Any]) -> int:
    calls = [ctx.service_call(child, i) for i in range(given["count"])]
    return sum([await each for each in await restate.gather(*calls)])


@bench.handler()
async def slowly(ctx: Context, given: dict[str, Any]) -> int:
    for i in range(given["count"]):
        await ctx.run_typed(
            "slow", slow, run=given["run"], i=i, seconds=given["seconds"], log=given["log"]
        )
    return int(given["count"])


@waiting.main()
async def listen(ctx: WorkflowContext) -> int:
    return await ctx.promise("ping", type_hint=int).value()


@waiting.handler()
async def ping(ctx: WorkflowSharedContext, number: int) -> None:
    await ctx.promise("ping", type_hint=int).resolve(number)


app = restate.app([bench, waiting])
