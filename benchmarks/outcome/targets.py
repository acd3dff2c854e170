"""What was promised, as ratios within one run of the suite; and what came of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cases.recovery import LEASE_SECONDS
from benchmarks.outcome.figures import Place, Results

PGBENCH = ("1 client", "2 clients", "4 clients")


@dataclass(frozen=True)
class Verdict:
    """A target, what was found, and whether that is enough. `found` is None if not measured."""

    name: str
    wanted: str
    found: float | None
    spread: tuple[float, float] | None
    met: bool | None


def verdicts(results: Results) -> list[Verdict]:
    """Every target."""
    return [target(results) for target in _TARGETS]


def _place(case: str, subject: str = "grctl", figure: str = "runs/s") -> Place:
    return case, subject, figure


def _at_least(name: str, times: float, over: Place, under: Place) -> Callable[[Results], Verdict]:
    return lambda results: _verdict(
        name, results.ratios(over, under), f"≥ {times:g} ×", least=times
    )


def _at_most(name: str, times: float, over: Place, under: Place) -> Callable[[Results], Verdict]:
    return lambda results: _verdict(name, results.ratios(over, under), f"≤ {times:g} ×", most=times)


def _value(name: str, most: float, place: Place, unit: str = "") -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        values = list(results.values(*place).values())
        return _verdict(name, values, f"≤ {most:g} {unit}".strip(), most=most)

    return judge


def _verdict(
    name: str, values: list[float], wanted: str, *, least: float = 0.0, most: float = float("inf")
) -> Verdict:
    if not values:
        return Verdict(name, wanted, None, None, None)
    found = statistics.median(values)
    return Verdict(name, wanted, found, (min(values), max(values)), least <= found <= most)


def _against_pgbench(name: str, case: str, times: float) -> Callable[[Results], Verdict]:
    """Against the best that pgbench does with any number of clients."""

    def judge(results: Results) -> Verdict:
        medians = {each: results.median("floor-pgbench", each, "runs/s") for each in PGBENCH}
        known = {each: value for each, value in medians.items() if value is not None}
        if not known:
            return Verdict(name, f"≥ {times:g} ×", None, None, None)
        best = max(known, key=lambda each: known[each])
        ratios = results.ratios(_place(case), _place("floor-pgbench", best))
        return _verdict(name, ratios, f"≥ {times:g} ×", least=times)

    return judge


def _total_cpu(results: Results) -> Verdict:
    """Python and the server together, beside DBOS's."""
    name, ratios = "cost: CPU of a run against DBOS", []
    ours = results.measured.get("a3", {}).get("grctl", {})
    theirs = results.measured.get("a3", {}).get("dbos", {})
    for number in ours.keys() & theirs.keys():
        cpu = [each[number]["python_us"] + each[number]["server_us"] for each in (ours, theirs)]
        ratios.append(cpu[0] / cpu[1])
    return _verdict(name, ratios, "≤ 1/50", most=1 / 50)


def _bare_commits_of_a_run(results: Results) -> Verdict:
    """(b) needs five commits one after the other: the start, three tasks, and the step's end."""
    ratios = results.ratios(_place("b", figure="p50_ms"), ("floor-commits", "1 writer", "p50_ms"))
    return _verdict(
        f"(b) p50 against the {COMMITS_OF_A_RUN} bare commits it needs",
        [ratio / COMMITS_OF_A_RUN for ratio in ratios],
        "≤ 2 ×",
        most=2,
    )


COMMITS_OF_A_RUN = 5

_PEERS = (
    ("a1", "dbos", 30), ("a1", "absurd", 15), ("a3", "dbos", 50), ("a3", "absurd", 20),
    ("a3", "restate", 10), ("a10", "dbos", 60), ("a10", "absurd", 20),
)  # fmt: skip

_TARGETS: tuple[Callable[[Results], Verdict], ...] = (
    *(
        _at_least(f"({case}) runs/s against {peer}", times, _place(case), _place(case, peer))
        for case, peer, times in _PEERS
    ),
    _against_pgbench("(a3) against pgbench, one process", "a3", 0.5),
    _against_pgbench("(a3) against pgbench, two processes", "a3x2", 0.65),
    _at_least("(a3) two processes against one", 1.5, _place("a3x2"), _place("a3")),
    _bare_commits_of_a_run,
    *(
        _at_most(
            f"(b) p50 against {peer}", 0.25, _place("b", figure="p50_ms"), ("b", peer, "p50_ms")
        )
        for peer in ("dbos", "absurd")
    ),
    _at_least(
        "(c) against the bare commit rate", 0.85,
        _place("c", figure="per_second"), ("floor-commits", "1 writer", "commits/s"),
    ),
    _at_least(
        "(c) against absurd", 3, _place("c", figure="per_second"), ("c", "absurd", "per_second")
    ),
    _at_least(
        "(d) against absurd", 25, _place("d", figure="per_second"), ("d", "absurd", "per_second")
    ),
    _value("(h) all done after a kill", LEASE_SECONDS + 2, _place("h", figure="seconds"), "s"),
    _value("(h) extra executions of recorded tasks", 0, _place("h", figure="extra_of_recorded")),
    _value("(h) lost runs", 0, _place("h", figure="lost")),
    _at_least("(i) 1 M finished runs, against empty", 0.95, _place("i-finished"), _place("a3")),
    _at_least("(i) 100,000 waiting runs, against empty", 0.95, _place("i-waiting"), _place("a3")),
    _value("cost: transactions a run", 0.05, _place("a3", figure="transactions")),
    _value("cost: WAL a run", 2000, _place("a3", figure="wal_bytes"), "bytes"),
    _total_cpu,
    _value("(k) statements of an idle worker", 1, _place("k1", figure="statements/s"), "/s"),
    _value("(k) an idle worker's processor", 0.5, _place("k1", figure="cpu_percent"), "%"),
    _value("(l) memory of 1,000 runs in flight", 25, _place("l1k", figure="kb_a_run"), "kB/run"),
    _value("(l) memory of 10,000 runs in flight", 25, _place("l10k", figure="kb_a_run"), "kB/run"),
    _value("(l) memory of 10,000 waiting runs", 0.5, _place("l-waiting", figure="kb_a_run"),
           "kB/run"),
)  # fmt: skip
