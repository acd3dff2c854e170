"""What a run costs the database, counted and not timed: a budget that a change must not exceed.

A transaction that writes takes one transaction id, so ids count writing transactions to the unit.
Reads are counted by the server's statistics, which sessions hand in when they end. Autovacuum has
transactions too, so the least of some measurements counts: it can only add.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from benchmarks.workload import tasks
from grctl import Client, Connection, Worker
from grctl.settings import Settings, load_settings
from tests.cost.statements import counting_statements
from tests.support import wait_until
from tests.support.database import Database

MEASUREMENTS = 3


async def test_a_lone_run_of_one_task_takes_two_transactions_beside_its_task(
    database: Database, quiet: Settings
) -> None:
    async def one(client: Client) -> None:
        await client.run_workflow("bench.tasks", "lone", {"count": 1})

    used = await _writing_transactions(database, quiet, one)

    # the start, which needs no claim; the task's outcome; the step's end
    assert used == 3


async def test_a_task_more_is_a_transaction_more(database: Database, quiet: Settings) -> None:
    async def five(client: Client) -> None:
        await client.run_workflow("bench.tasks", "lone", {"count": 5})

    assert await _writing_transactions(database, quiet, five) == 7


async def test_a_lone_run_whose_worker_is_here_reads_nothing(
    database: Database, quiet: Settings
) -> None:
    async def one(client: Client) -> None:
        await client.run_workflow("bench.tasks", "first", {"count": 1})

    async def eleven(client: Client) -> None:
        for i in range(11):
            await client.run_workflow("bench.tasks", f"run {i}", {"count": 1})

    first = await _all_transactions(database, quiet, one)
    used = await _all_transactions(database, quiet, eleven) - first

    # The three that write. And two of the server's own: it counts one for the notification (done)
    # handed to each listener (worker, client). The rest is for autovacuum.
    assert used <= 10 * 5 + 20


async def test_a_thousand_runs_in_flight_share_their_transactions(
    database: Database, quiet: Settings
) -> None:
    async def thousand(client: Client) -> None:
        runs = (client.run_workflow("bench.tasks", f"run {i}", {"count": 3}) for i in range(1000))
        await asyncio.gather(*runs)

    used = await _all_transactions(database, quiet, thousand)

    assert used / 1000 <= 0.1
    assert (
        await database.fetchval("select count(*) from grctl.runs where status = 'completed'")
        == 1000 * MEASUREMENTS
    )
    assert await database.fetchval("select count(*) from grctl.events") == 4000 * MEASUREMENTS


async def test_an_idle_worker_asks_at_most_once_a_second(database: Database) -> None:
    # Polls, renewals, look-outs for the dead and heartbeats, with the settings of a new worker.
    defaults = load_settings(database_url=database.dsn)
    counts: list[int] = []

    async def ten_seconds(_client: Client) -> None:
        with counting_statements(besides=await database.connect()) as count:
            await database.fetchval("select pg_sleep(10)")
        counts.append(count.statements)

    await _with_worker(defaults, ten_seconds)

    assert 1 <= counts[0] <= 10


@pytest.fixture
def quiet(database: Database) -> Settings:
    """Polls and renewals so rare that none falls into a test."""
    return load_settings(
        database_url=database.dsn, poll_seconds=300, lease_seconds=3600, concurrency=1000
    )


async def _with_worker(settings: Settings, act: Callable[[Client], Awaitable[None]]) -> None:
    async with await Connection.connect(settings=settings) as connection:
        worker = Worker([tasks], connection)
        working = asyncio.ensure_future(worker.start())
        await worker.wait_until_ready()
        await act(Client(connection))
        await worker.stop()
        await working


async def _writing_transactions(
    database: Database, settings: Settings, act: Callable[[Client], Awaitable[None]]
) -> int:
    """Transaction ids that `act` used, in a worker that has run something before."""
    used: list[int] = []

    async def measured(client: Client) -> None:
        await client.run_workflow("bench.tasks", "warm-up", {"count": 1})
        for _ in range(MEASUREMENTS):
            before = await _next_xid(database)
            await act(client)
            used.append(await _next_xid(database) - before)

    await _with_worker(settings, measured)
    return min(used)


async def _next_xid(database: Database) -> int:
    next_id = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    return int(await database.fetchval(next_id))


async def _all_transactions(
    database: Database, settings: Settings, act: Callable[[Client], Awaitable[None]]
) -> int:
    """Transactions of a worker's and a client's whole life around `act`, reads included."""
    used: list[int] = []
    for _ in range(MEASUREMENTS):
        before = await _committed(database)
        await _with_worker(settings, act)
        used.append(await _committed(database) - before)
    return min(used)


async def _committed(database: Database) -> int:
    """Transactions committed in the database so far; its other sessions have ended."""
    await database.close()  # hands in its own count, too

    async def alone() -> bool:
        sessions = await database.fetchval(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and backend_type = 'client backend'"
        )
        return bool(sessions == 1)

    await wait_until(alone, "all other sessions have ended")
    return int(
        await database.fetchval(
            "select xact_commit from pg_stat_database where datname = current_database()"
        )
    )
