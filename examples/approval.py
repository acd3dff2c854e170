"""A person approves, or nobody does in time.

The run waits in the database for days without holding anything in a worker. The event and the timer
race; exactly one of them wins. `python -m examples.approval`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

from examples.session import session
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

approval = Workflow("approval")


@task
async def ask(who: str, what: str) -> None:
    print(f"to {who}: please approve {what!r}")


@approval.start()
async def request(ctx: Context, what: str, who: str, patience: timedelta) -> Directive:
    await ask(who, what)
    ctx.store.put("what", what)
    return ctx.next.wait(timeout=patience, on_timeout=give_up)


@approval.event()
async def decide(ctx: Context, approved: bool, by: str) -> Directive:
    what = await ctx.store.get("what", str)
    return ctx.next.complete(f"{what}: {'approved' if approved else 'refused'} by {by}")


@approval.step()
async def give_up(ctx: Context) -> Directive:
    return ctx.next.complete(f"{await ctx.store.get('what', str)}: nobody answered")


async def main() -> None:
    async with session(approval) as client:
        number = uuid4().hex[:6]
        asked = {"what": "a new chair", "who": "ada", "patience": timedelta(days=3)}
        answered = await client.start_workflow("approval", f"chair-{number}", asked)
        await answered.send("decide", {"approved": True, "by": "ada"})
        print(await answered.result())

        asked = {"what": "a new desk", "who": "ada", "patience": timedelta(milliseconds=300)}
        print(await client.run_workflow("approval", f"desk-{number}", asked))


if __name__ == "__main__":
    asyncio.run(main())
