"""A data pipeline that tells how far it is: chunks in steps, progress by a query.

A chunk is a step, and its rows are loaded, changed and saved by tasks; after a crash the pipeline
goes on in the chunk where it was. `python -m examples.pipeline`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import uuid4

from examples.session import session
from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

pipeline = Workflow("pipeline")

CHUNK = 10


@dataclass
class Progress:
    done: int
    of: int


@task(retry_policy=RetryPolicy(max_attempts=3))
def load(start: int, end: int) -> list[int]:
    """A plain function: it runs in a thread, as blocking code should."""
    return list(range(start, end))


@task
async def change(rows: list[int]) -> list[int]:
    await asyncio.sleep(0.02)
    return [row * row for row in rows]


@task
async def save(start: int, rows: list[int]) -> int:
    """To be safe when it is cut off and called again, it would write by key: (start, row)."""
    return len(rows)


@pipeline.start()
async def begin(ctx: Context, rows: int) -> Directive:
    ctx.store.put("progress", Progress(0, rows))
    return ctx.next.step(chunk)


@pipeline.step()
async def chunk(ctx: Context) -> Directive:
    progress = await ctx.store.get("progress", Progress)
    end = min(progress.done + CHUNK, progress.of)
    rows = await change(await load(progress.done, end))
    await save(progress.done, rows)
    ctx.store.put("progress", Progress(end, progress.of))
    return ctx.next.complete(end) if end == progress.of else ctx.next.step(chunk)


@pipeline.query()
async def progress(ctx: Context) -> Progress:
    found: Progress = await ctx.store.get("progress", Progress, default=Progress(0, 0))
    return found


async def main() -> None:
    async with session(pipeline) as client:
        handle = await client.start_workflow(
            "pipeline", f"pipeline-{uuid4().hex[:6]}", {"rows": 95}
        )
        while (seen := await handle.query("progress", return_type=Progress)).done < 50:
            await asyncio.sleep(0.02)
        print(f"at least half is done: {seen.done >= 50}")
        print(await handle.result(), "rows")
        print(await handle.query("progress", return_type=Progress))


if __name__ == "__main__":
    asyncio.run(main())
