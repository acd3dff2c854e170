"""Workflows that write down what they do, and stand before gates until the test opens them."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from typing import Any

from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow
from tests.support.ledger import ledger


class PaymentDeclinedError(Exception):
    """An error whose constructor is not that of Exception."""

    def __init__(self, code: str, *, amount: int) -> None:
        super().__init__(f"declined with {code}")
        self.code = code
        self.amount = amount


def seen(run: str, key: str, value: object) -> None:
    """What a step's own code saw: once on each path."""
    ledger().note("seen", run, key, value)


@task
async def act(run: str, key: str, gate: str | None = None) -> str:
    ledger().note("start", run, key)
    if gate is not None:
        await ledger().pass_gate(gate)
    ledger().note("end", run, key)
    return f"{key} of {run}"


@task
async def pay(run: str, amount: int) -> str:
    ledger().note("start", run, "pay")
    raise PaymentDeclinedError("insufficient", amount=amount)


@task(retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=2500, backoff_multiplier=1.0))
async def flaky(run: str) -> str:
    ledger().note("start", run, "flaky")
    if ledger().count("start", run, "flaky") < 3:
        raise ConnectionError("not yet")
    return "at last"


@task
async def lethal(run: str) -> None:
    ledger().note("start", run, "lethal")
    os._exit(9)


@task
async def leave(run: str) -> str:
    ledger().note("start", run, "leave")
    if ledger().count("start", run, "leave") == 1:
        raise SystemExit(3)
    return "stayed"


chain = Workflow("chaos.chain")


@chain.start()
async def chain_start(ctx: Context, tasks: int, gate_at: int | None = None) -> Directive:
    """Tasks one after another; before one of them a gate."""
    run = ctx.run.wf_id
    results = [await act(run, str(i), run if i == gate_at else None) for i in range(tasks)]
    ctx.store.put("first", results)
    return ctx.next.step(chain_second)


@chain.step()
async def chain_second(ctx: Context) -> Directive:
    last = await act(ctx.run.wf_id, "last")
    return ctx.next.complete([*await ctx.store.get("first"), last])


errors = Workflow("chaos.errors")


@errors.start()
async def errors_start(ctx: Context) -> Directive:
    run = ctx.run.wf_id
    try:
        await pay(run, 700)
    except PaymentDeclinedError as error:
        told = [type(error).__name__, error.code, error.amount, list(error.args), str(error)]
        seen(run, "pay", told)
    await act(run, "gate", run)
    return ctx.next.complete(told)


branches = Workflow("chaos.branches")


@branches.start()
async def branches_start(ctx: Context, width: int) -> Directive:
    """Branches that end in another order than they begin: the last one has its gate first."""
    run = ctx.run.wf_id

    async def branch(number: int) -> list[str]:
        key = await ctx.uuid4()
        seen(run, f"uuid {number}", key)
        first = await act(run, f"{number} {key}", f"{run} {number}")
        again = await ctx.uuid4()
        second = await act(run, f"{number} {again} after", f"{run} {number} after")
        return [first, second]

    async with asyncio.TaskGroup() as group:
        made = [group.create_task(branch(number)) for number in range(width)]
    return ctx.next.complete([each.result() for each in made])


retries = Workflow("chaos.retries")


@retries.start()
async def retries_start(ctx: Context) -> Directive:
    return ctx.next.complete(await flaky(ctx.run.wf_id))


values = Workflow("chaos.values")


@values.start()
async def values_start(ctx: Context, sleep_ms: int) -> Directive:
    run = ctx.run.wf_id
    now, dice, uuid = await ctx.now(), await ctx.random(), await ctx.uuid4()
    seen(run, "values", [now.isoformat(), dice, str(uuid)])
    await ctx.sleep(timedelta(milliseconds=sleep_ms))
    seen(run, "slept", "")
    return ctx.next.complete([now.isoformat(), dice, str(uuid)])


poison = Workflow("chaos.poison")


@poison.start()
async def poison_start(ctx: Context) -> Directive:
    await lethal(ctx.run.wf_id)
    return ctx.next.complete()


leaver = Workflow("chaos.leaver")


@leaver.start()
async def leaver_start(ctx: Context) -> Directive:
    return ctx.next.complete(await leave(ctx.run.wf_id))


blocker = Workflow("chaos.blocker")


@blocker.start()
async def blocker_start(ctx: Context, seconds: float) -> Directive:
    ledger().note("start", ctx.run.wf_id, "block")
    block_the_loop(seconds)
    return ctx.next.complete("unblocked")


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


steps = Workflow("chaos.steps")


@steps.start()
async def steps_start(ctx: Context) -> Directive:
    return ctx.next.step(steps_one)


@steps.step()
async def steps_one(ctx: Context) -> Directive:
    """Goes on for as long as nobody stops it: one step after the other."""
    n: Any = await ctx.store.get("n", int, default=0)
    ctx.store.put("n", n + 1)
    await act(ctx.run.wf_id, str(n), ctx.run.wf_id if n == 0 else None)
    return ctx.next.complete(n) if ledger().is_open("enough") else ctx.next.step(steps_one)
