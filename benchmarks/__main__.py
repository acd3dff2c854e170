"""`python -m benchmarks`: grctl beside its peers and its floors. See docs/performance.md.

`python -m benchmarks report` makes tables, plots and the page's figures of what was measured last.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import cases
from benchmarks.arena import SUBJECTS
from benchmarks.outcome.figures import Results
from benchmarks.outcome.page import write
from benchmarks.outcome.plots import draw
from benchmarks.outcome.table import show
from benchmarks.profile import profile
from benchmarks.suite import run_suite

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
DOCS = HERE.parent / "docs"


def options() -> argparse.Namespace:
    """The command line."""
    keys = [case.key for case in cases.ALL]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("run", "report"), default="run")
    parser.add_argument("--rounds", type=int, help="rounds of all cases (5; 2 if quick)")
    parser.add_argument(
        "--only", default="", metavar="CASES", help=f"some of {','.join(keys)}; a is all of a…"
    )
    parser.add_argument(
        "--subjects", default=",".join(SUBJECTS), help=f"some of {','.join(SUBJECTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", type=Path, default=RESULTS, help=f"the figures ({RESULTS})")
    parser.add_argument("--profile", type=Path, metavar="DIRECTORY",
                        help="instead: profile a3 by py-spy and pg_stat_statements")  # fmt: skip
    chosen = parser.parse_args()
    chosen.only = _chosen(parser, chosen.only, keys)
    chosen.subjects = _chosen(parser, chosen.subjects, list(SUBJECTS), exact=True)
    return chosen


def _chosen(
    parser: argparse.ArgumentParser, text: str, known: list[str], *, exact: bool = False
) -> list[str]:
    """What a list of names means: a name, or the beginning of several."""
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    for each in wanted:
        if not any(name == each or (not exact and name.startswith(each)) for name in known):
            parser.error(f"{each} is none of {', '.join(known)}")
    return [
        name
        for name in known
        if not wanted
        or name in wanted
        or (not exact and any(name.startswith(each) and each not in known for each in wanted))
    ]


def measure(chosen: argparse.Namespace, results: Results) -> None:
    """Run the suite, with a bar that says where it is; lines, where there is no terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    began = monotonic()
    with bar:
        task = bar.add_task("starting")

        def watch(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)
            if not console.is_terminal:
                print(f"{monotonic() - began:6.1f} s  {done}/{total}  {what}", file=sys.stderr)

        asyncio.run(
            run_suite(
                [case for case in cases.ALL if case.key in chosen.only],
                chosen.subjects,
                rounds=chosen.rounds or (2 if chosen.quick else 5),
                scale=0.1 if chosen.quick else 1.0,
                watch=watch,
                results=results,
            )
        )


def main() -> int:
    """Measure, or read what was measured; print it, and draw it."""
    chosen = options()
    if chosen.profile:
        for path in asyncio.run(profile(chosen.profile)):
            print(path)
        return 0
    if chosen.what == "report":
        results = Results.load(chosen.json)
    else:
        results = Results()
        try:
            measure(chosen, results)
        finally:
            results.save(chosen.json)
    show(results)
    print(f"\nfigures: {chosen.json}")
    if chosen.what == "report" or chosen.json == RESULTS:
        for plot in draw(results, DOCS / "assets"):
            print(f"plot: {plot}")
        write(results, DOCS / "performance.md")
        print(f"page: {DOCS / 'performance.md'}")
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
