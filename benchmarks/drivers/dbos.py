"""DBOS: workflows started directly, or by a queue, in the process that executes them.

Settings that were best of those tried: eight executor threads, a pool of 20 without pre-ping, no
telemetry, async workflows on uvloop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop
from dbos import DBOS, SetWorkflowID

from benchmarks.drivers.wire import (
    expect,
    in_lanes,
    note_execution,
    one_by_one,
    serve,
    timed,
)

QUEUE = "bench"


@DBOS.step()
async def noop(i: int) -> int:
    return i


@DBOS.step()
async def give(i: int, size: int) -> str:
    return "x" * size


@DBOS.step()
async def slow(run: str, i: int, seconds: float, log: str) -> int:
    note_execution(log, run, i)
    await asyncio.sleep(seconds)
    return i


@DBOS.workflow()
async def run_tasks(count: int) -> int:
    for i in range(count):
        await noop(i)
    _end()
    return count


@DBOS.workflow()
async def run_payloads(count: int, size: int) -> int:
    total = 0
    for i in range(count):
        total += len(await give(i, size))
    _end()
    return total


@DBOS.workflow()
async def run_gathered(count: int) -> int:
    return sum(await asyncio.gather(*(noop(i) for i in range(count))))


@DBOS.workflow()
async def answer() -> int:
    return await DBOS.recv_async("ping", timeout_seconds=60)  # type: ignore[no-any-return]


@DBOS.workflow()
async def child(number: int) -> int:
    return number


@DBOS.workflow()
async def parent(count: int) -> int:
    handles = [await DBOS.start_workflow_async(child, i) for i in range(count)]
    return sum([await handle.get_result() for handle in handles])


@DBOS.workflow()
async def run_slowly(run: str, count: int, seconds: float, log: str) -> int:
    for i in range(count):
        await slow(run, i, seconds, log)
    return count


LOOP = uvloop.new_event_loop()
ended: dict[str, asyncio.Event] = {}
"""By workflow id, the ends of queued workflows that somebody in this process waits for."""


def _end() -> None:
    if (event := ended.get(DBOS.workflow_id or "")) is not None:
        LOOP.call_soon_threadsafe(event.set)  # queued workflows run in DBOS's own loop


class Driver:
    """See `benchmarks.drivers.wire`."""

    def __init__(self, *, queued: bool) -> None:
        self.queued = queued

    async def open(self, url: str, **_settings: Any) -> None:
        self.url = url
        DBOS(
            config={
                "name": "bench",
                "system_database_url": url,
                "max_executor_threads": 8,
                "sys_db_pool_size": 20,
                "db_engine_kwargs": {"pool_pre_ping": False},
                "enable_otlp": False,
                "log_level": "ERROR",
                "application_version": "1",
                "executor_id": f"bench-{os.environ.get('BENCH_PROCESS', '0')}",
            }
        )
        await _in_a_thread(DBOS.launch)
        if self.queued:
            await DBOS.register_queue_async(QUEUE, polling_interval_sec=0.01)

    async def close(self) -> None:
        await _in_a_thread(DBOS.destroy)

    async def throughput(self, prefix: str, runs: int, tasks: int, in_flight: int) -> Any:
        async def run(number: int) -> None:
            expect(await self._run(f"{prefix}-{number}", run_tasks, tasks), tasks)

        return await in_lanes(runs, in_flight, run)

    async def payloads(self, prefix: str, runs: int, tasks: int, in_flight: int, size: int) -> Any:
        async def run(number: int) -> None:
            got = await self._run(f"{prefix}-{number}", run_payloads, tasks, size)
            expect(got, tasks * size)

        return await in_lanes(runs, in_flight, run)

    async def latency(self, prefix: str, runs: int, tasks: int) -> Any:
        async def run(number: int) -> None:
            expect(await self._run(f"{prefix}-{number}", run_tasks, tasks), tasks)

        return await one_by_one(runs, run)

    async def sequence(self, prefix: str, tasks: int) -> Any:
        return await timed(self._run(prefix, run_tasks, tasks), tasks)

    async def gather(self, prefix: str, tasks: int) -> Any:
        return await timed(self._run(prefix, run_gathered, tasks), sum(range(tasks)))

    async def chain(self, prefix: str, steps: int) -> Any:
        return await timed(self._run(prefix, run_tasks, steps), steps)

    async def ping_pong(self, prefix: str, runs: int) -> Any:
        handles = [await self._start(f"{prefix}-{number}", answer) for number in range(runs)]
        await asyncio.sleep(0.5)  # until they wait; nothing tells when

        async def run(number: int) -> None:
            await DBOS.send_async(handles[number].workflow_id, number, "ping")
            expect(await handles[number].get_result(), number)

        return await one_by_one(runs, run)

    async def children(self, prefix: str, children: int) -> Any:
        return await timed(self._run(prefix, parent, children), sum(range(children)))

    async def start_slow(
        self, prefix: str, runs: int, tasks: int, seconds: float, log: str
    ) -> None:
        async def start(number: int) -> None:
            name = f"{prefix}-{number}"
            await self._start(name, run_slowly, name, tasks, seconds, log)

        await in_lanes(runs, runs, start)

    async def collect(self) -> None:
        """Let go of garbage, so that memory can be read."""
        gc.unfreeze()
        gc.collect()

    async def _run(self, name: str, workflow: Any, *given: Any) -> Any:
        if not self.queued:
            return await (await self._start(name, workflow, *given)).get_result()
        # A handle on a queued workflow polls the database. Here it begins when the code is
        # through, which is cheaper than anything a user can do.
        event = ended[name] = asyncio.Event()
        handle = await self._start(name, workflow, *given)
        await event.wait()
        del ended[name]
        return await handle.get_result(polling_interval_sec=0.005)

    async def _start(self, name: str, workflow: Any, *given: Any) -> Any:
        with SetWorkflowID(name):
            if self.queued:
                return await DBOS.enqueue_workflow_async(QUEUE, workflow, *given)
            return await DBOS.start_workflow_async(workflow, *given)


async def _in_a_thread(work: Callable[[], None]) -> None:
    """Not in the loop's own executor: DBOS makes it its own, and shuts it down."""
    with ThreadPoolExecutor(1) as thread:
        await asyncio.get_running_loop().run_in_executor(thread, work)


if __name__ == "__main__":
    serve(Driver(queued="queue" in sys.argv), lambda: LOOP)
