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

__all__ = ["BranchTask", "current_branch", "install", "running", "tell_owed_cancel"]


class BranchTask(asyncio.Task[Any]):
    """An asyncio task that belongs to a step; ``branch`` is None between two steps.

    ``inside`` is true while a task's body runs in it: what a body calls is not the step's.
    ``owed`` is how many cancellations it was asked for and has not been told of.
    """

    __slots__ = ("branch", "inside", "owed")

    branch: Branch | None
    inside: bool
    owed: int

    def begin(self, branch: Branch) -> None:
        """Begin a step, as a new worker would: a cancellation that the step before was told of and
        did not take back is none of this one's.
        """
        self.branch = branch
        self.owed = 0
        while self.cancelling():
            super().uncancel()

    @property
    def cancels_seen(self) -> int:
        """How many cancellations it knows of: asked for, told of, and not taken back."""
        return self.cancelling() - bool(self._must_cancel)  # type: ignore[attr-defined]  # of asyncio.Task

    def owe_cancels(self, seen: int) -> None:
        """Put off what was asked for beyond ``seen``, as if it were still to be asked for."""
        while self.cancelling() > seen:
            super().uncancel()
            self.owed += 1

    def uncancel(self) -> int:
        """Take a cancellation back; one that is owed if there is no other."""
        if self.owed and not self.cancelling():
            self.owed -= 1
            return 0
        return super().uncancel()

    def claim_cancels(self) -> bool:
        """Ask again for what is owed: the next await raises. Whether there was any."""
        owed, self.owed = self.owed, 0
        for _ in range(owed):
            self.cancel()
        return owed > 0


async def tell_owed_cancel() -> None:
    """CancelledError if the running asyncio task is owed a cancellation."""
    task = running()
    if task is not None and task.claim_cancels():
        await asyncio.sleep(0)


def running(loop: asyncio.AbstractEventLoop | None = None) -> BranchTask | None:
    """The asyncio task that is running, if it belongs to a step. ``loop`` is the running one where
    the caller has it: to be asked for, it costs a system call (in Python 3.11).
    """
    try:
        task = asyncio.current_task(loop)
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
        parent.scope.spawned(task, task.branch.depth)
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
