"""Fan out over children, and gather what they give: in the step, or by a step for each end.

`count_all` awaits its children in one step. `count_many` starts them and waits: each child's end is
a message, handled by the step `one_done`, also if it takes days. `python -m examples.fan_out`.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

from examples.session import session
from grctl.worker import ChildOutcome, Context, task
from grctl.workflow import Directive, Workflow

count = Workflow("count")
count_all = Workflow("count-all")
count_many = Workflow("count-many")


@task
async def count_words(text: str) -> int:
    return len(text.split())


@count.start()
async def one(ctx: Context, text: str) -> Directive:
    if not text:
        raise ValueError("an empty text")
    return ctx.next.complete(await count_words(text))


@count_all.start()
async def gather(ctx: Context, texts: list[str]) -> Directive:
    counts = await asyncio.gather(
        *(
            ctx.run_child("count", f"{ctx.run.wf_id}/{number}", {"text": text})
            for number, text in enumerate(texts)
        )
    )
    return ctx.next.complete(sum(counts))


@count_many.start()
async def fan_out(ctx: Context, texts: list[str]) -> Directive:
    for number, text in enumerate(texts):
        await ctx.start_child(
            "count", f"{ctx.run.wf_id}/{number}", {"text": text}, on_completed_step=one_done
        )
    ctx.store.put("open", len(texts))
    ctx.store.put("total", 0)
    ctx.store.put("failed", [])
    return ctx.next.wait()


@count_many.step()
async def one_done(ctx: Context, outcome: ChildOutcome[int]) -> Directive:
    left = await ctx.store.get("open", int) - 1
    total = await ctx.store.get("total", int)
    failed = await ctx.store.get("failed", list[str])
    if outcome.ok:
        total += outcome.unwrap()
    else:
        failed.append(f"{outcome.wf_id} {outcome.status}: {outcome.error}")
    if not left:
        return ctx.next.complete({"total": total, "failed": failed})
    ctx.store.put("open", left)
    ctx.store.put("total", total)
    ctx.store.put("failed", failed)
    return ctx.next.wait()


async def main() -> None:
    async with session(count, count_all, count_many) as client:
        number = uuid4().hex[:6]
        texts = {"texts": ["one", "one two", "one two three"]}
        print(await client.run_workflow("count-all", f"all-{number}", texts))
        texts = {"texts": ["one", "", "one two three"]}
        print(await client.run_workflow("count-many", f"many-{number}", texts))


if __name__ == "__main__":
    asyncio.run(main())
