"""PostgreSQL is restarted, as by a power cut, under workers and a client; nobody helps them."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from grctl.client import Client, Connection
from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations
from tests.support import Database, wait_until
from tests.support.ledger import Ledger

RUNS = 40


@pytest.mark.slow
async def test_a_database_that_restarts_under_load_loses_nothing_and_needs_no_help(
    server_home: Path, ledger: Ledger, launch: Any
) -> None:
    with EmbeddedPostgres(server_home) as server:
        await migrations.upgrade(server.dsn)
        workers = [await launch(url=server.dsn, lease=2) for _ in range(2)]
        async with await Connection.connect(server.dsn, poll_seconds=0.2) as connection:
            client = Client(connection)
            waiting = []
            for number in range(RUNS):
                run = f"r{number}"
                await client.start_workflow("chaos.chain", run, {"tasks": 6, "gate_at": number % 6})
                handle = await client.get_workflow_handle(run)
                waiting.append(asyncio.create_task(handle.result(timeout=60)))
            for strike in range(2):
                for number in range(strike, RUNS, 2):  # half of them are let through meanwhile
                    ledger.open_gate(f"r{number}")
                before = ledger.count("end")
                await wait_until(
                    lambda before=before: ledger.count("end") > before, "there is load"
                )
                await asyncio.to_thread(server.restart, "immediate")
            results = await asyncio.gather(*waiting)

        for number, result in enumerate(results):
            run = f"r{number}"
            assert result == [*(f"{task} of {run}" for task in range(6)), f"last of {run}"]
        assert [worker.returncode for worker in workers] == [None, None]
        database = Database(server.dsn)
        try:
            await assert_nothing_recorded_ran_twice(database, ledger)
        finally:
            await database.close()


async def assert_nothing_recorded_ran_twice(database: Database, ledger: Ledger) -> None:
    """The workers lived on: what a task did was recorded, if late, and so it was done once.

    Unless one worker took the other for dead: then what was in flight there is done again.
    """
    gaps = await database.fetch(
        "select run_id from grctl.events group by run_id having max(seq) <> count(*)"
    )
    assert gaps == []
    doubled = await database.fetch(
        "select run_id, op from grctl.events where kind = 'task.completed' "
        "group by run_id, step_no, op having count(*) > 1"
    )
    assert doubled == []
    took_over = await database.fetchval(
        "select count(*) from grctl.workers where end_reason = 'lost'"
    )
    if not took_over:
        counts = Counter((each.run, each.key) for each in ledger.entries("start"))
        assert max(counts.values()) == 1
