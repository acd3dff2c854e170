"""The tables of docs/reliability.md that are made from what storms, races and mutants leave.

``python -m tests.chaos.report DIRECTORY`` makes those of which the directory has the figures: it is
that of ``GRCTL_TEST_CHAOS_REPORTS``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.chaos.faults.figures import LINES, fault_rows
from tests.support.processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"

STORMS = {
    "runs": "runs",
    "bodies": "task bodies",
    "extra": "extra bodies",
    "calls": "calls",
    "unknown": "unknown calls",
    "rows seen": "rows seen meanwhile",
    "calm, s": "seconds until calm",
}
"""The columns of the storms' table, and their names in a report."""

AIMS = {
    "due": "the time when the timer is due",
    "claim": "the claim that the timer causes",
    "park": "the end of the step that waits, with a timer of 0 to 2 ms",
}


def fill(name: str, text: str) -> None:
    """Put ``text`` between ``<!-- name -->`` and ``<!-- /name -->``."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{PAGE} has no {begin.strip()} with its {end}")
    PAGE.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def storms(reports: list[dict[str, Any]]) -> str:
    """A line for each seed."""
    rows = []
    for report in sorted(reports, key=lambda report: report["plan"]["seed"]):
        plan, found = report["plan"], report["figures"]
        faults = " · ".join(f"{count} {name}" for name, count in found["faults"].items())
        figures = [f"{found[name]:,}" for name in STORMS.values()]
        rows.append([str(plan["seed"]), faults, *figures, str(len(report["violations"]))])
    return table(["seed", "faults", *STORMS, "violations"], rows)


def races(found: dict[str, Any]) -> str:
    """A line for each aim."""
    rows = []
    for aim, what in AIMS.items():
        figures = found[aim]
        won = [f"{figures[key].get('event', 0):,}" for key in ("won", "won within 1 ms")]
        near = [f"{count:,}" for count in figures["within ms"].values()]
        rows.append([what, f"{figures['pairs']:,}", *near, *won])
    within = [f"within {ms} ms" for ms in found["due"]["within ms"]]
    head = ["aimed at", "pairs", *within, "event won", "of those within 1 ms"]
    return table(head, rows)


def main(directory: Path) -> None:
    if (lines := directory / LINES).exists():
        fill("faults", table(*fault_rows(lines)))
    if reports := [json.loads(file.read_text()) for file in directory.glob("storm-*.json")]:
        fill("storms", storms(reports))
    if (file := directory / "races.json").exists():
        fill("races", races(json.loads(file.read_text())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
