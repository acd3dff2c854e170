"""A coroutine that is cancelled at the n-th place where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Stumbling(Coroutine[Any, Any, Any]):
    """``inner``, cancelled ``at`` its n-th await: at once, or when so many turns have passed."""

    def __init__(self, inner: Coroutine[Any, Any, Any], at: int, turns: int) -> None:
        self._inner = inner
        self._left = at
        self._turns = turns
        self.has_stumbled = False

    def send(self, value: Any) -> Any:
        return self._resume(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._resume(self._inner.throw, *error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("it is made for a task, not to be awaited")

    def _resume(self, resume: Callable[..., Any], *args: Any) -> Any:
        waits_for = resume(*args)
        self._left -= 1
        if self._left == 0:
            task = asyncio.current_task()
            assert task is not None
            self._strike(task, self._turns)
        return waits_for

    def _strike(self, task: asyncio.Task[Any], turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._strike, task, turns - 1)
        elif not task.done():
            self.has_stumbled = True
            task.cancel()
