"""The plots: SVG that can be read on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from benchmarks import cases
from benchmarks.arena import SUBJECTS
from benchmarks.outcome.figures import Results
from benchmarks.outcome.table import number

GREY = "#808890"
"""Of text and axes: readable on white and on black."""
COLOURS = {
    "grctl": "#2f9e6e", "dbos": "#d9772b", "dbos-queue": "#b98a5a", "absurd": "#7a6fd0",
    "restate": "#3b8fc4", "pgbench": GREY, "bare commits": GREY,
}  # fmt: skip
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "grctl",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

Bar = tuple[str, float, float, float]
"""Who, and the median, the lowest and the highest value."""


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw what was measured; a plot of which nothing was measured is left as it is."""
    titles = {case.key: case.title for case in cases.ALL}
    plots = {
        "throughput": ("runs a second (more is better)", [
            (titles[key], _bars(results, key, "runs/s"))
            for key in ("a1", "a3", "a3x2", "a10", "j1", "j64")
        ]),
        "latency": ("milliseconds, median (less is better)", [
            (titles[key], _bars(results, key, "p50_ms")) for key in ("b", "f")
        ]),
        "shapes": ("operations a second (more is better)", [
            (titles[key], _bars(results, key, "per_second")) for key in ("c", "d", "e", "g")
        ]),
        "cost": ("of one run of 3 tasks (less is better)", [
            ("processor time, Python, µs", _bars(results, "a3", "python_us")),
            ("processor time, server, µs", _bars(results, "a3", "server_us")),
            ("WAL, bytes", _bars(results, "a3", "wal_bytes")),
            ("transactions", _bars(results, "a3", "transactions")),
        ]),
    }  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (label, all_panels) in plots.items():
        panels = [(title, bars) for title, bars in all_panels if bars]
        if panels:
            drawn.append(directory / f"bench-{name}.svg")
            _plot(drawn[-1], label, panels)
    return drawn


def _bars(results: Results, case: str, figure: str) -> list[Bar]:
    found = []
    for subject in SUBJECTS:
        median, spread = (
            results.median(case, subject, figure),
            results.spread(case, subject, figure),
        )
        if median and spread:
            found.append((subject, median, *spread))
    if case == "a3" and figure == "runs/s":
        found += _floor(results)
    return found


def _floor(results: Results) -> list[Bar]:
    """The best of pgbench."""
    subjects = results.measured.get("floor-pgbench", {})
    bars = [
        ("pgbench", median, *spread)
        for subject in subjects
        if (median := results.median("floor-pgbench", subject, "runs/s"))
        and (spread := results.spread("floor-pgbench", subject, "runs/s"))
    ]
    return [max(bars, key=lambda bar: bar[1])] if bars else []


def _plot(path: Path, label: str, panels: Sequence[tuple[str, list[Bar]]]) -> None:
    heights = [len(bars) + 1.2 for _, bars in panels]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(panels), 1, figsize=(7.5, 0.27 * sum(heights) + 0.4), squeeze=False,
            gridspec_kw={"height_ratios": heights}, layout="constrained",
        )  # fmt: skip
        for axis, (title, bars) in zip(axes[:, 0], panels, strict=True):
            _panel(axis, title, bars)
        axes[-1, 0].set_xlabel(f"{label}, on a logarithmic scale")
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)
    # Trailing blanks are matplotlib's.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _panel(axis: Any, title: str, bars: list[Bar]) -> None:
    names = [bar[0] for bar in bars]
    medians = [bar[1] for bar in bars]
    around = [[bar[1] - bar[2] for bar in bars], [bar[3] - bar[1] for bar in bars]]
    places = range(len(bars))
    axis.barh(places, medians, color=[COLOURS[name] for name in names], height=0.7)
    axis.errorbar(medians, places, xerr=around, fmt="none", ecolor=GREY, elinewidth=1, capsize=2)
    axis.set_yticks(places, names)
    axis.invert_yaxis()
    axis.set_xscale("log")
    lowest, highest = min(bar[2] for bar in bars), max(bar[3] for bar in bars)
    # A logarithmic axis has no zero: bars begin well below the least of them.
    axis.set_xlim((lowest or highest / 1000) / 4, highest * 4)
    axis.set_title(title, loc="left", fontsize=10, color=GREY)
    for place, bar in enumerate(bars):
        axis.text(bar[3] * 1.1, place, number(bar[1]), va="center", fontsize=9)
