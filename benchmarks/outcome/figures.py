"""All measurements of one run of the suite, and their medians and ratios."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

Place = tuple[str, str, str]
"""A case, a subject, a figure."""


@dataclass
class Results:
    """`measured[case][subject][round]` are the figures of one measurement."""

    made: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Subjects that could not be installed, and why."""
    failures: list[str] = field(default_factory=list)
    measured: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)

    def add(self, case: str, subject: str, round_no: int, figures: dict[str, float]) -> None:
        """Note one measurement."""
        self.measured.setdefault(case, {}).setdefault(subject, {})[str(round_no)] = figures

    def values(self, case: str, subject: str, figure: str) -> dict[str, float]:
        """A figure by round; empty if it was not measured."""
        rounds = self.measured.get(case, {}).get(subject, {})
        return {n: figures[figure] for n, figures in rounds.items() if figure in figures}

    def median(self, case: str, subject: str, figure: str) -> float | None:
        """The median over the rounds."""
        values = self.values(case, subject, figure)
        return statistics.median(values.values()) if values else None

    def spread(self, case: str, subject: str, figure: str) -> tuple[float, float] | None:
        """The lowest and the highest value."""
        values = self.values(case, subject, figure).values()
        return (min(values), max(values)) if values else None

    def ratios(self, over: Place, under: Place) -> list[float]:
        """Round by round, so that a drift of the machine is in both.

        Of medians where one of them was measured in fewer rounds.
        """
        a, b = self.values(*over), self.values(*under)
        if not a or not b:
            return []
        if a.keys() != b.keys():
            below = statistics.median(b.values())
            return [statistics.median(a.values()) / below] if below else []
        return [a[n] / b[n] for n in a if b[n]]

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))
