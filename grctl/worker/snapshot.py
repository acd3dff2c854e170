"""What a query handler is given: a run as it stands between two steps. It cannot write."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from grctl.engine.codec import Codec
from grctl.errors import StoreKeyNotFoundError
from grctl.worker.context import RunView

__all__ = ["QueryContext", "Snapshot"]

_MISSING: Any = object()


class Snapshot:
    """The store as the last finished step left it, to be read only."""

    def __init__(self, codec: Codec, values: dict[str, str]) -> None:
        self._codec = codec
        self._values = values

    async def get(self, key: str, type: Any = _MISSING, *, default: Any = _MISSING) -> Any:
        """As ``Store.get``."""
        text = self._values.get(key)
        if text is None:
            if default is _MISSING:
                raise StoreKeyNotFoundError(key)
            return default
        return self._codec.decode(text) if type is _MISSING else self._codec.decode(text, type)

    async def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self._values)

    def put(self, key: str, value: Any) -> NoReturn:  # noqa: ARG002 - the store's signature
        """Refused."""
        raise _read_only("ctx.store.put")

    def delete(self, key: str) -> NoReturn:  # noqa: ARG002 - the store's signature
        """Refused."""
        raise _read_only("ctx.store.delete")


class QueryContext:
    """``ctx`` in a query handler: ``run``, ``store`` and ``logger``, and nothing that acts."""

    def __init__(self, run: RunView, store: Snapshot, logger: logging.Logger) -> None:
        self.run = run
        self.store = store
        self.logger = logger

    def __getattr__(self, name: str) -> NoReturn:
        raise _read_only(f"ctx.{name}")


def _read_only(what: str) -> RuntimeError:
    return RuntimeError(
        f"{what} is not for a query: it reads a snapshot of its run and changes nothing. Use an "
        "event or an update"
    )
