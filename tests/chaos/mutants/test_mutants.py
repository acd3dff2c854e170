"""Every planted bug still fits the source, and, in the long form, is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.mutants.__main__ import run
from tests.chaos.mutants.mutant import REPOSITORY, Mutant
from tests.chaos.mutants.planted import ALL

NAMES = [mutant.name for mutant in ALL]


@pytest.mark.parametrize("mutant", ALL, ids=NAMES)
def test_a_planted_bug_fits_the_source(mutant: Mutant, tmp_path: Path) -> None:
    source = REPOSITORY / mutant.file
    (tmp_path / mutant.file).parent.mkdir(parents=True)
    (tmp_path / mutant.file).write_bytes(source.read_bytes())
    mutant.apply(tmp_path)
    assert (tmp_path / mutant.file).read_bytes() != source.read_bytes()
    for selection in mutant.noticed_by.split():
        assert (REPOSITORY / selection.partition("::")[0]).exists(), selection


def test_no_two_planted_bugs_have_one_name() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_the_report_has_every_planted_bug() -> None:
    report = (REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = report.partition("<!-- mutants -->")[2].partition("<!-- /mutants -->")[0]
    assert re.findall(r"^\| (.*?) \| `", table, re.MULTILINE) == NAMES
    assert table.strip().startswith(f"{len(NAMES)} of {len(NAMES)} are noticed.")


@pytest.mark.chaos
@pytest.mark.parametrize("mutant", ALL, ids=NAMES)
def test_a_planted_bug_is_noticed(mutant: Mutant) -> None:
    assert run(mutant).by is not None
