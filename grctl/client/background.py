"""Asyncio tasks of a process, whoever happens to need them first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

__all__ = ["background"]


def background(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """An asyncio task that is nobody's: neither cancelled with the step that began it, nor in its
    trace or under its ids in the log.
    """
    # Past the loop's task factory, which makes what a step begins a part of the step.
    return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), name=name, context=Context())
