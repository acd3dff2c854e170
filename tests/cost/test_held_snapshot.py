"""While somebody holds an old snapshot, no dead row can be removed: what a claim and a fence touch
must not grow with the runs that pass meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from grctl import Client, Connection, Context, Directive, Worker, Workflow
from grctl.settings import load_settings
from tests.support import Database

RUNS = 1_000
ROUNDS = 4

brief = Workflow("cost.brief")


@brief.start()
async def begin(ctx: Context) -> Directive:
    return ctx.next.complete()


async def buffers(database: Database, sql: str, *arguments: Any) -> int:
    """Pages that a statement touches; what it does is undone."""
    connection = await database.connect()
    transaction = connection.transaction()
    await transaction.start()
    try:
        told = await connection.fetchval(
            f"explain (analyze, buffers, format json) {sql}", *arguments
        )
    finally:
        await transaction.rollback()
    plan = json.loads(told)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_a_claim_and_a_fence_stay_bounded_under_a_held_snapshot(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of them pass within a second or so: the time that a claim looks back.
    monkeypatch.setattr("grctl.worker.claims.BEHIND", timedelta(0))
    settings = load_settings(database_url=database.dsn)
    holder = await asyncpg.connect(database.dsn)
    claims, whole, fences = [], [], []
    async with (
        await Connection.connect(settings=settings) as connection,
        holder.transaction(isolation="repeatable_read"),
        asyncio.TaskGroup() as group,
    ):
        await holder.fetch("select count(*) from grctl.runs")
        worker = Worker([brief], connection)
        group.create_task(worker.start())
        await worker.wait_until_ready()
        client = Client(connection)
        sql = connection.database.sql("runs", "claim")
        for number in range(ROUNDS):
            await asyncio.gather(
                *(client.run_workflow("cost.brief", f"{number}/{n}") for n in range(RUNS))
            )
            given = (worker.worker_no, ["cost.brief"], 500)
            claims.append(await buffers(database, sql, *given, worker.claims._since))
            whole.append(await buffers(database, sql, *given, None))
            fences.append(
                await buffers(
                    database,
                    "update grctl.writers set last_batch = last_batch + 1"
                    " where worker_no = $1 and slot = 0",
                    worker.worker_no,
                )
            )
        await worker.stop()
    await holder.close()

    # The whole look, once in poll_seconds, shows that dead entries were there to be passed over.
    assert whole[-1] > 2 * whole[0]
    # Between two polls it begins behind them.
    assert claims[-1] < whole[-1] / 2
    # The row of a fence moves on within its page, and a page holds some hundred versions of it.
    assert max(fences) <= 30
