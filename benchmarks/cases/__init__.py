"""What is measured: one object a case, in the order of the table."""

from __future__ import annotations

from benchmarks.cases.case import Case
from benchmarks.cases.floors import BareCommits, HotStatements
from benchmarks.cases.growth import Grown
from benchmarks.cases.idle import Idle
from benchmarks.cases.memory import InFlight, Waiting
from benchmarks.cases.recovery import Recovery
from benchmarks.cases.work import Latency, Once, Throughput

__all__ = ["ALL", "Case"]

_PEERS_RUNS = {"dbos": 100, "dbos-queue": 60, "absurd": 200, "restate": 400}

ALL: tuple[Case, ...] = (
    BareCommits("floor-commits", "bare commits: one row updated, one connection"),
    HotStatements("floor-pgbench", "pgbench, grctl's own statements, 3 tasks"),
    Throughput("a1", "runs of 1 task", {"grctl": 6000, **_PEERS_RUNS}, tasks=1),
    Throughput("a3", "runs of 3 tasks", {"grctl": 5000, **_PEERS_RUNS}, tasks=3),
    Grown("i-finished", "a3 with 1 M finished runs, 4 M events", 5000, finished=1_000_000),
    Grown("i-waiting", "a3 with 100,000 waiting runs", 5000, waiting=100_000),
    # Not of the queues: their runs may end in the other process, where nobody waits for them.
    Throughput(
        "a3x2",
        "runs of 3 tasks, two processes",
        {"grctl": 8000, "dbos": 120},
        tasks=3,
        processes=2,
    ),
    Throughput(
        "a10",
        "runs of 10 tasks",
        {"grctl": 2500, "dbos": 30, "dbos-queue": 20, "absurd": 60, "restate": 150},
        tasks=10,
    ),
    Latency(
        "b",
        "start to result when idle, 3 tasks",
        {"grctl": 200, "dbos": 30, "dbos-queue": 20, "absurd": 40, "restate": 80},
        do="latency",
        tasks=3,
    ),
    Once(
        "c",
        "1,000 tasks in sequence in one run",
        {"grctl": 1000, "dbos": 200, "absurd": 500, "restate": 500},
        do="sequence",
        unit="tasks",
    ),
    Once(
        "d",
        "1,000 tasks in a gather",
        {"grctl": 1000, "dbos": 300, "absurd": 500, "restate": 500},
        do="gather",
        unit="tasks",
    ),
    Once(
        "e",
        "a chain of 100 steps, 1 task each",
        {"grctl": 100, "dbos": 100, "absurd": 100, "restate": 100},
        do="chain",
        unit="steps",
    ),
    Latency(
        "f",
        "send, handler, result when idle",
        {"grctl": 100, "dbos": 30, "absurd": 40, "restate": 60},
        do="ping_pong",
        tasks=0,
    ),
    Once(
        "g",
        "1,000 children of one parent",
        {"grctl": 1000, "dbos": 60, "absurd": 100, "restate": 300},
        do="children",
        unit="children",
    ),
    Throughput(
        "j1",
        "runs of 3 tasks, results of 1 kB",
        {"grctl": 3000, "dbos": 60, "absurd": 120, "restate": 300},
        tasks=3,
        size=1000,
    ),
    Throughput(
        "j64",
        "runs of 3 tasks, results of 64 kB",
        {"grctl": 400, "dbos": 30, "absurd": 60, "restate": 60},
        tasks=3,
        size=64_000,
    ),
    Recovery("h", "SIGKILL with 500 runs of 3 × 50 ms in flight"),
    Idle("k1", "an idle worker", {"grctl": 1, "dbos": 1, "absurd": 1, "restate": 1}),
    Idle("k10", "ten idle workers", {"grctl": 10}),
    InFlight("l1k", "1,000 runs in flight", {"grctl": 1000, "dbos": 1000}),
    InFlight("l10k", "10,000 runs in flight", {"grctl": 10_000}),
    Waiting("l-waiting", "10,000 waiting runs", {"grctl": 10_000}),
)
