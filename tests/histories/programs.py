"""The workflow whose runs the golden histories are. One path of it for each file.

Code that a recorded history has gone through must not be changed: these files are for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from grctl.errors import WorkflowError
from grctl.models import ErrorDetails, RetryPolicy
from grctl.worker import ChildOutcome, Context, task
from grctl.workflow import Directive, Workflow

TYPE = "golden"
golden = Workflow(TYPE)
Path = Callable[[Context], Awaitable[Directive]]
PATHS: dict[str, Path] = {}


class Outside:
    """The world outside of history: what was really done, and what the test lets happen."""

    def __init__(self) -> None:
        self.performed: Counter[str] = Counter()
        self._gates: dict[str, asyncio.Event] = {}

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())


outside = Outside()


def enter(new: Outside) -> Outside:
    global outside  # noqa: PLW0603 - tasks are functions of a module, as users write them
    outside = new
    return new


def path(fn: Path) -> Path:
    """A way that a run can go, named by its function."""
    PATHS[fn.__name__] = fn
    return fn


# --- tasks ----------------------------------------------------------------------------------------


@task
async def add(first: int, second: int) -> int:
    outside.performed["add"] += 1
    return first + second


@task(retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=1))
async def flaky(item: str) -> str:
    outside.performed["flaky"] += 1
    if outside.performed["flaky"] < 3:
        raise ConnectionError("no answer")
    return item.upper()


@task
async def declined(amount: int) -> None:
    outside.performed["declined"] += 1
    raise ValueError(f"{amount} is too much")


@task
async def stand_at(gate: str) -> str:
    outside.performed["stand_at"] += 1
    await outside.gate(gate).wait()
    return gate


# --- the start, and where it leads ----------------------------------------------------------------


@golden.start()
async def begin(ctx: Context, how: str, left: int = 0) -> Directive:
    ctx.store.put("how", how)
    ctx.store.put("left", left)
    return await PATHS[how](ctx)


@path
async def one_task(ctx: Context) -> Directive:
    return ctx.next.complete(await add(1, 2))


@path
async def task_retried(ctx: Context) -> Directive:
    return ctx.next.complete(await flaky("book"))


@path
async def gathered(ctx: Context) -> Directive:
    return ctx.next.complete(await asyncio.gather(*(add(n, n) for n in range(3))))


@path
async def task_cancelled(ctx: Context) -> Directive:
    waiting = asyncio.create_task(stand_at("never"))
    await add(1, 2)
    waiting.cancel()
    await asyncio.wait([waiting])
    return ctx.next.complete(waiting.cancelled())


@path
async def step_failed(ctx: Context) -> Directive:
    await add(1, 2)
    await declined(7)
    return ctx.next.complete()


@path
async def failed_by_choice(ctx: Context) -> Directive:
    return ctx.next.fail(ErrorDetails(type="Unlucky", message="by choice"))


@path
async def step_timed_out(ctx: Context) -> Directive:
    return ctx.next.step(short)


@golden.step(timeout=timedelta(milliseconds=100))
async def short(ctx: Context) -> Directive:
    await add(1, 2)
    await stand_at("never")
    return ctx.next.complete()


@path
async def step_retried(ctx: Context) -> Directive:
    return ctx.next.step(stubborn)


@golden.step(retry_policy=RetryPolicy(max_attempts=2, initial_delay_ms=1))
async def stubborn(ctx: Context) -> Directive:
    await add(1, 2)
    if ctx.run.attempt == 1:
        raise ValueError("attempt 1")
    return ctx.next.complete(await add(3, 4))


@path
async def run_retried(ctx: Context) -> Directive:
    return ctx.next.step(until_open)


@golden.step()
async def until_open(ctx: Context) -> Directive:
    await add(1, 2)
    if ctx.run.attempt == 1:
        await declined(8)
    return ctx.next.complete(ctx.run.attempt)


@path
async def step_delayed(ctx: Context) -> Directive:
    return ctx.next.step(last, delay=timedelta(milliseconds=10))


@golden.step()
async def last(ctx: Context) -> Directive:
    return ctx.next.complete([await ctx.store.get("how"), await add(5, 6)])


@path
async def recorded_values(ctx: Context) -> Directive:
    found: list[Any] = [str(await ctx.now()), await ctx.random(), str(await ctx.uuid4())]
    await ctx.sleep(timedelta(milliseconds=1))
    ctx.store.put("found", found)
    return ctx.next.complete(len(found))


@path
async def run_timed_out(ctx: Context) -> Directive:
    await add(1, 2)
    await stand_at("never")
    return ctx.next.complete()


# --- waits and what comes -------------------------------------------------------------------------


@path
async def waits(ctx: Context) -> Directive:
    return ctx.next.wait()


@path
async def works_first(ctx: Context) -> Directive:
    await stand_at("work")
    return ctx.next.wait()


@path
async def wait_timed_out(ctx: Context) -> Directive:
    return ctx.next.wait(timeout=timedelta(milliseconds=10), on_timeout=last)


@path
async def wait_timed_out_for_good(ctx: Context) -> Directive:
    return ctx.next.wait(timeout=timedelta(milliseconds=10))


@path
async def work_cancelled(ctx: Context) -> Directive:
    await stand_at("work")
    ctx.store.put("asked", ctx.cancel_requested)
    return ctx.next.step(last)


@path
async def sleep_cancelled(ctx: Context) -> Directive:
    await ctx.sleep(timedelta(hours=1))
    return ctx.next.complete(await add(int(ctx.cancel_requested), 1))


@golden.event()
async def put(ctx: Context, item: str) -> Directive:
    ctx.store.put("item", item)
    return ctx.next.wait()


@golden.event()
async def finish(ctx: Context) -> Directive:
    return ctx.next.complete([await ctx.store.get("item", default=None), await add(1, 1)])


@golden.event()
async def hang(ctx: Context) -> Directive:
    await add(1, 2)
    await stand_at("never")
    return ctx.next.wait()


@golden.update()
async def count(ctx: Context, number: int) -> tuple[Directive, int]:
    total = await add(number, await ctx.store.get("left"))
    ctx.store.put("left", total)
    return ctx.next.wait(), total


# --- other runs -----------------------------------------------------------------------------------


@path
async def child_handled(ctx: Context) -> Directive:
    inputs = {"how": "works_first"}
    await ctx.start_child(TYPE, f"{ctx.run.wf_id}/child", inputs, on_completed_step=grown)
    return ctx.next.wait()


@golden.step()
async def grown(ctx: Context, outcome: ChildOutcome[list[Any]]) -> Directive:
    return ctx.next.complete([str(outcome.status), outcome.result])


@path
async def child_awaited(ctx: Context) -> Directive:
    found = [await ctx.run_child(TYPE, f"{ctx.run.wf_id}/good", {"how": "one_task"})]
    try:
        await ctx.run_child(TYPE, f"{ctx.run.wf_id}/bad", {"how": "step_failed"})
    except WorkflowError as error:
        found.append(str(error))
    try:
        await ctx.run_child(TYPE, f"{ctx.run.wf_id}/slow", {"how": "waits"}, timeout=0.05)
    except TimeoutError:
        found.append("not in time")
    return ctx.next.complete(found)


@path
async def parent_told(ctx: Context) -> Directive:
    await ctx.start_child(TYPE, f"{ctx.run.wf_id}/child", {"how": "tells_parent"})
    return ctx.next.wait()


@path
async def tells_parent(ctx: Context) -> Directive:
    await ctx.send_to_parent("put", {"item": "from the child"})
    return ctx.next.complete()


@path
async def tells_lost_parent(ctx: Context) -> Directive:
    await stand_at("work")
    try:
        await ctx.send_to_parent("put", {"item": "too late"})
    except WorkflowError as error:
        return ctx.next.complete(str(error))
    return ctx.next.complete()


@path
async def parent_lost(ctx: Context) -> Directive:
    await ctx.start_child(TYPE, f"{ctx.run.wf_id}/child", {"how": "tells_lost_parent"})
    return ctx.next.complete()


@path
async def tells_other(ctx: Context) -> Directive:
    await ctx.send(f"{ctx.run.wf_id}/other", "put", {"item": "told"})
    return ctx.next.complete()


@path
async def refused(ctx: Context) -> Directive:
    for operation in (
        ctx.start_child("golden.unregistered", f"{ctx.run.wf_id}/child"),
        ctx.start_child(TYPE, ctx.run.wf_id),
        ctx.send(f"{ctx.run.wf_id}/nobody", "put", {"item": "lost"}),
        ctx.send(ctx.run.wf_id, "no such event"),
    ):
        try:
            await operation
        except WorkflowError:
            await add(0, 1)
    return ctx.next.complete()


@path
async def continued(ctx: Context) -> Directive:
    left = await ctx.store.get("left")
    if left == 0:
        return ctx.next.complete(await add(1, 2))
    return ctx.next.continue_as_new(how="continued", left=left - 1)
