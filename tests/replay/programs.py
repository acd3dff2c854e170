"""Step programs: trees of what steps do, as Hypothesis makes them, and what they mean.

They do all that asyncio offers, and act on what they see in the order in which they see it. They
keep to the rule that holds for every step: what steers them is recorded, or follows from it. No
unrecorded time, no dice, no order of a set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from grctl.worker.context import Context
from tests.replay.world import act, nested, persist

TASKS = {"once": act, "retried": persist, "nested": nested}


@dataclass(frozen=True)
class Node:
    """One thing to do. ``kind`` says how the parts are put together."""

    kind: str
    parts: tuple[Node, ...] = ()
    detail: Any = None

    def __repr__(self) -> str:
        inside = [repr(part) for part in self.parts]
        if self.detail is not None:
            inside.append(repr(self.detail))
        return f"{self.kind}({', '.join(inside)})"


@dataclass
class Seen:
    """What a program has seen and shared, in order: replay must show it the same."""

    ctx: Context
    trace: list[Any] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    left: list[asyncio.Task[Any]] = field(default_factory=list)

    def note(self, path: str, what: Any) -> Any:
        self.trace.append([path, what])
        return what


def call(node: Node, path: str, value: Any = None) -> Any:
    """A task call, not awaited yet."""
    behaviour, which = node.detail
    return TASKS[which](path, behaviour, value)


def react(path: str, value: Any) -> Any:
    """A task call whose input is what was seen: a difference would be found out."""
    return act(path, "works", value)


def begin(node: Node, path: str, seen: Seen) -> Any:
    """A part as an awaitable: a bare task call where it is one, else a coroutine."""
    return call(node, path) if node.kind == "act" else perform(node, path, seen)


async def perform(node: Node, path: str, seen: Seen) -> Any:
    """Do what ``node`` says."""
    return seen.note(path, await MEANINGS[node.kind](node, path, seen))


async def _act(node: Node, path: str, seen: Seen) -> Any:
    return await call(node, path)


async def _value(node: Node, path: str, seen: Seen) -> Any:
    value = await getattr(seen.ctx, node.detail)()
    return await react(path, str(value))


async def _timed_value(node: Node, path: str, seen: Seen) -> Any:
    return await react(path, await seen.ctx.now())


async def _sleep(node: Node, path: str, seen: Seen) -> Any:
    await seen.ctx.sleep(timedelta(milliseconds=node.detail))


async def _pass(node: Node, path: str, seen: Seen) -> Any:
    for _ in range(node.detail):
        await asyncio.sleep(0)


async def _seq(node: Node, path: str, seen: Seen) -> Any:
    return [await perform(part, f"{path}.{n}", seen) for n, part in enumerate(node.parts)]


async def _gather(node: Node, path: str, seen: Seen) -> Any:
    started = [begin(part, f"{path}.{n}", seen) for n, part in enumerate(node.parts)]
    results = await asyncio.gather(*started, return_exceptions=node.detail)
    return [str(result) for result in results]


async def _group(node: Node, path: str, seen: Seen) -> Any:
    first, *others = node.parts
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(perform(part, f"{path}.{n}", seen)) for n, part in enumerate(others)
        ]
        await perform(first, f"{path}.body", seen)
    return [str(each.result()) for each in tasks]


async def _race(node: Node, path: str, seen: Seen) -> Any:
    enough, losers = node.detail
    tasks = [
        asyncio.create_task(perform(part, f"{path}.{n}", seen)) for n, part in enumerate(node.parts)
    ]
    pending, order = set(tasks), []
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order.append(sorted(tasks.index(each) for each in done))
        await react(f"{path}:{len(order)}", order)
        if len(order) == enough:
            break
    late = [each for each in tasks if each in pending]
    if losers == "cancelled":
        for each in late:
            each.cancel()
    elif losers == "left":
        seen.left += late
        late = []
    outcomes = await asyncio.gather(*late, return_exceptions=True)
    over = [each for each in tasks if each.done() and not each.cancelled()]
    return [order, [repr(each) for each in outcomes], [repr(each.exception()) for each in over]]


async def _completed(node: Node, path: str, seen: Seen) -> Any:
    calls = [call(part, f"{path}.{n}") for n, part in enumerate(node.parts)]
    order: list[str] = []
    for future in asyncio.as_completed(calls):
        try:
            order.append(await future)
        except Exception as error:  # noqa: BLE001 - whatever a task raises
            order.append(repr(error))
        await react(f"{path}:{len(order)}", order)
    return order


async def _both(node: Node, path: str, seen: Seen) -> Any:
    first, second = node.parts
    task = asyncio.create_task(begin(first, f"{path}.0", seen))
    seen.left.append(task)
    here = await perform(second, f"{path}.1", seen)
    return [str(await task), here]


async def _cancel(node: Node, path: str, seen: Seen) -> Any:
    victim, meanwhile = node.parts
    task = asyncio.create_task(begin(victim, f"{path}.0", seen))
    seen.left.append(task)
    await perform(meanwhile, f"{path}.1", seen)
    task.cancel()
    try:
        return str(await task)
    except asyncio.CancelledError:
        return await react(f"{path}:cancelled", len(seen.trace))


async def _shield(node: Node, path: str, seen: Seen) -> Any:
    inner, meanwhile = node.parts
    task = asyncio.create_task(perform(inner, f"{path}.0", seen))
    seen.left.append(task)

    async def wait_behind_shield() -> Any:
        return await asyncio.shield(task)

    outer = asyncio.create_task(wait_behind_shield())
    seen.left.append(outer)
    await perform(meanwhile, f"{path}.1", seen)
    outer.cancel()
    try:
        await outer
    except asyncio.CancelledError:
        seen.note(f"{path}:let go", len(seen.trace))
    return str(await task)


async def _timeout(node: Node, path: str, seen: Seen) -> Any:
    try:
        async with asyncio.timeout(node.detail / 1000):
            for n, part in enumerate(node.parts):
                await perform(part, f"{path}.{n}", seen)
    except TimeoutError:
        return await react(f"{path}:late", len(seen.trace))
    return "in time"


async def _catch(node: Node, path: str, seen: Seen) -> Any:
    try:
        return await perform(node.parts[0], f"{path}.0", seen)
    except Exception as error:  # noqa: BLE001 - groups of errors among them
        return await react(f"{path}:caught", describe(error))


async def _tidy(node: Node, path: str, seen: Seen) -> Any:
    try:
        return await perform(node.parts[0], f"{path}.0", seen)
    finally:
        seen.note(f"{path}:tidied", await react(f"{path}:tidy", len(seen.trace)))


async def _share(node: Node, path: str, seen: Seen) -> Any:
    await perform(node.parts[0], f"{path}.0", seen)
    seen.shared.append(path)
    return await react(f"{path}:shared", seen.shared)


async def _leave(node: Node, path: str, seen: Seen) -> Any:
    seen.left.append(asyncio.create_task(begin(node.parts[0], f"{path}.0", seen)))


async def _until_cancel(node: Node, path: str, seen: Seen) -> Any:
    rounds = 0
    while rounds < 5 and not seen.ctx.cancel_requested:
        await perform(node.parts[0], f"{path}.{rounds}", seen)
        await react(f"{path}:{rounds}", rounds)
        rounds += 1
    return rounds


MEANINGS = {
    "act": _act,
    "value": _value,
    "timed_value": _timed_value,
    "sleep": _sleep,
    "pass": _pass,
    "seq": _seq,
    "gather": _gather,
    "group": _group,
    "race": _race,
    "completed": _completed,
    "both": _both,
    "cancel": _cancel,
    "shield": _shield,
    "timeout": _timeout,
    "catch": _catch,
    "tidy": _tidy,
    "share": _share,
    "leave": _leave,
    "until_cancel": _until_cancel,
}


def describe(error: BaseException) -> Any:
    """An error's type and text; of a group those of its members, sorted."""
    if isinstance(error, BaseExceptionGroup):
        return [type(error).__name__, sorted(map(str, map(describe, error.exceptions)))]
    return [type(error).__name__, str(error)]


NOTHING = st.none()


def _node(kind: str, *parts: st.SearchStrategy[Node], detail: Any = NOTHING) -> Any:
    return st.builds(Node, st.just(kind), st.tuples(*parts), detail)


def _many(kind: str, part: st.SearchStrategy[Node], least: int, detail: Any = NOTHING) -> Any:
    parts = st.lists(part, min_size=least, max_size=4).map(tuple)
    return st.builds(Node, st.just(kind), parts, detail)


BEHAVIOURS = st.sampled_from(["works", "works", "flaky", "fails", "stubborn", "slow to stop"])
ACTS = _node("act", detail=st.tuples(BEHAVIOURS, st.sampled_from(sorted(TASKS))))
GOOD_ACTS = _node("act", detail=st.tuples(st.just("works"), st.sampled_from(sorted(TASKS))))
SLEEPS = _node("sleep", detail=st.sampled_from([0, 2, 15, 300]))
LEAVES = st.one_of(
    ACTS,
    ACTS,
    _node("value", detail=st.sampled_from(["now", "random", "uuid4"])),
    _node("timed_value"),
    SLEEPS,
    _node("pass", detail=st.integers(1, 3)),
)


def _extend(part: st.SearchStrategy[Node]) -> Any:
    return st.one_of(
        _many("seq", part, 1),
        _many("gather", part, 1, st.booleans()),
        _many("group", part, 1),
        _many("race", part, 2, st.tuples(st.integers(1, 4), st.sampled_from(LOSERS))),
        _many("completed", ACTS, 1),
        _node("both", part, part),
        _node("cancel", part, part),
        _node("shield", part, part),
        _many("timeout", st.one_of(ACTS, SLEEPS), 1, st.sampled_from([1, 12, 100])),
        _node("catch", part),
        _node("tidy", part),
        _node("share", part),
        _node("leave", part),
        _node("until_cancel", part),
    )


LOSERS = ["cancelled", "awaited", "left"]
PROGRAMS = _extend(st.recursive(LEAVES, _extend, max_leaves=6))


def _extend_calmly(part: st.SearchStrategy[Node]) -> Any:
    return st.one_of(
        _many("seq", part, 1),
        _many("gather", part, 1, st.sampled_from([True])),
        _node("catch", part),
        _many("gather", ACTS, 1, st.sampled_from([True])),
    )


CALM_PROGRAMS = st.recursive(st.one_of(ACTS, SLEEPS), _extend_calmly, max_leaves=10)
"""Programs whose way depends on no order and no value: every run of one is the same."""


def changed(program: Node) -> st.SearchStrategy[Node]:
    """The program as somebody edited it: a part gone, moved, doubled, or another than it was."""
    return st.sampled_from(list(_edits(program)))


def _edits(node: Node) -> Iterator[Node]:
    parts = node.parts
    if node.kind in ("seq", "gather", "group", "race", "timeout"):
        if len(parts) > 1:
            yield replace(node, parts=parts[1:])
            yield replace(node, parts=parts[::-1])
            yield replace(node, parts=parts[:-1])
        yield replace(node, parts=(parts[0], *parts))
    if node.kind == "act":
        behaviour, which = node.detail
        yield replace(node, detail=("stubborn" if behaviour == "works" else "works", which))
        yield replace(node, detail=(behaviour, "once" if which == "retried" else "retried"))
    if node.kind == "sleep":
        yield replace(node, detail=node.detail + 1)
    if node.kind == "value":
        yield replace(node, detail="now" if node.detail == "uuid4" else "uuid4")
    yield Node("seq", (node,))
    yield Node("tidy", (node,))
    yield Node("pass", (), 1)
    for n, part in enumerate(parts):
        for edited in _edits(part):
            if node.kind == "completed" and edited.kind != "act":
                continue  # it takes bare task calls alone
            yield replace(node, parts=(*parts[:n], edited, *parts[n + 1 :]))
