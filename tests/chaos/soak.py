"""``make soak``: very many runs, with kills, restarts and cuts in turn; and what must stay flat.

Exit code 1 if an invariant does not hold, or something grows: the memory of the worker that is
never killed, connections, or the bytes of a table for each run that it has seen.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.__main__ import show
from tests.chaos.storm import StormPlan, storm
from tests.chaos.strikes import STRIKES

ROTATION = ("kill", "cut", "restart", "kill", "terminate", "stop")
MOST_GROWTH = {
    "worker MiB": 1.1,
    "connections": 1.5,  # how many are just coming and going depends on the fault
    "bytes of runs, a run": 1.1,
    "bytes of events, a run": 1.1,
}
"""From the third quarter to the last: by then caches are full."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100_000, help="started by the drivers")
    parser.add_argument("--phase", type=float, default=20, help="seconds of each kind of fault")
    parser.add_argument("--drivers", type=int, default=2)
    parser.add_argument("--lanes", type=int, default=120, help="runs in flight, a driver")
    parser.add_argument("--shape", default="light")
    parser.add_argument("--json", type=Path, help="write the report here, too")
    return parser.parse_args()


async def main(chosen: argparse.Namespace) -> int:
    plan = StormPlan(
        seed=chosen.seed,
        drivers=chosen.drivers,
        lanes=chosen.lanes,
        shape=chosen.shape,
        runs=-(-chosen.runs // chosen.drivers),
    )
    print(f"seed {chosen.seed}", flush=True)
    async with storm(plan) as it:
        it.workers.spared = it.workers.alive[0]
        for name in itertools.cycle(ROTATION):
            await it.blow([STRIKES[name]], chosen.phase)
            print(f"{name}: {it.gauges.samples[-1]}", flush=True)
            if it.is_driven_out:
                break
        report = await it.conclude()
    show(report)
    grown = growth(report.gauges)
    print("\n".join(grown) or "all is flat")
    if chosen.json:
        chosen.json.write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    return 1 if report.violations or grown else 0


def growth(gauges: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What was larger in the last quarter than it may be, seen from the third."""
    if not gauges:
        return ["too short to tell what grows: it needs 20 s, four looks at the gauges"]
    before, last = gauges["quarter 3"], gauges["quarter 4"]
    return [
        f"{name} grew from {before[name]} to {last[name]}"
        for name, most in MOST_GROWTH.items()
        if last[name] > most * before[name]
    ]


if __name__ == "__main__":
    sys.exit(asyncio.run(main(options())))
