"""Who a call is: the branch it is made in, and its place there.

An operation's key is taken when it is called, so it depends on no timing: not on the order in
which the event loop starts coroutines, nor on which of them ends first. A step's own coroutine is
the root branch; each asyncio task made within a branch is a branch of its own, named by what the
parent had asked for when it made it, the coroutine's name, and its number among those.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

__all__ = ["Branch"]

_LONGEST_PATH = 240
"""Deeper paths are shortened by a hash, so that a key stays far below what an index can hold."""


class Branch:
    """A line of execution within a step, and the count of what it has asked for.

    ``depth`` is how many branches it is below the root.
    ``scope`` is whatever the worker hangs on its branches; the engine does not look at it.
    """

    __slots__ = ("_children", "asked", "depth", "path", "scope")

    def __init__(self, scope: Any, path: str = "", depth: int = 0) -> None:
        self.scope = scope
        self.path = path
        self.depth = depth
        self.asked = 0
        self._children: dict[str, int] | None = None

    def next_key(self) -> str:
        """The key of the operation that is being called now."""
        self.asked += 1
        return f"{self.path}{self.asked}"

    def child(self, name: str) -> Branch:
        """The branch of an asyncio task that is being made now, of a coroutine so named."""
        if self._children is None:
            self._children = {}
        label = f"{self.asked}.{name}"
        ordinal = self._children.get(label, 0) + 1
        self._children[label] = ordinal
        path = f"{self.path}{label}#{ordinal}/"
        if len(path) > _LONGEST_PATH:
            path = f"~{blake2b(path.encode(), digest_size=16).hexdigest()}/"
        return Branch(self.scope, path, self.depth + 1)


def split_key(key: str) -> tuple[str, str]:
    """A key as ``(branch, place)``, for messages; the root branch is the empty string."""
    branch, _, place = key.rpartition("/")
    return branch, place
