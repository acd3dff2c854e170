"""Workflows that are looked at from outside: their metrics, spans and log lines."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

log = logging.getLogger("shop")

order = Workflow("observed.order")
parcel = Workflow("observed.parcel")
blocking = Workflow("observed.blocking")
dying = Workflow("observed.dying")


class DeclinedError(Exception):
    """The card is no good."""


@task
async def reserve(item: str) -> str:
    log.info("reserving %s", item)
    return item


@task
def weigh(item: str) -> int:
    log.info("weighing %s", item)
    return len(item)


@task(retry_policy=RetryPolicy(max_attempts=2, initial_delay_ms=1))
async def charge(place: str) -> str:
    marker = Path(place) / "charged"
    if not marker.exists():
        marker.touch()
        raise DeclinedError("once")
    return "receipt"


@order.start()
async def begin(ctx: Context, items: list[str], place: str) -> Directive:
    await asyncio.gather(*(reserve(item) for item in items))
    await weigh(items[0])
    ctx.logger.info("reserved all")
    ctx.store.put("place", place)
    return ctx.next.step(pay)


@order.step()
async def pay(ctx: Context) -> Directive:
    await charge(await ctx.store.get("place"))
    await ctx.run_child("observed.parcel", f"{ctx.run.wf_id}-parcel")
    return ctx.next.wait()


@order.event()
async def picked_up(ctx: Context, fails: bool) -> Directive:
    if fails:
        raise DeclinedError("at the door")
    return ctx.next.complete("delivered")


@parcel.start()
async def pack(ctx: Context) -> Directive:
    return ctx.next.complete(await weigh("parcel"))


@task
async def block(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the fault that is to be seen


@blocking.start()
async def stall(ctx: Context, seconds: float) -> Directive:
    await block(seconds)
    return ctx.next.complete(None)


@task
async def note(place: str, name: str) -> None:
    (Path(place) / name).touch()


@task
async def wait_for_file(place: str, name: str) -> None:
    while not (Path(place) / name).exists():  # noqa: ASYNC110 - the event is another process's
        await asyncio.sleep(0.02)


@dying.start()
async def live_twice(ctx: Context, place: str) -> Directive:
    await note(place, "begun")
    await wait_for_file(place, "go on")
    await note(place, "ended")
    return ctx.next.complete("survived")
