"""The tables of the report are made where the page has a place for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import report


@pytest.mark.parametrize("name", ["faults", "storms", "races", "mutants"])
def test_the_page_has_a_place_for_each_table(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(report.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", copy)

    report.fill(name, "here\n")

    assert f"<!-- {name} -->\nhere\n<!-- /{name} -->\n" in copy.read_text(encoding="utf-8")


def test_a_table_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no <!-- weather -->"):
        report.fill("weather", "")


def test_a_storm_is_a_line() -> None:
    figures = dict.fromkeys(report.STORMS.values(), 1000) | {"faults": {"kill": 2, "cut": 3}}
    found = {"plan": {"seed": 7}, "figures": figures, "violations": ["I1"]}

    line = report.storms([found]).splitlines()[-1]

    assert line.startswith("| 7 | 2 kill · 3 cut | 1,000 |")
    assert line.endswith("| 1 |")
