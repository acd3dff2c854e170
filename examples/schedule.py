"""Something done at regular times, for ever: a delayed step, then `continue_as_new`.

Each period is a run of its own under the same workflow id, so no history grows without end. The
next time is reckoned from the last one planned, not from when the work was done: it does not drift.
`python -m examples.schedule`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

from examples.session import session
from grctl.client import Client
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

report = Workflow("report")


@task
async def send_report(number: int) -> None:
    print(f"report {number} is sent")


@report.start()
async def plan(
    ctx: Context, every: timedelta, number: int = 1, at: datetime | None = None
) -> Directive:
    now = await ctx.now()
    ctx.store.put("every", every)
    ctx.store.put("number", number)
    ctx.store.put("at", at or now)
    return ctx.next.step(do, delay=max(timedelta(0), (at or now) - now))


@report.step()
async def do(ctx: Context) -> Directive:
    every = await ctx.store.get("every", timedelta)
    number = await ctx.store.get("number", int)
    await send_report(number)
    at = await ctx.store.get("at", datetime) + every
    return ctx.next.continue_as_new(every=every, number=number + 1, at=at)


async def main() -> None:
    async with session(report) as client:
        wf_id = f"report-{uuid4().hex[:6]}"
        first = await client.start_workflow("report", wf_id, {"every": timedelta(seconds=0.2)})
        while not await _has_sent(client, wf_id, 3):
            await asyncio.sleep(0.05)
        latest = await client.get_workflow_handle(wf_id)
        await latest.cancel("enough")
        print(f"the first run: {(await client.describe(wf_id, first.run_id)).status}")


async def _has_sent(client: Client, wf_id: str, number: int) -> bool:
    """Whether the latest run is past that report: its input says which one is its own."""
    info = await client.describe(wf_id)
    return bool(info.input.get("number", 1) > number)


if __name__ == "__main__":
    asyncio.run(main())
