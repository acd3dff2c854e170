"""A worker is killed (SIGKILL) at a chosen place, and another one goes on with its runs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from grctl.client import Client
from grctl.errors import StepFailed
from grctl.models import RunStatus
from tests.support import Database, wait_until
from tests.support.ledger import Ledger

GONE_BY_SIGKILL = -9
GONE_BY_EXIT = 3
KILLED_ITSELF = 9


async def test_completed_tasks_are_not_run_again_and_give_the_same_results(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    first = await launch()
    handle = await client.start_workflow("chaos.chain", "a", {"tasks": 4, "gate_at": 2})
    await wait_until(lambda: ledger.count("start", "a", "2"), "the third task runs")
    first.kill()
    assert await first.wait() == GONE_BY_SIGKILL
    ledger.open_gate("a")
    second = await launch()

    result = await handle.result(timeout=60)

    assert result == ["0 of a", "1 of a", "2 of a", "3 of a", "last of a"]
    starts = Counter(each.key for each in ledger.entries("start", "a"))
    assert starts == {"0": 1, "1": 1, "2": 2, "3": 1, "last": 1}
    assert {each.pid for each in ledger.entries("end", "a", "3")} == {second.pid}
    await assert_history_is_whole(database)
    assert await database.fetchval("select crashes from grctl.runs") == 0


async def test_a_failed_task_raises_the_same_error_without_a_call(
    client: Client, ledger: Ledger, launch: Any
) -> None:
    first = await launch()
    handle = await client.start_workflow("chaos.errors", "a")
    await wait_until(lambda: ledger.count("start", "a", "gate"), "the task at the gate runs")
    first.kill()
    ledger.open_gate("a")
    await launch()

    result = await handle.result(timeout=60)

    told = ["declined with insufficient"]
    assert result == ["PaymentDeclinedError", "insufficient", 700, told, told[0]]
    assert ledger.count("start", "a", "pay") == 1
    live, replayed = ledger.entries("seen", "a", "pay")
    assert live.value == replayed.value
    assert live.pid != replayed.pid


async def test_parallel_branches_are_replayed_each_on_its_own(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    first = await launch()
    handle = await client.start_workflow("chaos.branches", "a", {"width": 5})
    await wait_until(lambda: ledger.count("start", "a") == 5, "all branches stand at their gates")
    for number in (3, 1):  # two of five get through, in an order of their own
        ledger.open_gate(f"a {number}")
        await wait_until(
            lambda number=number: [
                e for e in ledger.entries("start", "a") if e.key.startswith(f"{number} ")
            ][1:],
            "the branch is at its second gate",
        )
    first.kill()
    for number in range(5):
        ledger.open_gate(f"a {number}")
        ledger.open_gate(f"a {number} after")
    await launch()

    result = await handle.result(timeout=60)

    for number, (before, after) in enumerate(result):
        uuids = {each.value for each in ledger.entries("seen", "a", f"uuid {number}")}
        assert len(uuids) == 1, "the branch's uuid is the same one on both paths"
        assert before == f"{number} {uuids.pop()} of a"
        assert after.startswith(f"{number} ")
        assert after.endswith(" after of a")
    starts = Counter(each.key for each in ledger.entries("start", "a"))
    done_before = {each.key for each in ledger.entries("end", "a") if each.pid == first.pid}
    assert len(done_before) == 2
    assert {key: starts[key] for key in done_before} == dict.fromkeys(done_before, 1)
    assert len(starts) == 10, "no task was called with another uuid"
    await assert_history_is_whole(database)


async def test_the_attempt_and_what_is_left_of_the_backoff_survive(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    first = await launch()
    handle = await client.start_workflow("chaos.retries", "a")
    await wait_until(
        lambda: database.fetchval(
            "select count(*) from grctl.events where kind = 'task.attempt_failed'"
        ),
        "the first attempt is recorded",
    )
    first.kill()
    await launch()

    assert await handle.result(timeout=60) == "at last"

    attempts = ledger.entries("start", "a", "flaky")
    assert len(attempts) == 3
    assert attempts[1].at - attempts[0].at > 2.4, "all of the backoff was waited for"
    assert attempts[1].at - await claimed_at(database) < 2.4, (
        "and after the claim only the rest of it"
    )
    rows = await database.fetch(
        "select kind, attempt, body ->> 'max_attempts' as most from grctl.events "
        "where kind like 'task.%' order by seq"
    )
    assert [tuple(row) for row in rows] == [
        ("task.attempt_failed", 1, "3"),
        ("task.attempt_failed", 2, "3"),
        ("task.completed", 3, None),
    ]


async def test_time_dice_uuids_and_sleeps_survive(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    first = await launch()
    handle = await client.start_workflow("chaos.values", "a", {"sleep_ms": 3000})
    await wait_until(
        lambda: database.fetchval(
            "select count(*) from grctl.events where kind = 'sleep.recorded'"
        ),
        "the sleep is recorded",
    )
    first.kill()
    await launch()

    result = await handle.result(timeout=60)

    live, replayed = (json.loads(e.value.replace("'", '"')) for e in ledger.entries(key="values"))
    assert live == replayed == result
    began = ledger.entries("seen", "a", "values")[0].at
    slept = ledger.entries("seen", "a", "slept")[-1].at
    assert slept - began > 2.9, "all of it was slept"
    assert slept - await claimed_at(database) < 2.9, "and after the claim only the rest of it"


async def test_a_system_exit_stops_the_worker_like_a_crash_and_ends_no_run(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    first = await launch()
    handle = await client.start_workflow("chaos.leaver", "a")
    assert await first.wait() == GONE_BY_EXIT
    assert await database.fetchval("select status from grctl.runs") == "running"
    await launch()
    assert await handle.result(timeout=60) == "stayed"


async def test_a_run_that_kills_its_workers_is_failed_and_its_neighbours_are_not(
    client: Client, ledger: Ledger, launch: Any
) -> None:
    options = {"GRCTL_MAX_STEP_CRASHES": 4}
    worker = await launch(**options)
    good = await client.start_workflow("chaos.chain", "good", {"tasks": 3, "gate_at": 1})
    await wait_until(lambda: ledger.count("start", "good", "1"), "the good run is in its step")
    bad = await client.start_workflow("chaos.poison", "bad")
    for _ in range(3):  # three crashes with the good run in its step: either could be the cause
        assert await worker.wait() == KILLED_ITSELF
        worker = await launch(**options)
    ledger.open_gate("good")

    async def ended() -> RunStatus | None:
        nonlocal worker
        if worker.returncode is not None:
            assert worker.returncode == KILLED_ITSELF
            worker = await launch(**options)
        return await status_of(client, "bad")

    assert await wait_until(ended, "the bad run ended", timeout=120) is RunStatus.FAILED

    [failed] = await asyncio.gather(bad.result(timeout=30), return_exceptions=True)
    assert isinstance(failed, StepFailed)
    assert str(failed).startswith("PoisonedStep: step 'poison_start' ended 4 workers")
    assert ledger.count("start", "bad", "lethal") == 4
    assert await good.result(timeout=60) == ["0 of good", "1 of good", "2 of good", "last of good"]
    assert worker.returncode is None


async def status_of(client: Client, workflow_id: str) -> RunStatus | None:
    """The status of a run that has ended."""
    info = await client.describe(workflow_id)
    return info.status if info.ended_at is not None else None


async def claimed_at(database: Database) -> float:
    """When the run was claimed last, in seconds since 1970."""
    found: float = await database.fetchval(
        "select extract(epoch from claimed_at)::float8 from grctl.runs"
    )
    return found


async def assert_history_is_whole(database: Database) -> None:
    """Every run's rows are numbered from 1 without a gap, and no operation has two outcomes."""
    gaps = await database.fetch(
        "select run_id from grctl.events group by run_id having max(seq) <> count(*)"
    )
    assert gaps == []
    doubled = await database.fetch(
        "select run_id, op from grctl.events where kind in ('task.completed', 'task.failed') "
        "group by run_id, step_no, op having count(*) > 1"
    )
    assert doubled == []
