"""An event within a millisecond of a wait's timer: one wins, and the other is not lost.

Each round looks at every run of it; see ``course.Course.round``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.chaos.races.__main__ import run
from tests.chaos.races.course import Figures

CLOSE = 20_000


@pytest.mark.slow
async def test_close_races_have_one_winner_each_and_lose_no_event() -> None:
    figures = await run(close=60, seed=2, runs=120)

    assert figures["due"]["within ms"]["1"] >= 60
    assert _winners(figures) == {"event", "timer"}


@pytest.mark.chaos
async def test_twenty_thousand_close_races_have_one_winner_each_and_lose_no_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = await run(close=CLOSE, seed=1)

    with capsys.disabled():
        for aim, found in figures.items():
            print(f"\n{aim:6} {found}")
    directory = Path(os.environ.get("GRCTL_TEST_CHAOS_REPORTS", tmp_path))
    (directory / "races.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    assert figures["due"]["within ms"]["1"] >= CLOSE
    assert _winners(figures) == {"event", "timer"}


def _winners(figures: Figures) -> set[str]:
    return {winner for found in figures.values() for winner in found["won"]}
