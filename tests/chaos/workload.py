"""The workflows of the load: they execute plans, and every task body writes into the ledger.

What a task returns is another value each time its body runs, and everything after it depends on
it: whoever took a lost result for a recorded one would be found out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from grctl.errors import WorkflowError
from grctl.models import ErrorDetails, RetryPolicy
from grctl.worker import ChildOutcome, Context, task
from grctl.worker.branches import running
from grctl.worker.scope import Scope
from grctl.workflow import Directive, Workflow
from tests.chaos.notes import BOOT, digest, notes, write_from_thread
from tests.chaos.plans import HOPS, Op, plan_of

LOAD, CHILD, MAILBOX = "chaos.load", "chaos.child", "chaos.mailbox"
LETTERS_A_RUN = 25
"""A mailbox continues as new after so many letters."""

_scope: ContextVar[Scope] = ContextVar("scope")
"""Of the step that runs: a thread cannot ask for the asyncio task that it works for."""
_dice = Random(os.getpid() ^ time.monotonic_ns())


class RefusedError(Exception):
    """What a task raises that fails for good."""


class FlakyError(Exception):
    """What a task raises that does better the next time."""


class PlannedError(Exception):
    """What a step raises because its plan says so."""


class _Body:
    """One execution of a task's body, as it is noted. A body knows nothing of its call; the
    ledger has to, to name what it saw.
    """

    def __init__(self, call: Any, given: dict[str, Any]) -> None:
        run = call.scope.run
        self._who = (str(run.run_id), run.step_no, run.step_attempt, run.step_name, call.key)
        self._name, self.attempt, self._epoch = call.spec.name, call.attempt, run.epoch
        self._input = digest(given)
        self.result: Any = None

    def row(self, phase: str) -> tuple[Any, ...]:
        result = digest(self.result) if phase == "end" else None
        what = (self._name, self.attempt, self._epoch, BOOT, self._input, result)
        return phase, *self._who, *what, time.monotonic(), time.time()


@asynccontextmanager
async def noted(**given: Any) -> AsyncIterator[_Body]:
    """Around a task's body: its start is in the ledger before it begins, its end after."""
    me = running()
    assert me is not None
    assert me.branch is not None
    call = next(each for each in me.branch.scope.active.values() if each.task is me)
    body = _Body(call, given)
    await notes().write("bodies", *body.row("start"))
    try:
        yield body
    except asyncio.CancelledError:
        notes().put("bodies", *body.row("cancelled"))
        raise
    except Exception:
        await notes().write("bodies", *body.row("error"))
        raise
    await notes().write("bodies", *body.row("end"))


@task
async def act(ident: str, behaviour: str, value: str) -> dict[str, str]:
    return await _do(ident, behaviour, value)


@task(retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=30, jitter=0.5))
async def persist(ident: str, behaviour: str, value: str) -> dict[str, str]:
    return await _do(ident, behaviour, value)


@task
async def put(key: str, value: str | None) -> str | None:
    """Says in history what the step puts into the store: a fold of these is the store."""
    async with noted(key=key, value=value) as body:
        body.result = value
    return value


@task
def press(ident: str, value: str) -> dict[str, str]:
    """Blocks its thread. Nobody can stop it: it ends, also where its step has long been over."""
    active = list(_scope.get().active.values())
    body = _Body(
        next(each for each in active if each.args[:1] == (ident,)), {"ident": ident, "value": value}
    )
    write_from_thread("bodies", *body.row("start"))
    time.sleep(_dice.uniform(0, 0.05))
    body.result = {"of": ident, "nonce": _dice.randbytes(8).hex()}
    write_from_thread("bodies", *body.row("end"))
    return body.result


async def _do(ident: str, behaviour: str, value: str) -> dict[str, str]:
    async with noted(ident=ident, behaviour=behaviour, value=value) as body:
        await _take_time(behaviour)
        if behaviour == "refused":
            raise RefusedError(f"{ident} is refused")
        if behaviour.startswith("flaky") and body.attempt <= int(behaviour[5:]):
            raise FlakyError(f"{ident} fails at attempt {body.attempt}")
        body.result = {"of": ident, "nonce": _dice.randbytes(8).hex()}
    return body.result


async def _take_time(behaviour: str) -> None:
    kind = 5 if behaviour == "slow" else _dice.randrange(5)
    if kind == 5:
        await asyncio.sleep(_dice.uniform(0.005, 0.1))
    elif kind == 4:
        await asyncio.sleep(_dice.uniform(0, 0.02))


async def keep(ctx: Context, key: str, value: str | None) -> None:
    """Put into the store, or delete, and say so."""
    await put(key, value)
    if value is None:
        ctx.store.delete(key)
    else:
        ctx.store.put(key, value)


class Stagehand:
    """Does what one stage of a plan says. ``seen`` is a hash of all that it has seen."""

    def __init__(self, ctx: Context, number: int, seed: int, depth: int, shape: str) -> None:
        self.ctx = ctx
        self.stage = plan_of(seed, depth, shape).stages[number]
        self.number = number
        self.seed, self.depth, self.shape = seed, depth, shape
        self.seen = digest([seed, number])

    async def perform(self) -> None:
        me = running()
        assert me is not None
        assert me.branch is not None
        _scope.set(me.branch.scope)
        for n, op in enumerate(self.stage.ops):
            result = await getattr(self, op.kind)(op, f"{self.number}.{n}")
            self.seen = digest([self.seen, result])

    async def once(self, _op: Op, ident: str) -> Any:
        return await act(ident, "works", self.seen)

    async def flaky(self, op: Op, ident: str) -> Any:
        return await persist(ident, f"flaky{op.detail}", self.seen)

    async def refused(self, _op: Op, ident: str) -> Any:
        try:
            return await act(ident, "refused", self.seen)
        except RefusedError as error:
            return [type(error).__name__, str(error)]

    async def exhausted(self, _op: Op, ident: str) -> Any:
        try:
            return await persist(ident, "flaky9", self.seen)
        except FlakyError as error:
            return [type(error).__name__, str(error)]

    async def gather(self, op: Op, ident: str) -> Any:
        calls = [persist(f"{ident}.{n}", f"flaky{n % 2}", self.seen) for n in range(op.detail)]
        return await asyncio.gather(*calls)

    async def press(self, op: Op, ident: str) -> Any:
        calls = [press(f"{ident}.{n}", self.seen) for n in range(op.detail)]
        return await asyncio.gather(*calls)

    async def race(self, op: Op, ident: str) -> Any:
        """The first decides; the others are cancelled."""
        runners = [
            asyncio.ensure_future(act(f"{ident}.{n}", "slow", self.seen)) for n in range(op.detail)
        ]
        done, late = await asyncio.wait(runners, return_when="FIRST_COMPLETED")
        first = [n for n, each in enumerate(runners) if each in done]
        for each in late:
            each.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        # An input that depends on who came first: a replay in another order would ask for another.
        return await act(f"{ident}.won", "works", digest(first))

    async def timeout(self, op: Op, ident: str) -> Any:
        try:
            async with asyncio.timeout(op.detail / 1000):
                return await act(ident, "slow", self.seen)
        except TimeoutError:
            return await act(f"{ident}.late", "works", self.seen)

    async def sleep(self, op: Op, _ident: str) -> Any:
        await self.ctx.sleep(timedelta(milliseconds=op.detail))

    async def value(self, op: Op, ident: str) -> Any:
        ctx = self.ctx
        made = await (ctx.now, ctx.random, ctx.uuid4)[op.detail]()
        return await act(ident, "works", digest(str(made)))

    async def put(self, op: Op, _ident: str) -> Any:
        await keep(self.ctx, f"key {op.detail}", self.seen)

    async def child(self, op: Op, ident: str) -> Any:
        try:
            return await self.ctx.run_child(CHILD, self._child(ident), self._input(op))
        except WorkflowError as error:
            return str(error)

    async def start(self, op: Op, ident: str) -> Any:
        await self.ctx.start_child(
            CHILD, self._child(ident), self._input(op), on_completed_step=_JOINED[self._type]
        )

    async def tell(self, op: Op, ident: str) -> Any:
        """A message to the parent, or to itself."""
        letter = {"by": str(self.ctx.run.id), "n": self.number * 100 + op.detail, "of": ident}
        if self.ctx.run.parent_run_id is None or op.detail == 1:
            await self.ctx.send(self.ctx.run.wf_id, "poke", letter)
            return None
        with contextlib.suppress(WorkflowError):  # the parent has ended
            await self.ctx.send_to_parent("poke", letter)

    @property
    def _type(self) -> str:
        return self.ctx.run.wf_type

    def _child(self, ident: str) -> str:
        return f"{self.ctx.run.id}/{ident}"

    def _input(self, op: Op) -> dict[str, Any]:
        return {"seed": op.detail, "shape": self.shape, "depth": self.depth + 1, "origin": None}


_JOINED: dict[str, Any] = {}
"""By workflow type: the step that is told of a child's end."""


@dataclass(frozen=True)
class Steps:
    """The steps of a workflow that a directive can name."""

    plain: Any
    sturdy: Any
    late: Any


async def go_on(ctx: Context, steps: Steps) -> Directive:
    """The next stage of the plan; in a step of its own where it wants one."""
    given = await ctx.store.get("given", dict)
    number = await ctx.store.get("stage", int)
    hand = Stagehand(ctx, number, given["seed"], given["depth"], given["shape"])
    if hand.stage.is_sturdy and ctx.run.step_name != "sturdy":
        return ctx.next.step(steps.sturdy)
    await hand.perform()
    if hand.stage.is_sturdy and ctx.run.attempt == 1:
        raise FlakyError(f"stage {number} fails the first time")
    ctx.store.put("stage", number + 1)
    return what_next(ctx, hand, steps, given)


def what_next(ctx: Context, hand: Stagehand, steps: Steps, given: dict[str, Any]) -> Directive:
    """What the stage's plan says that it returns."""
    pause = timedelta(milliseconds=hand.stage.detail)
    match hand.stage.ending:
        case "raise":
            raise PlannedError(f"stage {hand.number}")
        case "continue" if given["hop"] < HOPS:
            return ctx.next.continue_as_new(**{**given, "hop": given["hop"] + 1})
        case ending:
            made = {
                "step": lambda: ctx.next.step(steps.plain),
                "delay": lambda: ctx.next.step(steps.plain, delay=pause),
                "wait": lambda: ctx.next.wait(pause, steps.late),
                "await": ctx.next.wait,
                "fail": lambda: ctx.next.fail(ErrorDetails(type="PlannedError")),
            }
            return made.get(ending, lambda: ctx.next.complete(hand.seen))()


def executes_plans(name: str) -> Workflow:
    """A workflow type whose runs execute plans."""
    wf = Workflow(name)

    @wf.start()
    async def begin(
        ctx: Context, seed: int, shape: str, depth: int, origin: str | None, hop: int = 0
    ) -> Directive:
        given = {"seed": seed, "shape": shape, "depth": depth, "origin": origin, "hop": hop}
        ctx.store.put("given", given)
        ctx.store.put("stage", 0)
        return await go_on(ctx, steps)

    @wf.step()
    async def plain(ctx: Context) -> Directive:
        return await go_on(ctx, steps)

    @wf.step(retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=20))
    async def sturdy(ctx: Context) -> Directive:
        return await go_on(ctx, steps)

    @wf.step()
    async def late(ctx: Context) -> Directive:
        await keep(ctx, "late", "yes")
        return await go_on(ctx, steps)

    @wf.step()
    async def joined(ctx: Context, outcome: ChildOutcome[Any]) -> Directive:
        await keep(ctx, "joined", digest([outcome.wf_id, outcome.status, outcome.result]))
        return await go_on(ctx, steps)

    @wf.event()
    async def poke(ctx: Context, by: str, n: int, of: str) -> Directive:
        await keep(ctx, "late", None)
        await keep(ctx, "poked", digest([by, n, of]))
        return await go_on(ctx, steps)

    steps = Steps(plain, sturdy, late)
    _JOINED[name] = joined
    return wf


load = executes_plans(LOAD)
child = executes_plans(CHILD)

mailbox = Workflow(MAILBOX)


@mailbox.start()
async def open_mailbox(ctx: Context, origin: str | None, letters: int = 0) -> Directive:
    ctx.store.put("origin", origin)
    ctx.store.put("letters", letters)
    return ctx.next.wait()


@mailbox.event(name="poke")
async def letter(ctx: Context, by: str, n: int, of: str) -> Directive:
    """Counts; now and then it begins anew, and what is in its inbox comes along."""
    letters = await ctx.store.get("letters", int) + 1
    if n % 10 == 0:
        await act(f"letter {letters}", "works", digest([by, n, of]))
    return await counted(ctx, letters)


@mailbox.update(name="stamp")
async def registered(ctx: Context, by: str, n: int, of: str) -> tuple[Directive, int]:
    """A letter, too; its sender learns its number."""
    letters = await ctx.store.get("letters", int) + 1
    await act(f"stamp {letters}", "works", digest([by, n, of]))
    return await counted(ctx, letters), letters


async def counted(ctx: Context, letters: int) -> Directive:
    if letters % LETTERS_A_RUN == 0:
        return ctx.next.continue_as_new(origin=await ctx.store.get("origin"), letters=letters)
    ctx.store.put("letters", letters)
    return ctx.next.wait()


@mailbox.query()
async def count(ctx: Context) -> int | None:
    """How many letters it has had; None before its first step has ended. It tries to write."""
    with contextlib.suppress(RuntimeError):
        ctx.store.put("letters", -1)
    return await ctx.store.get("letters", int, default=None)


@mailbox.event(name="close")
async def close_mailbox(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.store.get("letters", int))
