"""`python -m tests.chaos.mutants [NAME ...]`: plant each bug in a copy, and see what notices it.

Prints the score; `--write` puts it into docs/reliability.md. Fails if a bug goes unnoticed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.mutants.mutant import REPOSITORY, Mutant
from tests.chaos.mutants.planted import ALL
from tests.chaos.report import fill, table

COPIED = ("grctl", "migrations", "tests", "examples", "alembic.ini", "pyproject.toml")
LONGEST_SECONDS = 240
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
TESTS_FAILED = 1


@dataclass
class Score:
    """``by`` is the test that noticed the mutant, None if none did."""

    mutant: Mutant
    by: str | None
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants")
    parser.add_argument("names", nargs="*", help="parts of names; default: all")
    parser.add_argument("--write", action="store_true", help="put the score into the report")
    options = parser.parse_args()
    chosen = [
        each for each in ALL if not options.names or any(n in each.name for n in options.names)
    ]
    scores = []
    for mutant in chosen:
        score = run(mutant)
        scores.append(score)
        print(f"{mutant.name}: {score.by or 'NOT NOTICED'} ({score.seconds:.0f} s)", flush=True)
    noticed = sum(score.by is not None for score in scores)
    print(f"{noticed} of {len(scores)} noticed")
    if options.write:
        fill("mutants", score_table(scores))
    return 0 if noticed == len(scores) else 1


def run(mutant: Mutant) -> Score:
    with tempfile.TemporaryDirectory(prefix="grctl-mutant-", ignore_cleanup_errors=True) as copy:
        tree = Path(copy)
        tree.chmod(0o755)
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / name)
        mutant.apply(tree)
        began = time.monotonic()
        by = noticed_by(mutant, tree)
    return Score(mutant, by, time.monotonic() - began)


def noticed_by(mutant: Mutant, tree: Path) -> str | None:
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header",
        "--hypothesis-profile=hurried", *mutant.noticed_by.split(),
    ]  # fmt: skip
    # The copy comes before what is installed.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("GRCTL_TEST_DATABASE_URL", None)
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False,
        timeout=LONGEST_SECONDS,
    )  # fmt: skip
    if done.returncode == 0:
        return None
    found = FAILED.search(done.stdout)
    if done.returncode != TESTS_FAILED or found is None:
        raise RuntimeError(f"{mutant.name}: the tests did not run:\n{done.stdout}\n{done.stderr}")
    return found[1]


def score_table(scores: list[Score]) -> str:
    noticed = sum(score.by is not None for score in scores)
    rows = [
        [each.mutant.name, f"`{each.mutant.file}`", f"`{each.by}`" if each.by else "**nothing**"]
        for each in scores
    ]
    head = ["planted bug", "in", "noticed by"]
    return f"{noticed} of {len(scores)} are noticed.\n\n{table(head, rows)}"


if __name__ == "__main__":
    sys.exit(main())
