"""The figures of faults: a line of JSON for each, and the report's table made from them.

``python -m tests.chaos.faults.figures FILE`` writes the table; of a fault the last line counts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.chaos.faults.catalogue import FAULTS
from tests.chaos.storm import Report
from tests.support.processes import REPOSITORY

REPORT = REPOSITORY / "docs" / "reliability.md"
COLUMNS = {
    "runs": "runs",
    "bodies": "bodies",
    "injected": "injected",
    "extra": "extra",
    "unknown": "unknown",
    "calm": "calm, s",
    "violations": "violations",
}
BEGIN, END = "<!-- faults -->\n", "<!-- /faults -->\n"


def note(file: Path, fault: str, report: Report) -> None:
    """Add what came of ``fault``."""
    found = report.figures
    line = {
        "fault": fault,
        "seed": report.plan.seed,
        "runs": found["runs"],
        "bodies": found["task bodies"],
        "injected": sum(found["faults"].values()),
        "extra": found["extra bodies"],
        "unknown": found["unknown calls"],
        "calm": found["seconds until calm"],
        "violations": len(report.violations),
    }
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")


def table(lines: list[dict[str, object]]) -> str:
    """The table, in the catalogue's order."""
    found = {str(line["fault"]): line for line in lines}
    rows = [["fault", "how", *COLUMNS.values()], ["---"] * (2 + len(COLUMNS))]
    for fault in FAULTS.values():
        line = found.get(fault.name)
        cells = [f"{line[name]:,}" for name in COLUMNS] if line else ["not run yet", *[""] * 6]
        rows.append([fault.name, fault.how, *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(file: str) -> None:
    lines = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    text = REPORT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    REPORT.write_text(before + BEGIN + table(lines) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
