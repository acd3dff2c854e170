"""The everyday faults: workers killed, frozen; the server restarted; connections cut."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg

from tests.chaos.storm import Storm, Strike

OURS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'grctl%'"


async def kill(storm: Storm) -> None:
    """SIGKILL of a random worker every 1 to 5 seconds; another one is launched for it."""
    async with asyncio.TaskGroup() as launching:
        while await storm.pause(1, 5):
            if not storm.workers.prey:
                continue
            worker = storm.dice.choice(storm.workers.prey)
            async with storm.fault("kill", str(worker.pid)):
                await storm.workers.kill(worker)
            launching.create_task(storm.workers.launch())


async def stop(storm: Storm) -> None:
    """SIGSTOP for twice the lease, then SIGCONT: the worker wakes as a zombie."""
    while await storm.pause(1, 4):
        if not storm.workers.alive:
            continue
        worker = storm.dice.choice(storm.workers.alive)
        async with storm.fault("stop", str(worker.pid)):
            worker.stop()
            await asyncio.sleep(2 * storm.plan.lease)
            worker.cont()


async def restart(storm: Storm) -> None:
    """The server stops as by a power cut, stays away for up to 4 seconds, and recovers."""
    while await storm.pause(4, 8):
        async with storm.fault("restart"):
            await asyncio.to_thread(storm.server.crash)
            await asyncio.sleep(storm.dice.choice((0.0, 0.5, 4.0)))
            await asyncio.to_thread(storm.server.start)


async def cut(storm: Storm) -> None:
    """All connections cut; or, more often, one whose statement is done and whose answer is lost."""
    while await storm.pause(0.5, 2):
        async with storm.fault("cut"):
            if storm.dice.randrange(4) == 0:
                storm.proxy.cut_all()
            else:
                storm.proxy.cut_after = b""  # whatever comes next


async def hole(storm: Storm) -> None:
    """Every connection there is becomes a black hole, or half open: nobody is told."""
    while await storm.pause(5, 10):
        async with storm.fault("hole"):
            if storm.dice.randrange(2):
                storm.proxy.make_black_holes()
            else:
                storm.proxy.make_half_open()


async def terminate(storm: Storm) -> None:
    """The server ends connections of ours by itself, those that listen among them."""
    while await storm.pause(1, 3):
        # Another strike may have the server restart just now: then it has none to end.
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(storm.dsn)
            async with storm.fault("terminate"):
                await connection.execute(OURS)
            await connection.close()


STRIKES: dict[str, Strike] = {
    each.__name__: each for each in (kill, stop, restart, cut, hole, terminate)
}
