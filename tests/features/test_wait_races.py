"""A wait's timer and an event at the same instant: exactly one wins, and the other is not lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grctl.client import Client, WorkflowHandle
from tests.chaos.races.workload import race
from tests.features.looking import count, has_status, status_of
from tests.support import Database, wait_until

ROUNDS = 10
RUNS = 1000
AT_ONCE = 25
HOUR_MS = 3_600_000
"""Longer than what has to be done before the timer is due can take; then the clock is shifted."""


@pytest.mark.slow
async def test_ten_thousand_races_have_one_winner_each_and_lose_no_event(
    database: Database, client: Client, serve: Any
) -> None:
    await serve(race)
    await serve(race)
    results: list[str] = []
    lead = 0.1
    for number in range(ROUNDS):
        found = await one_round(client, number, lead)
        results += found
        # On a busy machine senders are late, on an idle one early: aim at a draw.
        lead += 0.3 * (found.count("timer") / len(found) - 0.5)

    assert len(results) == ROUNDS * RUNS
    # That they met at all: neither side won nearly always.
    assert min(results.count("timer"), results.count("event")) > len(results) / 20
    # The steps of each run tell the same: the timer's step once, or never.
    rows = await database.fetch(
        "select r.result #>> '{}' as result, count(*) filter (where e.name = 'late') as late, "
        "count(*) filter (where e.name = 'hit') as hit "
        "from grctl.runs r join grctl.events e using (run_id) group by r.run_id, r.result #>> '{}'"
    )
    assert all(row["late"] == (row["result"] == "timer") and row["hit"] == 1 for row in rows)
    assert await count(database, "runs", "status <> 'completed'") == 0
    assert await count(database, "inbox") == 0


async def one_round(client: Client, number: int, lead: float) -> list[str]:
    """Runs that wait for a second, and to each an event about as its timer goes off."""
    pool = client.database.pool
    made = await client.start_workflows(
        [
            {"type": race.workflow_type, "id": f"{number}:{n}", "input": {"timeout_ms": 1000}}
            for n in range(RUNS)
        ]
    )
    futures = [each.future for each in made if isinstance(each, WorkflowHandle)]

    async def all_began() -> bool:
        began = "select count(*) from grctl.runs where wf_id like $1 and step_no > 1"
        return bool(await pool.fetchval(began, f"{number}:%") == RUNS)

    await wait_until(all_began, "every run waits, or waited")
    rows = await pool.fetch(
        "select run_id, coalesce(extract(epoch from wait_until - grctl.now())::float8, 0) as left "
        "from grctl.runs where wf_id like $1 order by wait_until",
        f"{number}:%",
    )

    async def send(some: list[Any]) -> int:
        await asyncio.sleep(max(0.0, some[0]["left"] - lead))
        runs = sorted(row["run_id"] for row in some)
        async with pool.acquire() as connection, connection.transaction():
            # Who sends to many holds their locks, in the one order (see grctl.deliver).
            lock = "select from grctl.runs where run_id = any($1) order by run_id for no key update"
            await connection.execute(lock, runs)
            delivered: int = await connection.fetchval(
                "select count(*) from unnest($1::uuid[]) as r cross join lateral "
                "grctl.deliver(array[r], '{event}', '{hit}', '{null}', array[r])",
                runs,
            )
        return delivered

    sent = await asyncio.gather(
        *(send(rows[first : first + AT_ONCE]) for first in range(0, RUNS, AT_ONCE))
    )
    assert sum(sent) == RUNS  # all of them acknowledged
    return await asyncio.wait_for(asyncio.gather(*futures), 30)


async def test_an_event_that_is_there_when_the_timer_is_due_wins(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve(race)
    handle = await client.start_workflow(race.workflow_type, "a", {"timeout_ms": HOUR_MS})
    await has_status(database, "a", "waiting")
    await worker.stop()  # nobody claims it, whatever is due
    await handle.send("hit")
    await database.shift_clock("2 hours")  # the timer is due as well
    await serve(race)

    assert await handle.result(timeout=10) == "event"


async def test_an_event_that_comes_while_the_timers_step_runs_is_handled_after_it(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve(race)
    handle = await client.start_workflow(race.workflow_type, "a", {"timeout_ms": 50})

    async def is_late() -> bool:
        return await count(database, "store", "key = 'late'") == 1

    await wait_until(is_late, "the timer has won")
    await handle.send("hit")

    assert await handle.result(timeout=10) == "timer"
    await wait_until(lambda: not worker.slots.executors, "nothing of the run stays in the worker")


async def test_an_event_sent_in_an_open_transaction_wins_or_loses_as_a_whole(
    database: Database, client: Client, serve: Any
) -> None:
    """The sender holds the run's row while the timer is due: the claim passes it by, and comes
    back for it."""
    import asyncpg

    worker = await serve(race)
    handle = await client.start_workflow(race.workflow_type, "a", {"timeout_ms": HOUR_MS})
    await has_status(database, "a", "waiting")
    await worker.stop()
    sender = await asyncpg.connect(database.dsn)
    try:
        async with sender.transaction():
            await sender.fetch(
                "select grctl.deliver(array[$1::uuid], '{event}', '{hit}', '{null}', array[$1])",
                handle.run_id,
            )
            await database.shift_clock("2 hours")  # the timer is due
            await serve(race)
            await client.start_workflow(race.workflow_type, "b", {"timeout_ms": HOUR_MS})
            await has_status(database, "b", "waiting")  # it was claimed, and this one was not
            assert await status_of(database, "a") == "waiting"
    finally:
        await sender.close()

    assert await handle.result(timeout=10) == "event"


async def test_a_wait_for_no_time_at_all_takes_an_event_that_is_there_first(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve(race)
    await worker.stop()
    handles = [
        await client.start_workflow(race.workflow_type, f"a{n}", {"timeout_ms": 0})
        for n in range(20)
    ]
    for handle in handles:
        await handle.send("hit")
    await serve(race)

    assert [await handle.result(timeout=10) for handle in handles] == ["event"] * 20
