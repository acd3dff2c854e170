"""Absurd: a worker, and a client on a connection of its own, in one process.

Settings that were best of those tried: uvloop, concurrency 8, batches of 20, a poll every 10 ms. A
client of Absurd polls for results. That polling is left out where runs are many: the handlers count
in memory, and the tables are asked once at the end, which is cheaper than anything a user can do.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import absurdctl
import psycopg
import uvloop
from absurd_sdk import AsyncAbsurd

from benchmarks.drivers.wire import (
    expect,
    in_lanes,
    note_execution,
    one_by_one,
    serve,
    timed,
)

WORKERS = {"concurrency": 8, "batch_size": 20, "poll_interval": 0.01}
PAUSE = 0.002


class Driver:
    """See `benchmarks.drivers.wire`."""

    def __init__(self) -> None:
        self.ended: dict[str, asyncio.Event] = {}

    async def prepare(self, url: str) -> None:
        """Make the schema, from the file that comes with absurdctl, and the queues."""
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
            for queue in ("bench", "children"):
                await connection.execute("select absurd.create_queue(%s)", [queue])

    async def open(
        self, url: str, claim_timeout: int = 120, concurrency: int | None = None
    ) -> None:
        self.client = AsyncAbsurd(url, queue_name="bench")
        self.workers = [AsyncAbsurd(url, queue_name=queue) for queue in ("bench", "children")]
        wanted = {**WORKERS, "claim_timeout": claim_timeout}
        if concurrency is not None:
            wanted |= {"concurrency": concurrency, "batch_size": concurrency}
        self._register(*self.workers)
        for each in (self.client, *self.workers):
            await each.list_queues()  # connects; done later, by many at once, it connects often
        # The queue of children is served where it is needed only: polling it costs.
        self.working = [asyncio.create_task(self.workers[0].start_worker(**wanted))]

    async def close(self) -> None:
        for worker in self.workers:
            worker.stop_worker()
        await asyncio.gather(*self.working)
        for each in (self.client, *self.workers):
            await each.close()

    async def throughput(self, prefix: str, runs: int, tasks: int, in_flight: int) -> Any:
        return await self._many(prefix, runs, in_flight, "tasks", {"count": tasks})

    async def payloads(self, prefix: str, runs: int, tasks: int, in_flight: int, size: int) -> Any:
        given = {"count": tasks, "size": size}
        return await self._many(prefix, runs, in_flight, "payloads", given)

    async def latency(self, prefix: str, runs: int, tasks: int) -> Any:
        async def run(number: int) -> None:
            expect(await self._run("tasks", f"{prefix}-{number}", count=tasks), tasks)

        return await one_by_one(runs, run)

    async def sequence(self, prefix: str, tasks: int) -> Any:
        return await timed(self._run("tasks", prefix, count=tasks), tasks)

    async def gather(self, prefix: str, tasks: int) -> Any:
        return await timed(self._run("gathered", prefix, count=tasks), sum(range(tasks)))

    async def chain(self, prefix: str, steps: int) -> Any:
        return await timed(self._run("tasks", prefix, count=steps), steps)

    async def ping_pong(self, prefix: str, runs: int) -> Any:
        started = [await self._spawn("answer", run=f"{prefix}-{number}") for number in range(runs)]
        while await self._open_tasks("t.state <> 'sleeping'"):
            await asyncio.sleep(0.01)

        async def run(number: int) -> None:
            await self.client.emit_event(f"ping {prefix}-{number}", number)
            expect(await self._result(started[number]), number)

        return await one_by_one(runs, run)

    async def children(self, prefix: str, children: int) -> Any:
        self.working.append(asyncio.create_task(self.workers[1].start_worker(**WORKERS)))
        work = self._run("parent", prefix, count=children)
        return await timed(work, sum(range(children)))

    async def start_slow(
        self, prefix: str, runs: int, tasks: int, seconds: float, log: str
    ) -> None:
        for number in range(runs):
            name = f"{prefix}-{number}"
            await self._spawn("slowly", run=name, count=tasks, seconds=seconds, log=log)

    async def collect(self) -> None:
        """Let go of garbage, so that memory can be read."""
        gc.unfreeze()
        gc.collect()

    async def _many(
        self, prefix: str, runs: int, in_flight: int, task: str, given: dict[str, Any]
    ) -> Any:
        async def run(number: int) -> None:
            name = f"{prefix}-{number}"
            ended = self.ended[name] = asyncio.Event()
            await self._spawn(task, run=name, **given)
            await ended.wait()
            del self.ended[name]
            if number == runs - 1:
                # The handlers are through; what is left are the writes of the last ones.
                while await self._open_tasks("true"):
                    await asyncio.sleep(PAUSE)

        return await in_lanes(runs, in_flight, run)

    async def _run(self, task: str, name: str, **given: Any) -> Any:
        return await self._result(await self._spawn(task, run=name, **given))

    async def _spawn(self, task: str, **given: Any) -> str:
        spawned = await self.client.spawn(task, given, queue="bench")
        return str(spawned["task_id"])

    async def _result(self, task_id: str) -> Any:
        """By a poll of our own: the SDK's begins with a pause of 50 ms."""
        while True:
            found = await self.client.fetch_task_result(task_id)
            if found is not None and found.state == "completed":
                return found.result
            if found is not None and found.state == "failed":
                raise RuntimeError(f"task failed: {found.failure}")
            await asyncio.sleep(PAUSE)

    async def _open_tasks(self, which: str) -> int:
        connection = self.client._conn  # noqa: SLF001 - there is no other
        assert connection is not None
        cursor = await connection.execute(
            "select count(*) from absurd.t_bench t"
            f" where t.state in ('pending', 'running', 'sleeping') and {which}"
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    def _register(  # noqa: C901 - a list of handlers
        self, worker: AsyncAbsurd, children: AsyncAbsurd
    ) -> None:
        task = worker.register_task

        @task("tasks")
        async def run_tasks(params: Any, ctx: Any) -> int:
            for i in range(params["count"]):
                await ctx.step("noop", _giving(i))
            self._end(params)
            return int(params["count"])

        @task("payloads")
        async def run_payloads(params: Any, ctx: Any) -> int:
            total = 0
            for _ in range(params["count"]):
                total += len(await ctx.step("give", _giving("x" * params["size"])))
            self._end(params)
            return total

        @task("gathered")
        async def run_gathered(params: Any, ctx: Any) -> int:
            steps = [ctx.step("noop", _giving(i)) for i in range(params["count"])]
            return sum(await asyncio.gather(*steps))

        @task("answer")
        async def answer(params: Any, ctx: Any) -> Any:
            return await ctx.await_event(f"ping {params['run']}")

        @task("slowly")
        async def run_slowly(params: Any, ctx: Any) -> int:
            for i in range(params["count"]):
                await ctx.step("slow", _slow(params, i))
            return int(params["count"])

        @task("parent")
        async def parent(params: Any, ctx: Any) -> int:
            async def spawn(i: int) -> str:
                async def work() -> str:
                    spawned = await children.spawn("child", {"run": params["run"], "number": i})
                    return str(spawned["task_id"])

                return str(await ctx.step(f"spawn {i}", work))

            names = [await spawn(i) for i in range(params["count"])]
            waiting = [ctx.await_task_result(name, queue_name="children") for name in names]
            return sum([(await each).result for each in waiting])

        @children.register_task("child")
        async def child(params: Any, _ctx: Any) -> int:
            return int(params["number"])

    def _end(self, params: Any) -> None:
        if (ended := self.ended.get(params["run"])) is not None:
            ended.set()


def _giving(value: Any) -> Callable[[], Any]:
    async def noop() -> Any:
        return value

    return noop


def _slow(params: Any, i: int) -> Callable[[], Any]:
    async def slow() -> int:
        note_execution(params["log"], params["run"], i)
        await asyncio.sleep(params["seconds"])
        return i

    return slow


if __name__ == "__main__":
    serve(Driver(), uvloop.new_event_loop)
