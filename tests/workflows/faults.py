"""Workflows that are large, raise what is hard to record, block, or kill their workers."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow
from tests.workflows.chaos import act, ledger

many = Workflow("faults.many")
heavy = Workflow("faults.heavy")
weird = Workflow("faults.weird")


@task
async def double(run: str, n: int) -> int:
    ledger().note("start", run, str(n))
    return 2 * n


@many.start()
async def many_start(ctx: Context, rounds: int, width: int) -> Directive:
    """``rounds`` groups of ``width`` tasks that run side by side, and a gate after the last."""
    run = ctx.run.wf_id
    total = 0
    for number in range(rounds):
        first = number * width
        total += sum(await asyncio.gather(*(double(run, first + n) for n in range(width))))
    await act(run, "gate", run)
    return ctx.next.complete(total)


@task
async def grow(text: str, size: int) -> str:
    return text * (size // len(text))


@heavy.start()
async def heavy_start(ctx: Context, text: str, size: int) -> Directive:
    """As much as is allowed: of input, of a task's result, in the store, and then of an event."""
    ctx.store.put("grown", await grow(text[0], size))
    return ctx.next.wait()


@heavy.event(name="more")
async def heavy_more(ctx: Context, text: str) -> Directive:
    grown = await ctx.store.get("grown", str)
    await act(ctx.run.wf_id, "gate", ctx.run.wf_id)
    return ctx.next.complete(text if text == grown else None)


class BrokenStrError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class NeedsMoreError(Exception):
    """Cannot be made from its args."""

    def __init__(self, code: int, *, of: str) -> None:
        super().__init__()
        self.code, self.of = code, of


class EndlessArgsError(Exception):
    @property
    def args(self) -> Any:
        return self

    def __iter__(self) -> Any:
        while True:
            yield self


class HoldsALockError(Exception):
    """What it carries is no data."""

    def __init__(self) -> None:
        super().__init__(asyncio.Lock(), object(), {object(): 1})


def in_a_circle() -> Exception:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    first.__context__ = first
    return first


def a_long_chain() -> Exception:
    error: Exception = ValueError("the root")
    for number in range(2000):
        above = ValueError(f"cause {number}")
        above.__cause__ = error
        error = above
    return error


def deep_groups() -> Exception:
    error: Exception = ValueError("inmost")
    for number in range(200):
        error = ExceptionGroup(f"group {number}", [error, OSError(number, "beside")])
    return error


WEIRD = {
    "broken str": BrokenStrError,
    "more arguments": lambda: NeedsMoreError(7, of="x"),
    "endless args": EndlessArgsError,
    "no data": HoldsALockError,
    "circle of causes": in_a_circle,
    "long chain": a_long_chain,
    "deep groups": deep_groups,
    "half a surrogate": lambda: ValueError("\ud800 \0 \x1b[31m"),
    "a megabyte": lambda: ValueError("x" * (1 << 20)),
    "local class": lambda: type("LocalError", (Exception,), {})("of no module"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "wrong"),
    "stop": lambda: StopAsyncIteration("a value"),
    "group of one": lambda: ExceptionGroup("of one", [ExceptionGroup("of", [KeyError(1)])]),
    "recursion": lambda: RecursionError("maximum recursion depth exceeded"),
    "memory": MemoryError,
}


def made(kind: str) -> Exception:
    return WEIRD[kind]()


@task(retry_policy=RetryPolicy(max_attempts=2, initial_delay_ms=1, backoff_multiplier=1.0))
async def raise_in_task(run: str, kind: str) -> None:
    ledger().note("start", run, "raise")
    raise made(kind)


@weird.start()
async def weird_start(ctx: Context, kind: str, where: str) -> Directive:
    run = ctx.run.wf_id
    if where == "step":
        raise made(kind)
    try:
        await raise_in_task(run, kind)
    except Exception as error:
        caught = type(error).__name__
        ledger().note("seen", run, "caught", caught)
        await act(run, "gate", run)
        if where == "task, let go":
            raise
    return ctx.next.complete(caught)


blocker = Workflow("faults.blocker")
long_task = Workflow("faults.long")
poison = Workflow("faults.poison")


@blocker.start()
async def blocker_start(ctx: Context, seconds: float) -> Directive:
    time.sleep(seconds)  # noqa: ASYNC251 - that is the fault
    return ctx.next.complete("unblocked")


@task
async def take(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "taken"


@long_task.start()
async def long_start(ctx: Context, seconds: float) -> Directive:
    return ctx.next.complete(await take(seconds))


def address_space() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@task
async def lethal(how: str) -> None:
    if how == "exit":
        os._exit(9)
    if how == "killed":  # as the kernel does when memory runs out
        os.kill(os.getpid(), signal.SIGKILL)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    used = address_space()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), limit[1]))
    try:
        eaten = [bytearray(1 << 20) for _ in range(1 << 20)]
        raise AssertionError(len(eaten))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


@poison.start()
async def poison_start(ctx: Context, how: str) -> Directive:
    await lethal(how)
    return ctx.next.complete()
