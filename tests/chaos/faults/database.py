"""What goes wrong in a database server that is there, if slow, busy, or of another mind."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from tests.chaos.storm import Storm
from tests.chaos.strikes import OURS

# At a statement's end or at the commit itself, when all else has been done.
TRIGGERS = """
create or replace function grctl_chaos_fail() returns trigger language plpgsql as $$
begin
    if random() < {chance} then
        raise exception 'chaos' using errcode = (array['40001', '40P01', '57014', '55P03'])[
            1 + floor(random() * 4)::integer];
    end if;
    return null;
end $$;
create trigger chaos after update on grctl.runs
    for each statement execute function grctl_chaos_fail();
create trigger chaos after insert on grctl.inbox
    for each statement execute function grctl_chaos_fail();
create trigger chaos after update on grctl.workers
    for each statement execute function grctl_chaos_fail();
create constraint trigger chaos_late after insert on grctl.events deferrable initially deferred
    for each row when (new.seq % 7 = 0) execute function grctl_chaos_fail();
"""
NO_TRIGGERS = """
drop trigger chaos on grctl.runs;
drop trigger chaos on grctl.inbox;
drop trigger chaos on grctl.workers;
drop trigger chaos_late on grctl.events;
"""
RUNS = "select run_id from grctl.runs where ended_at is null order by random() limit 5"
LOCK = "select from grctl.runs where run_id = $1 for update"


async def down(storm: Storm) -> None:
    """The server stops as by a power cut, and stays away for 1, 5, 20 or 60 seconds."""
    for seconds in (1, 20, 5, 60):
        if not await storm.pause(3, 5):
            break
        async with storm.fault("down", f"{seconds} s"):
            await asyncio.to_thread(storm.server.crash)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(storm.server.start)


async def fail_statements(storm: Storm) -> None:
    """One statement in twenty fails as by a serialization failure, a deadlock, a time-out."""
    async with storm.fault("errors"):
        await execute(storm, TRIGGERS.format(chance=0.05))
        while await storm.pause(1, 2):
            pass
        await execute(storm, NO_TRIGGERS)


async def lock(storm: Storm) -> None:
    """A rival locks open runs in no order at all, and holds them: real deadlocks and time-outs."""
    async with storm.fault("locks"):
        await execute(storm, "alter database grctl set statement_timeout = '300ms'")
        await execute(storm, "alter database grctl set deadlock_timeout = '50ms'")
        while await storm.pause(0.05, 0.2):
            connection = await asyncpg.connect(storm.dsn)
            try:
                await _lock_some_runs(connection)
            except asyncpg.PostgresError:
                pass  # now and then it is the rival that is the victim
            finally:
                await connection.close()
        await execute(storm, "alter database grctl reset all")
        await execute(storm, OURS)  # what they had set lasts as long as the sessions


async def _lock_some_runs(connection: asyncpg.Connection[Any]) -> None:
    async with connection.transaction():
        for row in await connection.fetch(RUNS):
            await connection.fetch(LOCK, row["run_id"])
            await asyncio.sleep(0.1)


async def hold_snapshot(storm: Storm) -> None:
    """A transaction stays open all the while: nothing that dies in it can be cleared away."""
    connection = await asyncpg.connect(storm.dsn)
    async with storm.fault("snapshot"), connection.transaction(isolation="repeatable_read"):
        await connection.fetchval("select count(*) from grctl.runs")
        while await storm.pause(1, 2):
            pass
    await connection.close()


async def slow_50(storm: Storm) -> None:
    """Every answer is 50 ms late."""
    await _slow(storm, 0.05)


async def slow_500(storm: Storm) -> None:
    """Every answer is 500 ms late."""
    await _slow(storm, 0.5)


async def _slow(storm: Storm, seconds: float) -> None:
    async with storm.fault("latency"):
        storm.proxy.delay = seconds
        while await storm.pause(1, 2):
            pass
        storm.proxy.delay = 0.0


async def execute(storm: Storm, sql: str) -> None:
    connection = await asyncpg.connect(storm.dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
