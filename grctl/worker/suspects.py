"""Runs whose step was running at several crashes: each is alone for a while, so that the next crash
tells whether it was the one.
"""

from __future__ import annotations

from time import monotonic
from uuid import UUID

from grctl.engine.why_parked import SUSPECT_AFTER_CRASHES
from grctl.worker.run import HeldRun

__all__ = ["Suspects"]

ALONE_SECONDS = 5.0
"""For how long at most: a good step that lives for long must not hold up the others."""


class Suspects:
    """Those that a worker holds. While one is to be alone, the worker begins nothing else."""

    def __init__(self) -> None:
        self._alone_until: dict[UUID, float] = {}

    def note(self, run: HeldRun) -> None:
        """A run is about to begin: it may be a suspect."""
        if run.crashes >= SUSPECT_AFTER_CRASHES:
            self._alone_until[run.run_id] = monotonic() + ALONE_SECONDS

    def forget(self, run_id: UUID) -> bool:
        """A step has ended, or its run is no longer held. Whether it was a suspect's."""
        return self._alone_until.pop(run_id, None) is not None

    @property
    def alone_seconds(self) -> float:
        """For how long nothing is to be begun beside the one there is; 0 if there is none."""
        if not self._alone_until:
            return 0.0
        return max(0.0, max(self._alone_until.values()) - monotonic())
