"""What a case is to the suite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.arena import Arena, Measured

Figures = dict[str, float]


@dataclass(frozen=True)
class Case(ABC):
    """`sizes` says who is measured and how much each does: enough for about a second."""

    key: str
    title: str
    sizes: dict[str, int]
    main: ClassVar[str] = "runs/s"
    """The figure that the table leads with."""
    more_is_better: ClassVar[bool] = True

    def rounds(self, subject: str, asked: int) -> int:
        """In how many of the rounds it is measured."""
        return asked

    async def prepare(self, arena: Arena, scale: float) -> None:  # noqa: B027 - most need nothing
        """What is made once, before the first round."""

    @abstractmethod
    async def measure(self, arena: Arena, subject: str, scale: float) -> Figures:
        """One measurement; `scale` shrinks the sizes, for a warm-up or a quick look."""

    def amount(self, subject: str, scale: float, least: int = 10) -> int:
        """How much this subject does."""
        return max(min(least, self.sizes[subject]), round(self.sizes[subject] * scale))


def costs(measured: Measured, count: int) -> Figures:
    """What each of `count` runs cost."""
    return {
        "python_us": measured.python_cpu / count * 1e6,
        "server_us": measured.server_cpu / count * 1e6,
        "wal_bytes": measured.wal_bytes / count,
        "transactions": measured.transactions / count,
    }
