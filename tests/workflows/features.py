"""Workflows of the tests of events, waits, timers, children, cancel, queries and updates."""

from __future__ import annotations

import asyncio
import functools
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from grctl.models import ErrorDetails, RetryPolicy
from grctl.worker import ChildOutcome, Context, task
from grctl.workflow import Directive, Workflow
from tests.support.ledger import VARIABLE, Ledger


@functools.cache
def _open(path: str) -> Ledger:
    made = Ledger(path)
    _books.append(made)
    return made


_books: list[Ledger] = []


def book() -> Ledger:
    """The ledger that the test shares with its workers."""
    return _open(os.environ[VARIABLE])


def close_books() -> None:
    """A test is over; the next one has another ledger."""
    while _books:
        _books.pop().close()
    _open.cache_clear()


def ms(duration: int | None) -> timedelta | None:
    return None if duration is None else timedelta(milliseconds=duration)


@task
async def note(what: str, run: str, key: str = "") -> str:
    """A task that leaves a trace outside of history each time its body runs."""
    book().note(what, run, key)
    return key


@task
async def stand_at(gate: str) -> None:
    """A task that ends when the test opens the gate."""
    book().note("at gate", "", gate)
    await book().pass_gate(gate)


# --- events -------------------------------------------------------------------------------------

box = Workflow("features.box")


class Order(BaseModel):
    item: str
    amount: int = 1


@dataclass
class Point:
    x: int
    y: int


@box.start()
async def begin(ctx: Context, gate: str | None = None, timeout_ms: int | None = None) -> Directive:
    ctx.store.put("got", [])
    if gate is not None:
        await stand_at(gate)
    ctx.store.put("timeout_ms", timeout_ms)
    return ctx.next.wait(timeout=ms(timeout_ms), on_timeout=timed_out if timeout_ms else None)


@box.step()
async def timed_out(ctx: Context) -> Directive:
    return ctx.next.complete(["timed out", *await ctx.store.get("got")])


async def keep(ctx: Context, item: object) -> Directive:
    ctx.store.put("got", [*await ctx.store.get("got"), item])
    return ctx.next.wait()


@box.event()
async def put(ctx: Context, item: str) -> Directive:
    await note("handled", ctx.run.wf_id, item)
    return await keep(ctx, item)


@box.event()
async def put_slowly(ctx: Context, item: str) -> Directive:
    await note("handled", ctx.run.wf_id, item)
    await stand_at(item)
    return await keep(ctx, item)


@box.event()
async def put_number(ctx: Context, number: int) -> Directive:
    return await keep(ctx, ["number", number])


@box.event()
async def put_order(ctx: Context, order: Order) -> Directive:
    assert isinstance(order, Order)
    return await keep(ctx, ["order", order.item, order.amount])


@box.event()
async def put_point(ctx: Context, point: Point) -> Directive:
    assert isinstance(point, Point)
    return await keep(ctx, ["point", point.x, point.y])


@box.event()
async def put_pair(ctx: Context, first: int, second: str = "two") -> Directive:
    return await keep(ctx, ["pair", first, second])


@box.event(name="put nothing")
async def put_nothing(ctx: Context) -> Directive:
    return await keep(ctx, "nothing")


@box.event()
async def finish(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.store.get("got"))


@box.query()
async def got(ctx: Context) -> list[Any]:
    found: list[Any] = await ctx.store.get("got", list, default=[])
    return found


@box.query()
async def sum_with(ctx: Context, first: int, second: int = 10) -> dict[str, Any]:
    return {"sum": first + second, "wf_id": ctx.run.wf_id, "status": str(ctx.run.status)}


@box.query()
async def raises(ctx: Context, what: str) -> None:
    raise {"timeout": TimeoutError, "cancelled": asyncio.CancelledError, "value": ValueError}[what](
        "the handler's own"
    )


@box.query()
async def slow(ctx: Context, gate: str) -> str:
    book().note("at gate", ctx.run.wf_id, gate)
    await book().pass_gate(gate)
    return gate


@box.query()
async def writes(ctx: Context) -> None:
    ctx.store.put("got", ["written by a query"])


@box.query()
async def deletes(ctx: Context) -> None:
    ctx.store.delete("got")


@box.query()
async def acts(ctx: Context) -> None:
    await ctx.sleep(timedelta(0))


@box.update()
async def add(ctx: Context, number: int) -> tuple[Directive, int]:
    await note("added", ctx.run.wf_id, str(number))
    total = await ctx.store.get("total", int, default=0) + number
    ctx.store.put("total", total)
    return ctx.next.wait(), total


@box.update()
async def add_order(ctx: Context, order: Order) -> tuple[Directive, Order]:
    return ctx.next.wait(), Order(item=order.item, amount=order.amount + 1)


@box.update()
async def answer_nothing(ctx: Context) -> Directive:
    return ctx.next.wait()


@box.update()
async def end_with(ctx: Context, result: str) -> tuple[Directive, str]:
    return ctx.next.complete(result), "ended"


@box.update()
async def refuse(ctx: Context) -> Directive:
    raise ValueError("not today")


@box.update(timeout=timedelta(milliseconds=200))
async def hang(ctx: Context) -> Directive:
    await asyncio.Event().wait()
    return ctx.next.wait()


# --- steps, sleeps, cancel ------------------------------------------------------------------------

sleeper = Workflow("features.sleeper")


@sleeper.start(timeout=timedelta(seconds=30))
async def doze(  # noqa: C901 - one way after another
    ctx: Context, how: str, seconds: float = 3600
) -> Directive:
    book().note("step", ctx.run.wf_id, how)
    if how == "sleep":
        await note("before", ctx.run.wf_id)
        await ctx.sleep(timedelta(seconds=seconds))
    elif how == "backoff":
        try:
            await fail_often()
        except ValueError:
            ctx.store.put("gave up", "yes")
    elif how == "gate":
        await stand_at(ctx.run.wf_id)
    elif how == "hang":
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                book().note("cancelled", ctx.run.wf_id, "")
                raise
    elif how == "deaf":  # does not end when it is cancelled
        while not book().is_open(ctx.run.wf_id):
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                book().note("cancelled", ctx.run.wf_id, "")
    elif how == "delay":
        return ctx.next.step(woken, delay=timedelta(seconds=seconds))
    elif how == "wait":
        return ctx.next.wait(timeout=timedelta(seconds=seconds), on_timeout=woken)
    ctx.store.put("cancel requested", ctx.cancel_requested)
    return ctx.next.step(woken)


cautious = Workflow("features.cautious")


@cautious.start()
async def prepare(ctx: Context) -> Directive:
    ctx.store.put("limit", 1)
    return ctx.next.step(look_and_act)


@cautious.step()
async def look_and_act(ctx: Context) -> Directive:
    await ctx.store.get("limit")
    if not ctx.cancel_requested:
        await stand_at(ctx.run.wf_id)
    return ctx.next.complete("done")


@task(retry_policy=RetryPolicy(max_attempts=2, initial_delay_ms=3_600_000, max_delay_ms=3_600_000))
async def fail_often() -> None:
    book().note("attempt", "", "")
    raise ValueError("again")


@sleeper.step()
async def woken(ctx: Context) -> Directive:
    book().note("woken", ctx.run.wf_id, "")
    return ctx.next.complete("woken")


@sleeper.event()
async def poke(ctx: Context) -> Directive:
    return ctx.next.complete("poked")


@sleeper.query()
async def stored(ctx: Context, key: str) -> Any:
    return await ctx.store.get(key, default=None)


# --- children -------------------------------------------------------------------------------------

child = Workflow("features.child")


@child.start()
async def grow(ctx: Context, how: str = "complete", value: int = 0) -> Directive:
    book().note("child", ctx.run.wf_id, how)
    if how == "raise":
        raise ValueError(f"child {value}")
    if how == "fail":
        return ctx.next.fail(ErrorDetails(type="Unlucky", message="by choice"))
    if how == "wait":
        return ctx.next.wait()
    if how == "tell":
        await ctx.send_to_parent("heard", {"words": f"from {ctx.run.wf_id}"})
    if how == "continue":
        return ctx.next.continue_as_new(how="complete", value=value + 100)
    if how == "grandchild":
        found = await ctx.run_child("features.child", f"{ctx.run.wf_id}/g", {"value": value})
        return ctx.next.complete(found + 1)
    return ctx.next.complete(value)


@child.event()
async def let_go(ctx: Context, value: int) -> Directive:
    return ctx.next.complete(value)


parent = Workflow("features.parent")


@parent.start()
async def raise_children(
    ctx: Context,
    children: list[dict[str, Any]],
    policy: str = "abandon",
    gate: str | None = None,
    end: bool = False,
) -> Directive:
    await asyncio.gather(
        *(
            ctx.start_child(
                "features.child",
                f"{ctx.run.wf_id}/{n}",
                each.get("input"),
                ms(each.get("timeout_ms")),
                on_completed_step=None if end else grown,
                parent_close_policy=policy,
            )
            for n, each in enumerate(children)
        )
    )
    if gate is not None:
        await stand_at(gate)
    ctx.store.put("outcomes", {})
    ctx.store.put("left", len(children))
    return ctx.next.complete("alone") if end else ctx.next.wait()


@parent.step()
async def grown(ctx: Context, outcome: ChildOutcome[int]) -> Directive:
    outcomes = await ctx.store.get("outcomes")
    error = None if outcome.error is None else f"{outcome.error.type}: {outcome.error.message}"
    outcomes[outcome.wf_id] = [str(outcome.status), outcome.ok, outcome.result, error]
    ctx.store.put("outcomes", outcomes)
    left = await ctx.store.get("left") - 1
    ctx.store.put("left", left)
    return ctx.next.wait() if left else ctx.next.complete(outcomes)


@parent.event()
async def heard(ctx: Context, words: str) -> Directive:
    ctx.store.put("words", words)
    return ctx.next.wait()


@parent.query()
async def words(ctx: Context) -> str | None:
    found: str | None = await ctx.store.get("words", default=None)
    return found


# --- what goes on ---------------------------------------------------------------------------------

again = Workflow("features.again")


@again.start()
async def go_again(ctx: Context, left: int) -> Directive:
    if left == 0:
        return ctx.next.complete("done")
    if left < 3:
        await stand_at(str(left))
    return ctx.next.continue_as_new(left=left - 1)


teller = Workflow("features.teller")


@teller.start()
async def tell(ctx: Context, to: str) -> Directive:
    await ctx.send(to, "put", {"item": "told"})
    await stand_at("told")
    return ctx.next.complete()


ALL = (box, sleeper, child, parent, again, teller)
