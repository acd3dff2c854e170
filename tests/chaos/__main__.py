"""``python -m tests.chaos --seed 1 --faults kill,restart,cut --seconds 30``: one storm.

Prints the seed, the figures and every violation. The exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.chaos.plans import SHAPES
from tests.chaos.storm import Report, StormPlan, storm
from tests.chaos.strikes import STRIKES

SHOWN = 40


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default="kill,restart,cut", help=f"of {', '.join(STRIKES)}")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--shape", choices=SHAPES, default="mixed")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--drivers", type=int, default=1, help="client processes")
    parser.add_argument("--lanes", type=int, default=24, help="runs in flight, a driver")
    parser.add_argument("--json", type=Path, help="write the report here, too")
    return parser.parse_args()


async def main(chosen: argparse.Namespace) -> int:
    plan = StormPlan(
        seed=chosen.seed,
        workers=chosen.workers,
        drivers=chosen.drivers,
        lanes=chosen.lanes,
        shape=chosen.shape,
    )
    print(f"seed {chosen.seed}", flush=True)
    strikes = [STRIKES[name] for name in chosen.faults.split(",") if name]
    async with storm(plan) as it:
        await it.blow(strikes, chosen.seconds)
        report = await it.conclude()
    show(report)
    if chosen.json:
        chosen.json.write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    return 1 if report.violations else 0


def show(report: Report) -> None:
    """The report, for people."""
    for name, value in report.figures.items():
        print(f"  {name:22} {value}")
    for name, values in report.gauges.items():
        print(f"  {name:22} {values}")
    print(f"{len(report.violations)} violations in {report.seconds:.0f} s")
    for violation in report.violations[:SHOWN]:
        print(f"  {violation}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(options())))
