"""``python -m tests.chaos.faults NAME …``: one fault after another upon the load (none: all).

Prints the figures and every violation, and adds a line of JSON for each to ``--figures``. The exit
code is 1 if there was a violation.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.chaos.__main__ import show
from tests.chaos.faults.catalogue import FAULTS
from tests.chaos.faults.figures import note
from tests.chaos.faults.network import network
from tests.chaos.faults.strike import struck


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="in place of each fault's own time")
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--is-inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return chosen


async def main(chosen: argparse.Namespace) -> int:
    violations = 0
    for name in chosen.names or FAULTS:
        if FAULTS[name].in_namespace and not chosen.is_inside:
            violations += await _inside(name, chosen)
            continue
        print(f"{name}, seed {chosen.seed}", flush=True)
        report = await struck(FAULTS[name], chosen.seed, chosen.seconds)
        show(report)
        violations += len(report.violations)
        if chosen.figures:
            note(chosen.figures, name, report)
    return 1 if violations else 0


async def _inside(name: str, chosen: argparse.Namespace) -> int:
    """The same, in a network namespace of its own: its packets are nobody else's."""
    options = ["--is-inside", "--seed", str(chosen.seed)]
    if chosen.seconds:
        options += ["--seconds", str(chosen.seconds)]
    if chosen.figures:
        options += ["--figures", str(chosen.figures)]
    async with network() as made:
        process = await asyncio.create_subprocess_exec(
            *made.prefix, sys.executable, "-m", "tests.chaos.faults", name, *options
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(options())))
