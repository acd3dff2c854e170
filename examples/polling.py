"""A long poll: ask a service again and again, and sleep in between.

`ctx.sleep` is durable (after a crash only the rest is slept), takes no slot of the worker and does
not count towards the step's timeout. After some rounds the step ends and begins anew by a delayed
step, so that a replay never has a long history to read. `python -m examples.polling`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

from examples.session import session
from grctl.models import ErrorDetails
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

render = Workflow("render")

ROUNDS_A_STEP = 3


@task
async def submit(film: str) -> str:
    return f"job-{film}"


@task
async def state_of(job: str, asked_before: int) -> str:
    """Somebody else's service; this one is done when it is asked for the fifth time."""
    return "done" if asked_before >= 4 else "busy"


@render.start()
async def begin(ctx: Context, film: str, pause: timedelta, most: int = 100) -> Directive:
    ctx.store.put("job", await submit(film))
    ctx.store.put("pause", pause)
    ctx.store.put("most", most)
    ctx.store.put("asked", 0)
    return ctx.next.step(poll)


@render.step()
async def poll(ctx: Context) -> Directive:
    job = await ctx.store.get("job", str)
    pause = await ctx.store.get("pause", timedelta)
    most = await ctx.store.get("most", int)
    asked = await ctx.store.get("asked", int)
    for _ in range(ROUNDS_A_STEP):
        if await state_of(job, asked) == "done":
            return ctx.next.complete(f"{job} was done when asked {asked + 1} times")
        asked += 1
        if asked == most:
            return ctx.next.fail(ErrorDetails(type="NeverDone", message=f"{job} is still busy"))
        await ctx.sleep(pause)
        if ctx.cancel_requested:
            break  # a cancel wakes sleeps: end the step, and the cancel takes effect
    ctx.store.put("asked", asked)
    return ctx.next.step(poll, delay=pause)


async def main() -> None:
    async with session(render) as client:
        asked = {"film": "nosferatu", "pause": timedelta(milliseconds=50)}
        print(await client.run_workflow("render", f"render-{uuid4().hex[:6]}", asked))


if __name__ == "__main__":
    asyncio.run(main())
