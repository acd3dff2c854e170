"""An event loop whose time jumps: nothing waits, and yet every timer fires in its order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(Exception):
    """Nothing is ready and no timer is set: the loop would wait for ever."""


class _Selector(selectors.SelectSelector):
    """Instead of waiting it moves the loop's clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise DeadlockError
        if timeout > 0:
            self.loop.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """No threads, no sockets."""

    def __init__(self, now: float) -> None:
        self.now = now
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        # What programs leave behind is not a failure of theirs.
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        return self.now


def run_virtually(main: Coroutine[Any, Any, T], start_at: float = 0.0) -> T:
    """Run a coroutine to its end in a loop of its own, in no time."""
    loop = VirtualLoop(start_at)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
