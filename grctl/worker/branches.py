"""Which branch of which step is running: asked of the asyncio task itself.

A task factory gives each asyncio task that is made within a branch a child branch. Looked up by
the current task and not by context variables, which users may replace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from grctl.engine.identity import Branch

__all__ = ["BranchTask", "current_branch", "install"]


class BranchTask(asyncio.Task[Any]):
    """An asyncio task that belongs to a step; ``branch`` is None between two steps."""

    __slots__ = ("branch",)

    branch: Branch | None


def current_branch() -> Branch | None:
    """The branch that is running, or None: outside any step, or inside a task's body."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    if type(task) is not BranchTask:
        return None
    branch = task.branch
    return None if branch is None or branch.inside else branch


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
        task = BranchTask(coro, loop=loop, **options)
        task.branch = parent.child(getattr(coro, "__qualname__", type(coro).__qualname__))
        parent.scope.spawned(task)
        return task

    factory.is_grctl = True  # type: ignore[attr-defined]  # a mark on the function, read above
    loop.set_task_factory(factory)  # type: ignore[arg-type]  # it takes more options than declared


def start(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], name: str) -> BranchTask:
    """An asyncio task that can run steps; it is in no branch yet."""
    task = BranchTask(coro, loop=loop, name=name)
    task.branch = None
    return task
