"""What grows besides runs: workers that have ended, and notes of what people did."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from grctl.client import Client, Connection
from grctl.postgres.retention import delete_others
from grctl.worker import Worker
from tests.retention.conftest import Fill
from tests.support import Database, wait_until
from tests.workflows import features
from tests.workflows.why import silent

DAY = timedelta(days=1)


async def ended_worker(database: Database, name: str, *, days_ago: float) -> None:
    await database.execute(
        "insert into grctl.workers (worker_id, worker_name, wf_types, concurrency, lease_seconds,"
        " lease_until, ended_at, end_reason)"
        " select $1, $1, '{}', 1, 1, at, at, 'stopped'"
        " from (select grctl.now() - $2 * interval '1 day' as at) as a",
        name,
        days_ago,
    )


async def acted(database: Database, who: str, *, days_ago: float) -> None:
    await database.execute(
        "insert into grctl.audit (actor, action, wf_id, at)"
        " values ($1, 'cancel', 'w', grctl.now() - $2 * interval '1 day')",
        who,
        days_ago,
    )


async def names(database: Database) -> list[str]:
    rows = await database.fetch("select worker_name from grctl.workers order by 1")
    return [row[0] for row in rows]


async def test_a_worker_goes_once_no_run_is_left_that_it_may_have_written(
    client: Client, database: Database, fill: Fill
) -> None:
    for days in (50, 40.5, 38, 20):
        await ended_worker(database, f"w{days}", days_ago=days)
    await fill(1, days=40)

    assert await delete_others(client.database, "workers", DAY, 10) == 1
    # One that ended within a day of the run's begin may have had it: clocks differ.
    assert await names(database) == ["w20", "w38", "w40.5"]

    await database.execute("delete from grctl.runs")
    assert await delete_others(client.database, "workers", 30 * DAY, 10) == 2
    assert await names(database) == ["w20"]


async def test_workers_that_live_or_are_named_by_history_stay(
    client: Client, database: Database, serve
) -> None:
    first = await serve(features.child)
    await client.run_workflow("features.child", "c")
    await first.stop()
    await serve(features.child)

    assert await delete_others(client.database, "workers", timedelta(0), 10) == 0

    history = await client.get_history("c")
    assert {event.worker_id for event in history if event.worker_id} == {first.worker_id}


async def test_notes_go_by_their_age_and_so_many_at_once(
    client: Client, database: Database
) -> None:
    for days in (400, 390, 380, 10):
        await acted(database, f"a{days}", days_ago=days)
    assert await delete_others(client.database, "audit", 365 * DAY, 2) == 2
    assert await delete_others(client.database, "audit", 365 * DAY, 2) == 1
    assert await database.fetchval("select actor from grctl.audit") == "a10"


async def test_a_worker_deletes_them_where_the_settings_name_them(
    database: Database, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.worker.retention.OTHERS_AT_ONCE", 1)
    for days in (400, 390, 10):
        await acted(database, f"a{days}", days_ago=days)
        await ended_worker(database, f"w{days}", days_ago=days)
    mine = settings.model_copy(update={"retention": "workers=30d,audit=365d"})
    async with (
        await Connection.connect(settings=mine) as connection,
        asyncio.TaskGroup() as group,
    ):
        worker = Worker([silent], connection)
        group.create_task(worker.start())

        async def are_gone() -> bool:
            return await database.fetchval(
                "select (select count(*) from grctl.audit) = 1"
                " and (select count(*) from grctl.workers where ended_at is not null) = 1"
            )

        await wait_until(are_gone, "the old ones are deleted", timeout=30)
        await worker.stop(shutdown_timeout=0)
