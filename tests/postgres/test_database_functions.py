"""The statements that decide between rivals, each with its rival: claims, take-overs, starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from grctl.client.starts import Start
from grctl.engine.transitions import WAKE_ORDER, Wake
from grctl.ids import new_run_id
from grctl.postgres.database import Database as Pool
from grctl.settings import Settings
from tests.support import Database, wait_until


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    made = Pool(settings.model_copy(update={"pool_size": 8}))
    await made.open()
    await made.fetch("types", "register", "t", "start", ["start"], ["go"], [], [])
    yield made
    await made.close()


async def worker(pool: Pool, lease: float = 60.0) -> int:
    number = await pool.fetchval("leases", "register", f"w-{uuid4()}", "w", ["t"], 10, lease, 2)
    return int(number)


async def start(pool: Pool, *names: str, timeout_ms: int | None = None) -> list[tuple[UUID, str]]:
    starts = [Start(new_run_id(), name, "t", None, timeout_ms) for name in names]
    rows = await pool.fetch("runs", "start", [each.as_stored() for each in starts], None)
    refused = {row["run"]: row["why"] for row in rows}
    return [(each.run_id, refused.get(each.run_id, "started")) for each in starts]


async def claim(pool: Pool, number: int, most: int = 100) -> list[Any]:
    return await pool.fetch("runs", "claim", number, ["t"], most, None)


async def fail(database: Database, run_id: UUID) -> None:
    await database.execute(
        "update grctl.runs set status = 'failed', ended_at = grctl.now(), wake_at = null"
        " where run_id = $1",
        run_id,
    )


async def test_rival_claims_share_the_runs_and_keep_to_their_limits(pool: Pool) -> None:
    await start(pool, *(f"r{number}" for number in range(200)))
    workers = [await worker(pool) for _ in range(6)]

    claimed = await asyncio.gather(*(claim(pool, number, 25) for number in workers))

    assert all(len(each) <= 25 for each in claimed)
    runs = [row["run_id"] for each in claimed for row in each]
    assert len(runs) == len(set(runs))
    while more := await claim(pool, workers[0], 25):
        assert len(more) <= 25
        runs += [row["run_id"] for row in more]
    assert len(runs) == len(set(runs)) == 200


async def test_the_limit_of_a_claim_is_for_all_types_together(
    database: Database, pool: Pool
) -> None:
    await start(pool, *(f"r{number}" for number in range(6)))
    await pool.fetch("types", "register", "u", "start", ["start"], [], [], [])
    await database.execute("update grctl.runs set wf_type = 'u' where wf_id > 'r2'")
    number = await worker(pool)
    rows = await pool.fetch("runs", "claim", number, ["t", "u"], 2, None)
    assert len(rows) == 2


async def test_a_worker_that_is_dead_claims_nothing(pool: Pool) -> None:
    await start(pool, "a")
    number = await worker(pool)
    await pool.fetchval("leases", "stop", number)
    assert await claim(pool, number) == []


async def test_a_take_over_happens_once_and_raises_the_epoch(
    database: Database, pool: Pool
) -> None:
    [(run, _)] = await start(pool, "a")
    lost = await worker(pool, lease=0.0)
    [held] = await claim(pool, lost)

    taken = await asyncio.gather(*(pool.fetch("leases", "take_over") for _ in range(4)))

    assert [row["lost_worker"] for each in taken for row in each] == [lost]
    assert not await pool.fetchval("leases", "renew", lost, None, None)
    [heir] = await claim(pool, await worker(pool))
    assert heir["run_id"] == run
    assert heir["epoch"] == held["epoch"] + 1
    assert heir["crashes"] == 1
    assert heir["was"] == "running"
    assert heir["cause"] == "start"
    assert await database.fetchval("select count(*) from grctl.writers") == 2


async def test_a_claim_and_the_take_over_of_its_worker_leave_no_run_behind(
    database: Database, pool: Pool
) -> None:
    """Whichever comes first: the run is due for others, or was never claimed."""
    await start(pool, "a")
    number = await worker(pool)
    blocker = await asyncpg.connect(database.dsn)
    try:
        async with blocker.transaction():
            await blocker.execute("select from grctl.workers for update")
            taking = asyncio.create_task(pool.fetchval("leases", "stop", number))
            await wait_until(lambda: blocked(database, 1), "the take-over is blocked")
            claiming = asyncio.create_task(claim(pool, number))
            await wait_until(lambda: blocked(database, 2), "the claim is blocked")
        await asyncio.gather(taking, claiming)
    finally:
        await blocker.close()
    row = await database.fetchrow("select owner, wake_at is not null as due from grctl.runs")
    assert row is not None
    assert tuple(row) == (None, True)


async def test_one_open_run_a_workflow_id_however_many_start_it(
    database: Database, pool: Pool
) -> None:
    answers = await asyncio.gather(*(start(pool, "same") for _ in range(8)))
    assert sorted(answer for [(_, answer)] in answers) == ["running"] * 7 + ["started"]
    assert await database.fetchval("select count(*) from grctl.runs") == 1


async def test_a_start_that_is_sent_again_is_answered_as_the_first(pool: Pool) -> None:
    sent = Start(new_run_id(), "a", "t", None).as_stored()
    for _ in range(2):
        assert await pool.fetch("runs", "start", [sent], None) == []
    assert await pool.fetchval("runs", "latest", "a") == sent[0]


async def test_a_workflow_id_stands_for_its_open_run_else_for_the_one_that_began_last(
    pool: Pool,
) -> None:
    """Even where the later start has the earlier id: it was held up, or its clock is behind."""
    earlier_id, later_id = new_run_id(), new_run_id()
    assert await pool.fetchval("runs", "latest", "a") is None
    for run_id in (later_id, earlier_id):
        assert (
            await pool.fetch("runs", "start", [Start(run_id, "a", "t", None).as_stored()], None)
            == []
        )
        assert await pool.fetchval("runs", "latest", "a") == run_id
        assert await pool.fetchval("runs", "terminate", run_id, None) == "terminated"
        assert await pool.fetchval("runs", "latest", "a") == run_id


async def test_a_failed_run_that_is_retried_is_the_one_its_workflow_id_stands_for(
    database: Database, pool: Pool
) -> None:
    [(failed, _)] = await start(pool, "a")
    await fail(database, failed)
    [(later, _)] = await start(pool, "a")
    await pool.fetchval("runs", "terminate", later, None)

    assert await pool.fetchval("runs", "retry", failed) == "retried"
    assert await pool.fetchval("runs", "latest", "a") == failed


async def test_a_retry_that_races_with_a_start_of_its_workflow_id_is_refused(
    database: Database, pool: Pool
) -> None:
    [(failed, _)] = await start(pool, "a")
    await fail(database, failed)
    rival = await asyncpg.connect(database.dsn)
    try:
        async with rival.transaction():
            await rival.execute(
                "insert into grctl.runs (run_id, wf_id, wf_type, status)"
                " values (gen_random_uuid(), 'a', 't', 'scheduled')"
            )
            retrying = asyncio.create_task(pool.fetchval("runs", "retry", failed))
            await wait_until(lambda: blocked(database, 1), "the retry waits for the start")
        assert await retrying == "running"
    finally:
        await rival.close()
    assert (
        await database.fetchval("select status from grctl.runs where run_id = $1", failed)
        == "failed"
    )
    assert await database.fetchval("select count(*) from grctl.events") == 0


async def test_a_suspect_is_claimed_alone_in_its_turn(database: Database, pool: Pool) -> None:
    for name, crashes in (("good", 2), ("suspect", 3), ("another", 3), ("late", 0)):
        [(run, _)] = await start(pool, name)
        await database.execute("update grctl.runs set crashes = $2 where run_id = $1", run, crashes)
    number = await worker(pool)
    names = dict(await database.fetch("select run_id, wf_id from grctl.runs"))

    claims = [await claim(pool, number) for _ in range(4)]

    assert [{names[row["run_id"]] for row in each} for each in claims] == [
        {"good", "late"},
        {"suspect"},
        {"another"},
        set(),
    ]


# Each run by its crashes, in the order in which the worker claimed them; and what they are then.
BLAME = {
    "no suspect: all": ([0, 2, 1], [1, 3, 2]),
    "a suspect that began last: it alone": ([0, 2, 3], [0, 2, 4]),
    "of two suspects the one that began last": ([3, 0, 3], [3, 0, 4]),
    "what came to it is new: both": ([2, 3, 0], [2, 4, 1]),
    "what came to it has met a crash: that": ([2, 3, 0, 1], [2, 3, 1, 2]),
}


@pytest.mark.parametrize("crashes", BLAME.values(), ids=BLAME)
async def test_a_crash_counts_against_what_may_have_caused_it(
    database: Database, pool: Pool, crashes: tuple[list[int], list[int]]
) -> None:
    before, after = crashes
    number = await worker(pool, lease=0.0)
    runs = []
    for n, met in enumerate(before):
        [(run, _)] = await start(pool, f"r{n}")
        assert [row["run_id"] for row in await claim(pool, number)] == [run]
        await database.execute("update grctl.runs set crashes = $2 where run_id = $1", run, met)
        runs.append(run)

    await pool.fetch("leases", "take_over")

    found = dict(await database.fetch("select run_id, crashes from grctl.runs"))
    assert [found[run] for run in runs] == after


async def test_cancel_and_terminate_end_a_run_that_nobody_executes_at_once(
    database: Database, pool: Pool
) -> None:
    [(first, _), (second, _)] = await start(pool, "a", "b")
    assert await pool.fetchval("runs", "cancel", first, "why") == "cancelled"
    assert await pool.fetchval("runs", "terminate", second, "enough") == "terminated"
    for how in ("cancel", "terminate"):
        assert await pool.fetchval("runs", how, first, None) == "ended"
        assert await pool.fetchval("runs", how, new_run_id(), None) == "ended"
    rows = await database.fetch(
        "select seq, kind, body ->> 'reason' as why from grctl.events order by run_id"
    )
    assert [tuple(row) for row in rows] == [
        (1, "run.cancelled", "why"),
        (1, "run.terminated", "enough"),
    ]
    assert await claim(pool, await worker(pool)) == []


async def test_a_message_that_races_with_the_runs_end_is_delivered_or_refused(
    database: Database, pool: Pool
) -> None:
    [(run, _)] = await start(pool, "a")
    answers = await asyncio.gather(
        pool.fetchval("runs", "terminate", run, None),
        *(pool.fetch("inbox", "send", run, "event", "go", None, uuid4(), None) for _ in range(6)),
    )
    delivered = sum(bool(rows[0]["delivered"]) for rows in answers[1:])
    assert await database.fetchval("select count(*) from grctl.inbox") == delivered


SITUATIONS = {
    Wake.RUN_TIMEOUT: "status = 'waiting', deadline_at = now() - interval '1 s', "
    "cancel_requested_at = now(), inbox_tail = 1",
    Wake.CANCEL: "status = 'waiting', cancel_requested_at = now(), inbox_tail = 1",
    Wake.START: "status = 'scheduled', inbox_tail = 1",
    Wake.STEP: "status = 'delayed', cause = 'step', inbox_tail = 1",
    Wake.EVENT: "status = 'waiting', inbox_tail = 1",
    Wake.TIMEOUT: "status = 'waiting'",
}


@pytest.mark.parametrize("wake", [wake for wake, _ in WAKE_ORDER])
async def test_the_claim_says_why_in_the_tables_order(
    database: Database, pool: Pool, wake: Wake
) -> None:
    await start(pool, "a")
    await database.execute(f"update grctl.runs set {SITUATIONS[wake]}, wake_at = now()")
    [row] = await claim(pool, await worker(pool))
    assert row["cause"] == wake


async def test_the_clock_of_everything_durable_can_be_shifted(database: Database) -> None:
    await database.execute("set grctl_clock.shift = '1 day'")
    assert await database.fetchval("select grctl.now() - now() = interval '1 day'")


async def test_starts_of_the_same_workflow_ids_in_opposite_orders_do_not_deadlock(
    database: Database, pool: Pool
) -> None:
    rival = await asyncpg.connect(database.dsn)
    try:
        async with rival.transaction():
            # Who has got one of the ids waits here before the next.
            await rival.execute(
                "insert into grctl.runs (run_id, wf_id, wf_type, status) "
                "values ($1, 'between', 't', 'scheduled')",
                uuid4(),
            )
            first = asyncio.create_task(start(pool, "a", "between", "z"))
            await wait_until(lambda: blocked(database, 1), "one is blocked", timeout=30)
            second = asyncio.create_task(start(pool, "z", "between", "a"))
            await wait_until(lambda: blocked(database, 2), "the other is blocked", timeout=30)
    finally:
        await rival.close()
    answers = await asyncio.gather(first, second)

    assert [[why for _, why in each] for each in answers] == [
        ["started", "running", "started"],
        ["running", "running", "running"],
    ]


async def test_the_take_over_of_two_workers_locks_no_run_before_one_with_a_lower_id(
    database: Database, pool: Pool
) -> None:
    (parent, _), (child, _) = await start(pool, "parent", "child")
    assert parent < child
    await database.execute("update grctl.runs set parent_run_id = $1 where wf_id = 'child'", parent)
    # The child's worker comes first, and of its locks none may be held when the parent's is asked.
    for run in (child, parent):
        lost = await worker(pool, lease=0.0)
        await database.execute(
            "update grctl.runs set owner = $1, status = 'running' where run_id = $2", lost, run
        )
    rival = await asyncpg.connect(database.dsn)
    try:
        async with rival.transaction():
            await rival.execute("select from grctl.runs where run_id = $1 for update", parent)
            cancelling = asyncio.create_task(pool.fetchval("runs", "cancel", child, None))
            await wait_until(lambda: blocked(database, 1), "a cancel wants both", timeout=30)
            taking = asyncio.create_task(take_over_all(pool))
            await wait_until(lambda: blocked(database, 2), "the take-over waits, too", timeout=30)
    finally:
        await rival.close()

    assert await asyncio.gather(cancelling, taking) == ["requested", 2]


async def take_over_all(pool: Pool) -> int:
    count = 0
    while taken := await pool.fetch("leases", "take_over"):
        count += len(taken)
    return count


async def blocked(database: Database, number: int) -> bool:
    found = await database.fetchval(
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock'"
    )
    return bool(found >= number)
