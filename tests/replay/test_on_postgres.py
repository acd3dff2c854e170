"""The same programs on real workers and a real database: crashed at once, finished by another.

What the second worker saw must be what a reader of the whole history sees: each history is read
from the tables and replayed in memory, where nothing may be done again and all must come out the
same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grctl.client import Client, Connection
from grctl.engine.rows import Row
from grctl.ids import new_run_id
from grctl.settings import Settings
from grctl.worker import Context, Worker
from grctl.workflow import Directive, Workflow
from tests.replay.checks import OUTCOMES
from tests.replay.journal import Table
from tests.replay.lives import live
from tests.replay.programs import PROGRAMS, Node, Seen, describe, perform
from tests.replay.world import World, enter
from tests.support import wait_until

READ = """
    select run_id, epoch, seq, step_no, step_attempt, kind, op, name, place, attempt, micros,
        input, body, batch, 0.0::float8 as at
    from grctl.events where run_id = $1 order by seq
"""
OF_IDENT = """
    select kind from grctl.events e
    where (run_id, op) in (
        select run_id, op from grctl.events where input ->> 'ident' = $1 and kind like 'task.%')
"""


class RealWorld(World):
    """Looks into the database to see what is committed."""

    def __init__(self, connection: Connection, dice: Random) -> None:
        super().__init__(Table(), dice)
        self._pool = connection.database.pool

    async def rows_of(self, ident: str) -> list[Any]:
        async with self._pool.acquire() as connection:
            return [
                Row(ROW_ID, 0, 0, 0, 0, **row) for row in await connection.fetch(OF_IDENT, ident)
            ]


ROW_ID = new_run_id()


def workflow_of(programs: dict[str, Node], traces: dict[str, Any]) -> Workflow:
    """One workflow for all programs; what a run's step saw last is in ``traces``."""
    workflow = Workflow("programs")

    @workflow.start()
    async def run(ctx: Context, which: str) -> Directive:
        seen = Seen(ctx)
        traces[which] = seen.trace
        try:
            result = await perform(programs[which], which, seen)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a program's end
            result = describe(error)
        return ctx.next.complete(result)

    return workflow


@asynccontextmanager
async def mortal(workflow: Workflow, settings: Settings) -> AsyncIterator[Worker]:
    """A worker that dies at the end: from one moment to the next it can write nothing more."""
    async with await Connection.connect(settings=settings) as connection:
        worker = Worker([workflow], connection)
        running = asyncio.create_task(worker.start())
        await worker.wait_until_ready()
        try:
            yield worker
        finally:
            executors = [executor.task for executor in worker.slots.executors.values()]
            worker.journal.fence()
            running.cancel()
            for task in executors:
                task.cancel()
            await asyncio.gather(running, *executors, return_exceptions=True)
            with contextlib.suppress(asyncpg.PostgresError):
                await connection.database.pool.execute(
                    "update grctl.workers set lease_until = now() - interval '1 hour'"
                )


async def crash_and_finish(settings: Settings, programs: dict[str, Node], rows: int) -> None:
    traces: dict[str, Any] = {}
    workflow = workflow_of(programs, traces)
    async with await Connection.connect(settings=settings) as connection:
        pool = connection.database.pool
        world = RealWorld(connection, Random(rows))
        enter(world)
        client = Client(connection)
        before = await pool.fetchval("select count(*) from grctl.events")
        async with mortal(workflow, settings):
            handles = {
                which: await client.start_workflow("programs", which, {"which": which})
                for which in programs
            }

            async def is_time() -> bool:
                written = await pool.fetchval("select count(*) from grctl.events")
                ended = "select bool_and(ended_at is not null) from grctl.runs"
                return written - before >= rows or await pool.fetchval(ended)

            await wait_until(is_time, "enough is recorded", timeout=60, interval=0.002)
        async with mortal(workflow, settings):
            async with asyncio.timeout(120):
                results = {which: await handle.result() for which, handle in handles.items()}
        assert not world.done_again
        tables = {
            which: Table([Row(**row) for row in await pool.fetch(READ, handle.run_info.run_id)])
            for which, handle in handles.items()
        }
    loop_free = [(which, tables[which], results[which], traces[which]) for which in programs]
    await asyncio.to_thread(_check_all, programs, loop_free)


def _check_all(programs: dict[str, Node], finished: list[tuple[str, Table, Any, Any]]) -> None:
    for which, table, result, trace in finished:
        _check(which, programs[which], table, result, trace)


def _check(which: str, program: Node, table: Table, result: Any, trace: Any) -> None:
    """Read again, the history gives the same result by the same way, and nothing is done."""
    table.rows = [row for row in table.rows if row.kind != "step.completed"]
    recorded = len(table.rows)
    done = {row.op for row in table.rows if row.kind in OUTCOMES}

    async def again(seen: Seen) -> Any:
        return await perform(program, which, seen)

    life = live(again, table, 1)

    assert _plain(life.outcome) == result, program
    assert _plain(life.trace) == _plain(trace), program
    assert not life.world.done_again, program
    assert not [row for row in table.rows[recorded:] if row.op in done], program


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


@given(st.lists(PROGRAMS, min_size=8, max_size=8), st.integers(2, 60))
@settings(max_examples=6, suppress_health_check=list(HealthCheck), deadline=None)
def test_a_worker_dies_and_another_goes_on_with_everything(
    settings: Settings, programs: list[Node], rows: int
):
    named = {f"p{new_run_id().hex}{number}": each for number, each in enumerate(programs)}
    asyncio.run(crash_and_finish(settings, named, rows))
