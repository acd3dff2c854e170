"""Futures by which a replay waits for a recorded outcome: a cancellation does not end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["CancelTurn", "Turn"]


class Turn(asyncio.Future[None]):
    """A recorded outcome's turn. Not to be cancelled by who waits for it: it was recorded, so the
    caller had it.
    """

    __slots__ = ()

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002 - see above
        """Never: see the class."""
        return False


class CancelTurn(asyncio.Future[None]):
    """The turn of a recorded cancellation that the step's code had asked for. It will ask again,
    and then its turn may come: until all before it was handed out, it waits as it did live.
    """

    __slots__ = ("_on_asked",)

    def __init__(self, on_asked: Callable[[], None], *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._on_asked = on_asked

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002 - it is told no message
        """Note that the code asked."""
        if self.done():
            return False
        self._on_asked()
        return True
