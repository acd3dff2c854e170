"""Which branch of which step is running: asked of the asyncio task itself.

A task factory gives each asyncio task that is made within a branch a child branch. Looked up by
the current task and not by context variables, which users may replace.

A cancellation that comes while an operation's outcome is on its way into the database changes
nothing about that outcome: it is *owed*, and takes effect at the task's next operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from grctl.engine.identity import Branch

__all__ = ["BranchTask", "current_branch", "install", "running"]


class BranchTask(asyncio.Task[Any]):
    """An asyncio task that belongs to a step; ``branch`` is None between two steps.

    ``inside`` is true while a task's body runs in it: what a body calls is not the step's.
    ``owed`` is the count of cancellations up to which they are still to take effect.
    """

    __slots__ = ("branch", "inside", "owed")

    branch: Branch | None
    inside: bool
    owed: int

    @property
    def cancels_seen(self) -> int:
        """How many cancellations were asked for, without one that was not delivered yet."""
        return self.cancelling() - bool(self._must_cancel)  # type: ignore[attr-defined]  # see asyncio.Task

    def owe_cancel(self, seen: int) -> None:
        """An operation is over, and was no cancellation: one that was asked meanwhile is owed."""
        asked = self.cancelling()
        if asked > seen:
            self.owed = asked

    def pay_cancel(self) -> bool:
        """Whether a cancellation is owed and was not taken back (``uncancel``); then no more."""
        is_owed = 0 < self.owed <= self.cancelling()
        self.owed = 0
        return is_owed


def running() -> BranchTask | None:
    """The asyncio task that is running, if it belongs to a step."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return task if type(task) is BranchTask else None


def current_branch() -> Branch | None:
    """The branch that is running, or None: outside any step, or inside a task's body."""
    task = running()
    return None if task is None or task.inside else task.branch


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Give ``loop`` the task factory, over whatever factory it has. Twice is once."""
    outer = loop.get_task_factory()
    if getattr(outer, "is_grctl", False):
        return

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        parent = current_branch()
        if parent is None:
            if outer is None:
                return asyncio.Task(coro, loop=loop, **options)
            return outer(loop, coro, **options)
        options.pop("eager_start", None)  # its branch must be known before its first line runs
        task = _made(coro, loop, **options)
        task.branch = parent.child(getattr(coro, "__qualname__", type(coro).__qualname__))
        parent.scope.spawned(task)
        return task

    factory.is_grctl = True  # type: ignore[attr-defined]  # a mark on the function, read above
    loop.set_task_factory(factory)  # type: ignore[arg-type]  # it takes more options than declared


def start(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], name: str) -> BranchTask:
    """An asyncio task that can run steps; it is in no branch yet."""
    return _made(coro, loop, name=name)


def _made(
    coro: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, **options: Any
) -> BranchTask:
    task = BranchTask(coro, loop=loop, **options)
    task.branch = None
    task.inside = False
    task.owed = 0
    return task
