"""Workflows whose histories the tests of reading know."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

shop = Workflow("shop")
parked = Workflow("parked")
ALL = [shop, parked]


@task
async def price(item: str) -> int:
    return len(item)


attempts: dict[str, int] = {}


@task(retry_policy=RetryPolicy(max_attempts=2, initial_delay_ms=1))
async def pay(account: str, amount: int) -> str:
    attempts[account] = attempts.get(account, 0) + 1
    if attempts[account] == 1:
        raise ConnectionError("no answer")
    if amount > 100:
        raise ValueError("too much")
    return "paid"


@shop.start()
async def buy(ctx: Context, item: str, amount: int = 1) -> Directive:
    await price(item)
    return ctx.next.complete({"item": item, "paid": await pay(str(ctx.run.id), amount)})


@parked.start()
async def park(ctx: Context, timeout_ms: int | None = None) -> Directive:
    timeout = None if timeout_ms is None else timedelta(milliseconds=timeout_ms)
    return ctx.next.wait(timeout, late if timeout_ms is not None else None)


@parked.event()
async def go(ctx: Context, n: int) -> Directive:
    doubled, _ = await asyncio.gather(price("x" * n), price("y"))
    return ctx.next.complete(doubled)


@parked.step()
async def late(ctx: Context) -> Directive:
    return ctx.next.complete("late")


@parked.event()
async def hang(ctx: Context) -> Directive:
    await asyncio.Event().wait()
    return ctx.next.complete()
