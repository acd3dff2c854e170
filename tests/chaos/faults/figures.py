"""The figures of faults: a line of JSON for each, and the lines of the report's table.

See ``tests.chaos.report``; of a fault the last line counts.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos.faults.catalogue import FAULTS
from tests.chaos.storm import Report

LINES = "faults.jsonl"
COLUMNS = {
    "runs": "runs",
    "bodies": "bodies",
    "injected": "injected",
    "extra": "extra",
    "unknown": "unknown",
    "calm": "calm, s",
    "violations": "violations",
}


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


def fault_rows(file: Path) -> tuple[list[str], list[list[str]]]:
    """The head of the table, and its rows in the catalogue's order."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = {line["fault"]: line for line in lines}
    rows = []
    for fault in FAULTS.values():
        line = found.get(fault.name)
        cells = [f"{line[name]:,}" for name in COLUMNS] if line else ["not run yet", *[""] * 6]
        rows.append([fault.name, fault.how, *cells])
    return ["fault", "how", *COLUMNS.values()], rows
