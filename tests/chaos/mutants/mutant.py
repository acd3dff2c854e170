"""A planted bug: an edit of one file, and the tests that must fail because of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]

MODEL = "tests/chaos/model"
SIMULATION = "tests/chaos/simulation/test_simulation.py::test_histories_come_out_well"


@dataclass(frozen=True)
class Mutant:
    """``old`` occurs once in ``file``; ``new`` takes its place. ``noticed_by`` is for pytest."""

    name: str
    file: str
    old: str
    new: str
    noticed_by: str

    def apply(self, tree: Path) -> None:
        """Plant it in a copy of the repository. ValueError if it does not fit the source."""
        path = tree / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.name!r}: its text occurs {text.count(self.old)} times in "
                f"{self.file}, not once. The source has changed: plant the bug anew"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
