"""Which run a log line is about: bound for everything its code writes, by whatever logger.

``ctx.logger`` is the standard logging interface besides, silent while a step is replayed.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from grctl.log import enrich

if TYPE_CHECKING:
    from grctl.worker.run import HeldRun
    from grctl.worker.scope import Scope

__all__ = ["RunLogger", "bind", "ids_of"]

# A context variable, as threads and asyncio tasks that a run starts inherit it.
_executed: ContextVar[HeldRun] = ContextVar("grctl run")


def bind(run: HeldRun) -> None:
    """Everything that the current asyncio task and its children log is about this run."""
    _executed.set(run)


def ids_of(run: HeldRun) -> dict[str, Any]:
    """What every log line about a run carries."""
    return {
        "run_id": str(run.run_id),
        "wf_id": run.wf_id,
        "wf_type": run.wf_type,
        "step": run.step_name,
        "epoch": run.epoch,
    }


def _add_ids(event: MutableMapping[str, Any]) -> None:
    run = _executed.get(None)
    if run is not None:
        for name, value in ids_of(run).items():
            event.setdefault(name, value)


enrich(_add_ids)


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
