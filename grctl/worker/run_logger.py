"""``ctx.logger``: the standard logging interface, silent while a step is replayed."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grctl.worker.scope import Scope

__all__ = ["RunLogger"]


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Says each thing once: what a replay says again is dropped. Run and step are bound."""

    def __init__(self, logger: logging.Logger, scope: Scope, ids: dict[str, Any]) -> None:
        super().__init__(logger, ids)
        self._scope = scope

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard interface
        """Whether a record of this level would be written now."""
        return not self._scope.is_replaying and super().isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the ids to what the caller gives as ``extra``."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
