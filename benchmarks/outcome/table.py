"""The tables: as rows of text, for the terminal and for the page."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.outcome.figures import Results
from benchmarks.outcome.targets import verdicts

UNITS = {
    "p50_ms": "ms, p50",
    "seconds": "s until all are done",
    "cpu_percent": "% of a core",
    "kb_a_run": "kB/run",
}
COSTS = (
    ("transactions", "transactions"),
    ("wal_bytes", "WAL bytes"),
    ("python_us", "Python µs"),
    ("server_us", "server µs"),
)
NOTES = {
    "p99_ms": "p99 {} ms",
    "in_flight": "{} open at the kill",
    "extra": "{} extra executions",
    "extra_of_recorded": "{} of them of recorded tasks",
    "lost": "{} lost",
    "statements/s": "{} statements/s",
    "server_cpu_percent": "{} % of a core in its sessions",
}

Row = list[str]


def figures(results: Results) -> tuple[Row, list[Row]]:
    """A head, and a row for each subject in each case."""
    head = [
        "case",
        "who",
        "median",
        "lowest-highest",
        "unit",
        "grctl is",
        *(n for _, n in COSTS),
        "",
    ]
    rows = []
    for case in cases.ALL:
        title = f"{case.key}: {case.title}"
        for subject in case.sizes:
            if subject in results.missing:
                rows.append([title, subject, "not measured", *[""] * 7, "not installed"])
            elif (row := _row(results, case, subject)) is not None:
                rows.append([title, subject, *row])
            else:
                continue
            title = ""
    return head, rows


def _row(results: Results, case: Case, subject: str) -> Row | None:
    median = results.median(case.key, subject, case.main)
    spread = results.spread(case.key, subject, case.main)
    if median is None or spread is None:
        return None
    costs = [results.median(case.key, subject, figure) for figure, _ in COSTS]
    if subject == "restate":
        costs[0] = costs[1] = None  # it has no PostgreSQL
    notes = [
        text.format(number(value))
        for figure, text in NOTES.items()
        if (value := results.median(case.key, subject, figure)) is not None
    ]
    unit = UNITS.get(case.main, case.main)
    if case.main == "per_second":
        unit = f"{getattr(case, 'unit', '')}/s"
    return [
        number(median),
        f"{number(spread[0])}-{number(spread[1])}",
        unit,
        _advantage(results, case, subject),
        *("" if each is None else number(each) for each in costs),
        ", ".join(notes),
    ]


def _advantage(results: Results, case: Case, subject: str) -> str:
    """How many times better grctl is."""
    if subject == "grctl" or case.key.startswith("floor"):
        return ""
    ours, theirs = (case.key, "grctl", case.main), (case.key, subject, case.main)
    ratios = results.ratios(ours, theirs) if case.more_is_better else results.ratios(theirs, ours)
    if not ratios:
        return ""
    ratios.sort()
    return f"{number(ratios[len(ratios) // 2])} ×"


def targets(results: Results) -> tuple[Row, list[Row]]:
    """A head, and a row for each target."""
    rows = []
    for verdict in verdicts(results):
        said = {None: "not measured", True: "met", False: "missed"}[verdict.met]
        found = "" if verdict.found is None else number(verdict.found)
        spread = "" if verdict.spread is None else "-".join(number(each) for each in verdict.spread)
        rows.append([verdict.name, verdict.wanted, found, spread, said])
    return ["target", "wanted", "median", "lowest-highest", ""], rows


def number(value: float) -> str:
    """Three digits that mean something."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.095 else f"{value:.3f}"


def show(results: Results) -> None:
    """Print both, and what went wrong."""
    console = Console(width=None if Console().is_terminal else 200)
    for title, (head, rows) in (("Figures", figures(results)), ("Targets", targets(results))):
        table = Table(title=title, title_justify="left", pad_edge=False, box=None)
        for number_, name in enumerate(head):
            table.add_column(name, justify="left" if number_ in {0, 1, len(head) - 1} else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for name, reason in results.missing.items():
        console.print(f"{name} was not measured: {reason}", markup=False)
    for failure in results.failures:
        console.print(f"failed: {failure}", markup=False, style="red")
