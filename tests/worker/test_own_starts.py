"""What a client starts over its worker's own connection is the worker's, without a claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from grctl import Client, Connection, Context, Directive, Worker, Workflow
from grctl.client.starts import Start
from grctl.ids import new_run_id
from grctl.settings import Settings
from tests.support import Database, wait_until
from tests.support.proxy import proxied

brief = Workflow("own.brief")
NEVER_POLLED = {"poll_seconds": 300}


@brief.start()
async def begin(ctx: Context) -> Directive:
    return ctx.next.complete([ctx.run.created_at.isoformat(), ctx.run.attempt])


@asynccontextmanager
async def working(settings: Settings, **changed: Any) -> AsyncIterator[tuple[Client, Worker]]:
    """A worker, and a client on the same connection."""
    mine = settings.model_copy(update=changed)
    async with await Connection.connect(settings=mine) as connection:
        worker = Worker([brief], connection)
        running = asyncio.create_task(worker.start())
        await worker.wait_until_ready()
        yield Client(connection), worker
        await worker.stop(shutdown_timeout=0)
        await running


async def row_of(database: Database, wf_id: str) -> asyncpg.Record:
    return (await database.fetch("select * from grctl.runs where wf_id = $1", wf_id))[0]


async def test_a_start_is_the_workers_from_its_first_moment(
    database: Database, settings: Settings
) -> None:
    async with working(settings, **NEVER_POLLED) as (client, _):
        created_at, attempt = await client.run_workflow("own.brief", "a")
    row = await row_of(database, "a")

    assert (row["status"], row["epoch"], row["owner"]) == ("completed", 1, None)
    assert row["created_at"] == row["claimed_at"] == row["started_at"]
    assert (created_at, attempt) == (row["created_at"].isoformat(), 1)


async def test_what_is_started_in_bulk_is_for_any_worker(
    database: Database, settings: Settings
) -> None:
    async with working(settings) as (client, _):
        (handle,) = await client.start_workflows([{"type": "own.brief", "id": "a"}])
        assert not isinstance(handle, Exception)
        await handle.result(timeout=30)
    row = await row_of(database, "a")

    assert row["claimed_at"] > row["created_at"]


async def test_without_a_free_slot_a_start_waits_to_be_claimed(
    database: Database, settings: Settings
) -> None:
    async with working(settings, concurrency=1, **NEVER_POLLED) as (client, worker):
        starts = [client.start_workflow("own.brief", f"{number}") for number in range(5)]
        handles = await asyncio.gather(*starts)  # sent as one: more than there are slots
        await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
        # Their ends may be seen before the worker hears of its own commit of the last.
        await wait_until(lambda: worker.slots.free == 1, "the slot is free")
    rows = await database.fetch("select claimed_at > created_at as late from grctl.runs")

    assert [row["late"] for row in rows] == [True] * 5


async def test_the_timeout_of_a_run_holds_from_its_start(
    database: Database, settings: Settings
) -> None:
    slow = Workflow("own.slow")

    @slow.start()
    async def wait(ctx: Context) -> Directive:
        await ctx.sleep(timedelta(hours=1))
        return ctx.next.complete()

    async with await Connection.connect(settings=settings) as connection:
        worker = Worker([slow], connection)
        running = asyncio.create_task(worker.start())
        await worker.wait_until_ready()
        with pytest.raises(TimeoutError):
            await Client(connection).run_workflow("own.slow", "a", timeout=timedelta(seconds=0.3))
        await worker.stop()
        await running
    assert (await row_of(database, "a"))["status"] == "timed_out"


async def test_a_start_whose_answer_is_lost_is_given_back_and_executed(
    database: Database, settings: Settings
) -> None:
    async with (
        proxied(database.dsn) as proxy,
        working(settings, database_url=proxy.url, poll_seconds=0.2) as (client, _),
    ):
        await client.run_workflow("own.brief", "before")
        proxy.cut_after = b"marked"
        await asyncio.wait_for(client.run_workflow("own.brief", "marked"), 30)

        assert proxy.cuts == 1
    row = await row_of(database, "marked")
    assert (row["status"], row["epoch"]) == ("completed", 2)


async def test_a_worker_that_was_declared_dead_has_no_starts(
    database: Database, settings: Settings
) -> None:
    async with working(settings) as (client, worker):
        number = worker.worker_no
        pool = client.database
    async with await Connection.connect(settings=settings) as connection:
        pool = connection.database
        start = Start(new_run_id(), "a", "own.brief", None)
        assert await pool.fetch("runs", "start", [start.as_stored()], number) == []
    row = await row_of(database, "a")

    assert (row["status"], row["owner"], row["epoch"]) == ("scheduled", None, 0)
    assert row["wake_at"] is not None


async def test_a_take_over_waits_for_a_start_in_flight_and_has_its_run(
    database: Database, settings: Settings
) -> None:
    async with await Connection.connect(settings=settings) as connection:
        pool = connection.database
        await pool.fetch("types", "register", "own.brief", "begin", ["begin"], [], [], [])
        number = await pool.fetchval("leases", "register", "w", "w", ["own.brief"], 10, 60.0, 1)
        start = Start(new_run_id(), "a", "own.brief", None)
        async with pool.pool.acquire() as starting, starting.transaction():
            await starting.fetch(pool.sql("runs", "start"), [start.as_stored()], number)
            release = "select grctl.release_worker($1, 'lost')"
            taking_over = asyncio.create_task(database.fetchval(release, number))

            async def is_blocked() -> bool:
                waiting = (
                    "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
                )
                return bool(await pool.pool.fetchval(waiting))

            await wait_until(is_blocked, "the take-over waits")
        assert await taking_over == 1
    row = await row_of(database, "a")

    assert (row["owner"], row["status"], row["epoch"]) == (None, "running", 1)
    assert row["wake_at"] is not None
