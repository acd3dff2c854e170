"""How many of our own functions Python enters for a run, and for a task more: counted, not timed.

A wake-up of a coroutine counts as a call, and so do all the coroutines that await it: it is what
they cost, too. Only calls into the package count, as those of the event loop depend on timing. A
tick of the worker's watch may fall into a run, so the least of some runs counts.
"""

from __future__ import annotations

import asyncio
import sys
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import grctl
from benchmarks.workload import tasks
from grctl import Client, Connection, Worker
from grctl.settings import load_settings
from tests.support import Database

BUDGET = Path(__file__).with_name("budget.toml")
PACKAGE = str(Path(grctl.__file__).parent)
RUNS = 20
MARGIN = 1.05
"""For other versions of Python. Those after 3.11 have fewer calls: comprehensions are none."""


async def test_a_run_and_a_task_more_take_as_many_calls_as_recorded(database: Database) -> None:
    budget = tomllib.loads(BUDGET.read_text(encoding="utf-8"))["calls in Python"]
    settings = load_settings(database_url=database.dsn, poll_seconds=300, lease_seconds=3600)
    async with await Connection.connect(settings=settings) as connection:
        worker = Worker([tasks], connection)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.start())
            await worker.wait_until_ready()
            client = Client(connection)
            await _calls_of_a_run(client, 3)  # what is made at first use
            three = [await _calls_of_a_run(client, 3) for _ in range(RUNS)]
            thirteen = [await _calls_of_a_run(client, 13) for _ in range(RUNS)]
            await worker.stop()

    task_more = (min(thirteen) - min(three)) / 10
    assert 0 < min(three) <= budget["run_of_three_tasks"] * MARGIN
    assert 0 < task_more <= budget["task_more"] * MARGIN


async def _calls_of_a_run(client: Client, count: int) -> int:
    calls = 0

    def note(frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            calls += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        await client.run_workflow("bench.tasks", str(uuid4()), {"count": count})
    finally:
        sys.setprofile(before)
    return calls
