"""What a run costs the database, counted and not timed: a budget that a change must not exceed.

The statements of this process are counted, reads included: each that is sent alone is a transaction
of its own. Counted at the server, autovacuum's transactions would be among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from benchmarks.workload import tasks
from grctl import Client, Connection, Worker
from grctl.settings import Settings, load_settings
from tests.cost.statements import counting_statements
from tests.support.database import Database


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_a_lone_run_takes_a_statement_for_each_task_and_two_more(
    database: Database, quiet: Settings, count: int
) -> None:
    async def lone(client: Client) -> None:
        await client.run_workflow("bench.tasks", "lone", {"count": count})

    # The start, which needs no claim; each task's outcome; the step's end. Nothing is read.
    assert await _statements(database, quiet, lone) == 2 + count


async def test_a_thousand_runs_in_flight_share_their_transactions(
    database: Database, quiet: Settings
) -> None:
    async def thousand(client: Client) -> None:
        runs = (client.run_workflow("bench.tasks", f"run {i}", {"count": 3}) for i in range(1000))
        await asyncio.gather(*runs)

    used = await _statements(database, quiet, thousand)

    assert used / 1000 <= 0.05
    completed = await database.fetchval(
        "select count(*) from grctl.runs where status = 'completed' and wf_id like 'run %'"
    )
    assert completed == 1000


async def test_an_idle_worker_asks_at_most_once_a_second(database: Database) -> None:
    async def ten_seconds(_client: Client) -> None:
        await database.fetchval("select pg_sleep(10)")

    # Polls, renewals, look-outs for the dead and heartbeats, with the settings of a new worker.
    defaults = load_settings(database_url=database.dsn)
    assert 1 <= await _statements(database, defaults, ten_seconds) <= 10


@pytest.fixture
def quiet(database: Database) -> Settings:
    """Polls and renewals so rare that none falls into a test."""
    return load_settings(
        database_url=database.dsn, poll_seconds=300, lease_seconds=3600, concurrency=1000
    )


async def _statements(
    database: Database, settings: Settings, act: Callable[[Client], Awaitable[None]]
) -> int:
    """What a worker and a client send for `act`, when they have run something before."""
    async with await Connection.connect(settings=settings) as connection:
        worker, client = Worker([tasks], connection), Client(connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.start())
            await worker.wait_until_ready()
            await client.run_workflow("bench.tasks", "warm-up", {"count": 1})
            with counting_statements(besides=await database.connect()) as count:
                await act(client)
            await worker.stop()
    return count.statements
