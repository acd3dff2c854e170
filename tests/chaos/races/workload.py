"""The run that races: it waits for an event or its timer, whichever comes first."""

from __future__ import annotations

from datetime import timedelta

from grctl.models import Directive
from grctl.worker import Context
from grctl.workflow import Workflow

race = Workflow("races.close")


@race.start()
async def begin(ctx: Context, timeout_ms: int, told: bool = False) -> Directive:
    """Wait at once, or when ``told``."""
    if not told:
        return _wait(ctx, timeout_ms)
    ctx.store.put("timeout_ms", timeout_ms)
    return ctx.next.wait()


@race.event("told")
async def wait_now(ctx: Context) -> Directive:
    return _wait(ctx, await ctx.store.get("timeout_ms"))


@race.step()
async def late(ctx: Context) -> Directive:
    ctx.store.put("late", "yes")
    return ctx.next.wait()


@race.event()
async def hit(ctx: Context) -> Directive:
    return ctx.next.complete("timer" if "late" in await ctx.store.keys() else "event")


def _wait(ctx: Context, timeout_ms: int) -> Directive:
    return ctx.next.wait(timeout=timedelta(milliseconds=timeout_ms), on_timeout=late)
