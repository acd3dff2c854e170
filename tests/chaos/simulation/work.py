"""The workflow of the simulations: does what its plan says, stage after stage.

A plan is a list of stages; a stage is what its step does, and how it goes on:
``{"do": [[operation, argument], …], "then": [how, argument]}``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import Any

from grctl.errors import WorkflowError
from grctl.models import Directive, ErrorDetails
from grctl.models.directive import RetryPolicy
from grctl.worker import ChildOutcome, Context
from grctl.workflow import Workflow
from tests.chaos.simulation.world import act, persist

Plan = list[dict[str, Any]]

work = Workflow("simulation.work")


class StageError(Exception):
    """A stage that fails at its end, the first time."""


@work.start()
async def begin(ctx: Context, plan: Plan) -> Directive:
    ctx.store.put("plan", plan)
    return await stage(ctx)


@work.step(retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=50))
async def proceed(ctx: Context) -> Directive:
    return await stage(ctx)


@work.step()
async def child_ended(ctx: Context, outcome: ChildOutcome[Any]) -> Directive:
    children = await ctx.store.get("children", default=[])
    ctx.store.put("children", [*children, outcome.wf_id])
    return await stage(ctx)


@work.event()
async def poke(ctx: Context, number: int) -> Directive:
    ctx.store.put(f"poke {number}", ctx.run.step_name)
    return await stage(ctx)


@work.update()
async def ask(ctx: Context, number: int) -> tuple[Directive, int]:
    ctx.store.put(f"ask {number}", ctx.run.step_name)
    return await stage(ctx), number


@work.query()
async def where(ctx: Any) -> int:
    at: int = await ctx.store.get("at", default=0)
    return at


async def stage(ctx: Context) -> Directive:
    """The stage that it is time for."""
    plan = await ctx.store.get("plan")
    at = await ctx.store.get("at", default=0)
    if at >= len(plan):
        return ctx.next.complete(at)
    for number, (operation, argument) in enumerate(plan[at]["do"]):
        if ctx.cancel_requested:
            break
        await OPERATIONS[operation](ctx, f"{ctx.run.id}/{at}/{number}", argument)
    ctx.store.put("at", at + 1)
    how, argument = plan[at]["then"]
    if how == "flaky" and ctx.run.attempt == 1 and ctx.run.step_name == "proceed":
        raise StageError(ctx.run.wf_id)
    if how == "again":
        return ctx.next.continue_as_new(plan=plan[at + 1 :])
    return ENDS[how](ctx, argument)


async def _act(ctx: Context, ident: str, _: Any) -> None:
    await act(ident)


async def _persist(ctx: Context, ident: str, failures: int) -> None:
    await persist(ident, failures)


async def _gather(ctx: Context, ident: str, width: int) -> None:
    await asyncio.gather(*(act(f"{ident}.{n}") for n in range(width)))


async def _race(ctx: Context, ident: str, width: int) -> None:
    calls = [asyncio.create_task(act(f"{ident}.{n}")) for n in range(width)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


async def _sleep(ctx: Context, ident: str, ms: int) -> None:
    await ctx.sleep(timedelta(milliseconds=ms))


async def _value(ctx: Context, ident: str, _: Any) -> None:
    await ctx.now()
    await act(f"{ident} {await ctx.uuid4()}")


async def _child(ctx: Context, ident: str, plan: Plan) -> None:
    with contextlib.suppress(WorkflowError):
        await ctx.start_child(
            "simulation.work",
            f"{ctx.run.wf_id}+",
            {"plan": plan},
            on_completed_step=child_ended,
            parent_close_policy="cancel",
        )


async def _run_child(ctx: Context, ident: str, plan: Plan) -> None:
    with contextlib.suppress(WorkflowError, TimeoutError):
        await ctx.run_child("simulation.work", f"{ctx.run.wf_id}-", {"plan": plan}, timeout=20)


async def _send(ctx: Context, ident: str, to: list[Any]) -> None:
    with contextlib.suppress(WorkflowError):
        await ctx.send(to[0], "poke", to[1])


OPERATIONS: dict[str, Callable[[Context, str, Any], Awaitable[None]]] = {
    "act": _act,
    "persist": _persist,
    "gather": _gather,
    "race": _race,
    "sleep": _sleep,
    "value": _value,
    "child": _child,
    "run_child": _run_child,
    "send": _send,
}

ENDS: dict[str, Callable[[Context, Any], Directive]] = {
    "step": lambda ctx, _: ctx.next.step(proceed),
    "flaky": lambda ctx, _: ctx.next.step(proceed),
    "delay": lambda ctx, ms: ctx.next.step(proceed, delay=timedelta(milliseconds=ms)),
    "wait": lambda ctx, ms: ctx.next.wait(timeout=timedelta(milliseconds=ms), on_timeout=proceed),
    "fail": lambda ctx, _: ctx.next.fail(ErrorDetails(message="as planned")),
}


def plan(dice: Random, others: list[str], depth: int = 0) -> Plan:
    """A plan that ends by itself, whatever happens to it."""
    return [_stage(dice, others, depth) for _ in range(dice.randint(1, 5))]


def _stage(dice: Random, others: list[str], depth: int) -> dict[str, Any]:
    simple = ["act", "act", "persist", "gather", "race", "sleep", "value", "send"]
    kinds = simple if depth else [*simple, "child", "run_child"]
    how = dice.choice(["step", "step", "wait", "wait", "delay", "again", "fail", "flaky"])
    return {
        "do": [_operation(dice, dice.choice(kinds), others) for _ in range(dice.randint(0, 4))],
        "then": [how, dice.choice([0, 1, 30, 500, 4000])],
    }


def _operation(dice: Random, kind: str, others: list[str]) -> list[Any]:
    argument: Any = None
    if kind in ("persist", "gather", "race"):
        argument = dice.randint(1, 4)
    elif kind == "sleep":
        argument = dice.choice([0, 5, 300, 3000])
    elif kind == "send":
        argument = [dice.choice(others), dice.randint(10_000, 10**9)]
    elif kind in ("child", "run_child"):
        argument = plan(dice, others, depth=1)
    return [kind, argument]
