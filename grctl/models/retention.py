"""Which ended runs are to be deleted, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Self

from grctl.models.run import RunStatus

__all__ = ["Policy", "Pruned"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Ended runs of these statuses, once they have been over for so long; of one type, or of all.

    A run stays in any case while a child of it is open, or while its parent is in the step that
    started it and may still ask for its outcome.
    """

    ages: Mapping[RunStatus, timedelta]
    wf_type: str | None = None

    def __post_init__(self) -> None:
        for status, age in self.ages.items():
            if status.is_open:
                raise ValueError(f"only ended runs are deleted, and {status.value} ones are open")
            if age < timedelta(0):
                raise ValueError(f"an age cannot be negative: {age}")


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each table were deleted."""

    runs: int = 0
    events: int = 0
    store: int = 0
    inbox: int = 0
    answers: int = 0
    closings: int = 0

    def __add__(self, other: Self) -> Pruned:
        return Pruned(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))
