"""Runs over time as stacked columns; places are in percent, from the top left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from grctl.postgres.overview import Period

__all__ = ["ORDER", "Chart", "Column", "columns_of"]

ORDER = (
    "completed", "continued", "running", "scheduled", "delayed", "waiting",
    "cancelled", "terminated", "timed_out", "failed",
)  # fmt: skip
"""From the bottom up: what went well, what goes on, what did not go well."""

GAP = 0.2
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Block:
    """One status in one column."""

    status: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """One span of time; ``words`` say what is drawn."""

    x: float
    width: float
    blocks: Sequence[Block]
    words: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Chart:
    """All columns, and the value that the top stands for."""

    columns: Sequence[Column]
    top: int


def columns_of(periods: Sequence[Period]) -> Chart:
    """The chart of a window."""
    top = _round_up(max((period.runs for period in periods), default=0))
    width = 100 / max(1, len(periods))
    columns = []
    for n, period in enumerate(periods):
        blocks, y = [], 100.0
        for status in ORDER:
            height = 100 * period.by_status.get(status, 0) / top
            if height:
                y -= height
                blocks.append(Block(status, round(y, 3), round(height, 3)))
        left, inner = n * width + GAP / 2, width - GAP
        columns.append(
            Column(
                round(left, 3), round(inner, 3), blocks, _words(period), period.start, period.end
            )
        )
    return Chart(columns, top)


def _words(period: Period) -> str:
    counts = [
        f"{period.by_status[status]:.0f} {status.replace('_', ' ')}"
        for status in ORDER
        if period.by_status.get(status)
    ]
    about = "about " if period.is_reckoned else ""
    return f"{period.start:%H:%M}–{period.end:%H:%M}: {about}{', '.join(counts) or 'no runs'}"


def _round_up(number: float) -> int:
    """A round number, not less."""
    size = 1
    while True:
        for step in _STEPS:
            if size * step >= number:
                return size * step
        size *= 10
