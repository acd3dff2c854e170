"""The benchmark measures work that is done: at tiny sizes each case leaves what it says."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from benchmarks import cases
from benchmarks.floors.commits import bare_commits
from benchmarks.floors.pgbench import hot_statements
from benchmarks.outcome.figures import Results
from benchmarks.outcome.table import figures, targets
from benchmarks.subject import DriverError, Launch, Subject
from benchmarks.verify import NotThereError, verify
from tests.support.database import Database

GRCTL = Launch(Path(sys.executable), "benchmarks.drivers.grctl")

# What is asked of the driver, and the runs and tasks that must be in the database then.
WORK: dict[str, tuple[dict[str, Any], int, int]] = {
    "throughput": ({"runs": 20, "tasks": 3, "in_flight": 10}, 20, 60),
    "payloads": ({"runs": 6, "tasks": 2, "in_flight": 6, "size": 1000}, 6, 12),
    "latency": ({"runs": 3, "tasks": 3}, 3, 9),
    "sequence": ({"tasks": 15}, 1, 15),
    "gather": ({"tasks": 30}, 1, 30),
    "chain": ({"steps": 5}, 1, 5),
    "ping_pong": ({"runs": 3}, 3, 0),
    "children": ({"children": 10}, 11, 0),
}


@pytest_asyncio.fixture
async def driver(database: Database, tmp_path: Path) -> AsyncIterator[Subject]:
    async with await Subject.start(GRCTL, tmp_path / "driver.log") as subject:
        yield subject


async def test_each_kind_of_work_is_in_the_database(driver: Subject, database: Database):
    await driver.ask("open", url=database.dsn)
    for do, (given, runs, tasks) in WORK.items():
        answer = await driver.ask(do, prefix=f"test-{do}", **given)
        assert answer.get("seconds", 0) > 0 or len(answer["latencies"]) == runs
        await verify("grctl", database.dsn, f"test-{do}", runs, tasks)
    await driver.ask("close")


async def test_work_that_is_not_there_is_no_measurement(driver: Subject, database: Database):
    await driver.ask("open", url=database.dsn)
    await driver.ask("throughput", prefix="few", runs=5, tasks=1, in_flight=5)
    with pytest.raises(NotThereError, match="expected 6 runs and 6 tasks"):
        await verify("grctl", database.dsn, "few", 6, 6)


async def test_what_fails_in_the_driver_is_said(driver: Subject):
    with pytest.raises(DriverError, match="ConfigurationError"):
        await driver.ask("open", url="postgresql://nobody@127.0.0.1:1/none")


async def test_pgbench_runs_the_recorded_statements(
    driver: Subject, database: Database, tmp_path: Path
):
    await driver.ask("open", url=database.dsn, concurrency=20, writers=1)
    script = tmp_path / "hot.sql"
    script.write_text(await driver.ask("record", runs=20))
    await driver.ask("close")
    assert (await hot_statements(database.dsn, script, 20, clients=1, seconds=1))["runs/s"] > 0
    ended = await database.fetchval(
        "select count(*) from grctl.runs where wf_id like 'pgbench-%' and status = 'completed'"
    )
    recorded = await database.fetchval(
        "select count(*) from grctl.events e join grctl.runs r using (run_id)"
        " where r.wf_id like 'pgbench-%' and e.kind = 'task.completed'"
    )
    assert ended > 0
    assert recorded == 3 * ended


async def test_bare_commits_are_commits(database: Database):
    found = await bare_commits(database.dsn, 0.2, writers=2)
    counted = await database.fetchval("select sum(n) from floor")
    assert counted > 2
    # The first one of each writer is for practice.
    assert float(counted - 2) == pytest.approx(found["commits/s"] * 0.2)


def test_ratios_are_taken_round_by_round():
    results = Results()
    for number, (ours, theirs) in enumerate([(100.0, 10.0), (30.0, 1.0), (200.0, 10.0)], start=1):
        cost = {"python_us": 1.0, "server_us": 1.0}
        results.add("a3", "grctl", number, {"runs/s": ours, **cost})
        results.add("a3", "dbos", number, {"runs/s": theirs, **cost})
    assert results.ratios(("a3", "grctl", "runs/s"), ("a3", "dbos", "runs/s")) == [10, 30, 20]
    row = next(row for row in targets(results)[1] if row[0] == "(a3) runs/s against dbos")
    assert row == ["(a3) runs/s against dbos", "≥ 50 ×", "20.0", "10.0-30.0", "missed"]  # noqa: RUF001  # noqa: RUF001 - "times"


def test_a_peer_that_is_not_installed_is_said_in_the_table():
    results = Results(missing={"absurd": "no network"})
    rows = figures(results)[1]
    measured_by_absurd = [case for case in cases.ALL if "absurd" in case.sizes]
    assert len(rows) == len(measured_by_absurd)
    assert all(row[1:3] == ["absurd", "not measured"] for row in rows)
