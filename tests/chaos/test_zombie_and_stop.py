"""Workers that are stopped: by SIGSTOP for longer than their lease, by SIGTERM, by a step that
blocks the event loop."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from grctl.client import Client
from tests.support import Database, wait_until
from tests.support.ledger import Ledger


async def test_a_woken_zombie_cannot_write(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    zombie = await launch()
    handle = await client.start_workflow("chaos.chain", "a", {"tasks": 3, "gate_at": 1})
    await wait_until(lambda: ledger.count("start", "a", "1"), "the task at the gate runs")
    zombie.stop()
    heir = await launch()
    await wait_until(
        lambda: database.fetchval("select count(*) from grctl.workers where end_reason = 'lost'"),
        "the zombie is declared dead",
    )
    ledger.open_gate("a")
    assert await handle.result(timeout=60) == ["0 of a", "1 of a", "2 of a", "last of a"]
    before = await database.fetch("select * from grctl.events order by run_id, seq")

    # Its task's body ends now: what it then records comes too late.
    zombie.cont()
    await wait_until(
        lambda: zombie.output.count("worker ready") == 2, "the zombie begins a new term"
    )

    assert await database.fetch("select * from grctl.events order by run_id, seq") == before
    assert ledger.count("start", "a", "last") == 1
    # And it works again, as a new registration.
    heir.kill()
    await heir.wait()
    again = await client.start_workflow("chaos.chain", "b", {"tasks": 1})
    assert await again.result(timeout=60) == ["0 of b", "last of b"]
    assert {each.pid for each in ledger.entries("start", "b")} == {zombie.pid}


async def test_a_stop_that_does_not_wait_gives_runs_back_at_once_and_records_no_cancellation(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    # With leases of a minute, nobody but the stopping worker itself can set the run free.
    stopped = await launch(lease=60, GRCTL_SHUTDOWN_SECONDS=0.2)
    handle = await client.start_workflow("chaos.chain", "a", {"tasks": 3, "gate_at": 1})
    await wait_until(lambda: ledger.count("start", "a", "1"), "the task at the gate runs")
    await launch(lease=60)

    stopped.terminate()
    assert await stopped.wait() == 0
    ledger.open_gate("a")

    assert await handle.result(timeout=60) == ["0 of a", "1 of a", "2 of a", "last of a"]
    kinds = Counter(row["kind"] for row in await database.fetch("select kind from grctl.events"))
    kinds.pop("task.started", None)  # noted, where the task took long
    assert kinds == {"task.completed": 4, "step.completed": 2}
    assert ledger.count("start", "a", "0") == 1
    assert await database.fetchval("select crashes from grctl.runs") == 0, "a stop is no crash"


async def test_a_stop_waits_for_the_running_step_and_begins_no_other(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    stopped = await launch(lease=60, GRCTL_SHUTDOWN_SECONDS=20)
    handle = await client.start_workflow("chaos.steps", "a")
    await wait_until(lambda: ledger.count("start", "a", "0"), "the task at the gate runs")
    stopped.terminate()
    await wait_until(lambda: "worker draining" in stopped.output, "the worker drains")
    ledger.open_gate("a")

    assert await stopped.wait(timeout=30) == 0, "a run of many steps does not hold it up"

    assert ledger.count("end", "a", "0") == 1
    assert [row["kind"] for row in await tasks_of(database)] == ["task.completed"]
    row = await database.fetchrow("select status, owner, wake_at from grctl.runs")
    assert row is not None
    assert (row["status"], row["owner"]) == ("running", None)
    ledger.open_gate("enough")
    await launch()
    assert await handle.result(timeout=60) == 1


async def test_a_step_that_blocks_the_loop_costs_no_lease_and_is_named_with_its_stack(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    worker = await launch(lease=2)
    await launch(lease=2)  # it would take over, if it could
    handles = {}
    for number in range(8):  # on both workers
        name = f"good {number}"
        handles[name] = await client.start_workflow("chaos.chain", name, {"tasks": 2, "gate_at": 0})
    await wait_until(lambda: ledger.count("start") == 8, "the good runs are in their steps")
    blocked = await client.start_workflow("chaos.blocker", "blocked", {"seconds": 5})

    assert await blocked.result(timeout=60) == "unblocked"

    for name, handle in handles.items():
        ledger.open_gate(name)
        assert await handle.result(timeout=60) == [
            f"0 of {name}",
            f"1 of {name}",
            f"last of {name}",
        ]
    assert await database.fetchval("select max(epoch) from grctl.runs") == 1
    assert await database.fetchval("select count(*) from grctl.workers where ended_at is null") == 2
    assert max(Counter(each.key for each in ledger.entries("start", "good 0")).values()) == 1
    [block] = ledger.entries("start", "blocked")
    if block.pid == worker.pid:
        stalls = [json.loads(line) for line in worker.lines if '"loop stalled"' in line]
        assert stalls, worker.output
        assert "block_the_loop" in stalls[0]["stack"]


async def test_two_workers_share_the_runs_and_none_is_executed_twice(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    options = {"lease": 60, "GRCTL_CONCURRENCY": 10}
    first, second = await launch(**options), await launch(**options)
    starts = [
        {"type": "chaos.chain", "id": f"r{number}", "input": {"tasks": 3, "gate_at": 0}}
        for number in range(100)
    ]
    handles: list[Any] = await client.start_workflows(starts)
    await wait_until(lambda: ledger.count("start") == 20, "each has as many as it may have")
    for number in range(100):
        ledger.open_gate(f"r{number}")

    for number, handle in enumerate(handles):
        run = f"r{number}"
        expected = [f"0 of {run}", f"1 of {run}", f"2 of {run}", f"last of {run}"]
        assert await handle.result(timeout=60) == expected

    entries = ledger.entries("start")
    assert len(entries) == 400
    assert max(Counter((each.run, each.key) for each in entries).values()) == 1
    assert {each.pid for each in entries} == {first.pid, second.pid}
    assert await database.fetchval("select max(epoch) from grctl.runs") == 1


async def tasks_of(database: Database) -> list[Any]:
    """The outcomes of tasks; the start of one is noted, too, where it took long."""
    return await database.fetch(
        "select kind from grctl.events where kind like 'task.%' and kind <> 'task.started'"
    )
