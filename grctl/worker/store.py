"""A run's key-value state: read from the table, written only by the step's end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from grctl.engine.codec import Codec
from grctl.engine.rows import StoreWrite
from grctl.errors import SerializationError, StoreKeyNotFoundError
from grctl.worker.branches import running

__all__ = ["Store", "StoreKeyNotFoundError"]

T = TypeVar("T")
D = TypeVar("D")
_MISSING: Any = object()

LONGEST_KEY = 255


class Store:
    """``ctx.store``. Own writes are seen at once; they land with the step's end, or not at all.

    Each step has its own; ``saved`` is what the table has, where a step before it has read that.
    """

    def __init__(
        self,
        codec: Codec,
        load: Callable[[], Awaitable[dict[str, str]]],
        saved: dict[str, str] | None = None,
    ) -> None:
        self._codec = codec
        self._load = load
        self._saved = saved
        self._writes: dict[str, str | None] = {}
        self._is_over = False

    def put(self, key: str, value: Any) -> None:
        """Set ``key``, a string of 1 to 255 characters.

        The value is written as JSON here and now: SerializationError if it cannot be, and a later
        change of the object changes nothing. PayloadTooLargeError over ``max_payload_bytes``.
        RuntimeError in the body of a task, and once the step has ended.
        """
        self._check(key)
        self._writes[key] = self._codec.encode(value, what=f"store value {key!r}")

    @overload
    async def get(self, key: str, *, default: Any = ...) -> Any: ...
    @overload
    async def get(self, key: str, type: type[T]) -> T: ...
    @overload
    async def get(self, key: str, type: type[T], *, default: D) -> T | D: ...
    @overload
    async def get(self, key: str, type: Any, *, default: Any = ...) -> Any: ...
    async def get(self, key: str, type: Any = _MISSING, *, default: Any = _MISSING) -> Any:
        """The value of ``key``, converted to ``type`` where one is given.

        StoreKeyNotFoundError (a KeyError) if there is none and no ``default`` is given.
        """
        text = (await self._texts()).get(key)
        if text is None:
            if default is _MISSING:
                raise StoreKeyNotFoundError(key)
            return default
        return self._codec.decode(text) if type is _MISSING else self._codec.decode(text, type)

    def delete(self, key: str) -> None:
        """Remove ``key``; no error if there is none. RuntimeError as of ``put``."""
        self._check(key)
        self._writes[key] = None

    async def load(self) -> None:
        """Read it now, that later reads need not wait."""
        await self._texts()

    async def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(await self._texts())

    def take_writes(self) -> list[StoreWrite]:
        """What this step wrote, for its end."""
        return [StoreWrite(key, value) for key, value in self._writes.items()]

    def close(self) -> None:
        """The step has ended: what it left behind can write no more."""
        self._is_over = True

    def landed(self) -> Store:
        """The step's end is committed: the next step's, of which its writes are a part."""
        saved = None if self._saved is None else self._merged(self._saved)
        return Store(self._codec, self._load, saved)

    def dropped(self) -> Store:
        """The step did not end with a directive: nothing of it is written."""
        return Store(self._codec, self._load, self._saved)

    def _check(self, key: object) -> None:
        _check(key)
        if self._is_over:
            raise RuntimeError(
                f"the step has ended: an asyncio task that it left behind changes {key!r} in "
                "ctx.store. Await such tasks before the step returns"
            )
        task = running()
        if task is not None and task.inside:
            raise RuntimeError(
                f"ctx.store is written by a step's own code, but a @task changes {key!r}: a replay "
                "does not call the task, and the write would be lost. Return the value from it"
            )

    async def _texts(self) -> dict[str, str]:
        # Nobody but the run's owner writes here, so what was read once stays true.
        if self._saved is None:
            self._saved = await self._load()
        return self._merged(self._saved)

    def _merged(self, saved: dict[str, str]) -> dict[str, str]:
        merged = saved | {k: v for k, v in self._writes.items() if v is not None}
        return {k: v for k, v in merged.items() if self._writes.get(k, v) is not None}


def _check(key: object) -> None:
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
        raise ValueError(
            f"a store key must be a string of 1 to {LONGEST_KEY} characters, not {key!r:.80}"
        )
    if "\0" in key or (not key.isprintable() and any("\ud800" <= c <= "\udfff" for c in key)):
        raise SerializationError(f"a store key must have no NUL and no lone surrogate: {key!r:.80}")
