"""``python -m tests.chaos.races --close 20000``: sends at the time when a timer is due.

It goes on until so many were committed within a millisecond of it, and then makes half as many
races of each other aim.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from tests.chaos.races.course import RUNS, Figures, course


async def run(close: int, seed: int, runs: int = RUNS) -> dict[str, Figures]:
    """The figures of each aim. A round has so many ``runs``."""
    async with course(seed) as it:
        due, *others = it.races
        while due.close < close:
            await it.round(due, runs)
        for races in others:
            while len(races.off) < close / 2:
                await it.round(races, runs)
        return {races.aim: races.figures() for races in it.races}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.races", description=__doc__)
    parser.add_argument("--close", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    chosen = parser.parse_args()
    figures = asyncio.run(run(chosen.close, chosen.seed))
    for aim, found in figures.items():
        print(f"{aim:6} {found}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
