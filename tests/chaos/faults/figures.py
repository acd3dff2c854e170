"""The figures of faults: a line of JSON for each, and the table of the report made from them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tests.chaos.storm import Report


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
