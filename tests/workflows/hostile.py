"""Workflows whose errors and values would steer a terminal, had they their way."""

from __future__ import annotations

from grctl.worker import Context
from grctl.workflow import Directive, Workflow

STEERING = "\x1b[2J\x1b]0;mine\x07\x9b31m \u202egnp.exe\n\rerror: nothing"

failing = Workflow("hostile.failing")
asked = Workflow("hostile.asked")
ALL = [failing, asked]


@failing.start()
async def fail(ctx: Context) -> Directive:
    raise ValueError(STEERING)


@asked.start()
async def wait(ctx: Context) -> Directive:
    return ctx.next.wait()


@asked.query()
async def tell(ctx: Context) -> str:
    return STEERING


@asked.query()
async def refuse(ctx: Context) -> None:
    raise ValueError(STEERING)
