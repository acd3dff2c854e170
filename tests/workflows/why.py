"""Workflows that stand still in ways that those of the features do not."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import timedelta

from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

silent = Workflow("why.silent")


@silent.start()
async def begin_silently(ctx: Context) -> Directive:
    return ctx.next.wait()


retried = Workflow("why.retried")


@retried.start()
async def begin(ctx: Context) -> Directive:
    return ctx.next.step(buy)


@retried.step(
    retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=3_600_000, max_delay_ms=3_600_000)
)
async def buy(ctx: Context) -> Directive:
    raise ValueError("the shop is shut")


asking = Workflow("why.asking")


@asking.start()
async def ask(ctx: Context) -> Directive:
    """Waits in its step for a child that waits."""
    return ctx.next.complete(await ctx.run_child("why.silent", f"{ctx.run.wf_id}/child"))


lethal = Workflow("why.lethal")


@task
async def kill() -> None:
    os._exit(9)


@lethal.start()
async def die(ctx: Context) -> Directive:
    await kill()
    return ctx.next.complete()


hanging = Workflow("why.hanging")


@task(timeout=timedelta(minutes=2))
async def hang() -> None:
    await asyncio.Event().wait()


@hanging.start()
async def stand(ctx: Context) -> Directive:
    await hang()
    return ctx.next.complete()


@hanging.event()
async def more(ctx: Context) -> Directive:
    return ctx.next.wait()


standing = Workflow("why.standing")


@standing.start()
async def stand_still(ctx: Context, how: str) -> Directive:
    """Stands in its own code, in an asyncio task of it, in a task, in a thread; or blocks all."""
    if how == "code":
        await never()
    elif how == "branch":
        await asyncio.create_task(never())
    elif how == "quick task":
        await hang()
    elif how == "thread":
        await wait_in_thread()
    else:
        block()
    return ctx.next.complete()


async def never() -> None:
    await asyncio.Event().wait()


let_go = threading.Event()


@task
def wait_in_thread() -> None:
    let_go.wait(120)


def block() -> None:
    let_go.wait(120)


ALL = (silent, retried, asking, lethal, hanging, standing)
