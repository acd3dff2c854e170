"""grctl: a worker, and a client, in one process."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import uvloop

from benchmarks import workload
from benchmarks.drivers.wire import expect, in_lanes, one_by_one, serve, timed
from benchmarks.floors.recording import recorded_script
from grctl import Client, Connection, Worker, log
from grctl.client import WorkflowHandle


class Driver:
    """See `benchmarks.drivers.wire`."""

    async def open(self, url: str, concurrency: int = 500, **settings: Any) -> None:
        self.connection = await Connection.connect(url, concurrency=concurrency, **settings)
        self.client = Client(self.connection)
        self.worker = Worker(workload.ALL, self.connection)
        self.working = asyncio.create_task(self.worker.start())
        await self.worker.wait_until_ready()

    async def close(self) -> None:
        await self.worker.stop(shutdown_timeout=0)
        await self.working
        await self.connection.close()

    async def throughput(self, prefix: str, runs: int, tasks: int, in_flight: int) -> Any:
        async def run(number: int) -> None:
            expect(await self._run("tasks", f"{prefix}-{number}", count=tasks), tasks)

        return await in_lanes(runs, in_flight, run)

    async def payloads(self, prefix: str, runs: int, tasks: int, in_flight: int, size: int) -> Any:
        async def run(number: int) -> None:
            got = await self._run("payloads", f"{prefix}-{number}", count=tasks, size=size)
            expect(got, tasks * size)

        return await in_lanes(runs, in_flight, run)

    async def latency(self, prefix: str, runs: int, tasks: int) -> Any:
        async def run(number: int) -> None:
            expect(await self._run("tasks", f"{prefix}-{number}", count=tasks), tasks)

        return await one_by_one(runs, run)

    async def sequence(self, prefix: str, tasks: int) -> Any:
        return await timed(self._run("tasks", prefix, count=tasks), tasks)

    async def gather(self, prefix: str, tasks: int) -> Any:
        return await timed(self._run("gathered", prefix, count=tasks), sum(range(tasks)))

    async def chain(self, prefix: str, steps: int) -> Any:
        return await timed(self._run("chain", prefix, steps=steps), 1)

    async def ping_pong(self, prefix: str, runs: int) -> Any:
        handles = await self._start_waiting(prefix, runs)

        async def run(number: int) -> None:
            future = handles[number].future
            await handles[number].send("ping", number)
            expect(await future, number)

        return await one_by_one(runs, run)

    async def children(self, prefix: str, children: int) -> Any:
        work = self._run("parent", prefix, count=children)
        return await timed(work, sum(range(children)))

    async def start_slow(
        self, prefix: str, runs: int, tasks: int, seconds: float, log: str
    ) -> None:
        """Start runs, and do not wait for them."""
        await self._start(
            prefix, runs, "bench.slowly", {"count": tasks, "seconds": seconds, "log": log}
        )

    async def start_waiting(self, prefix: str, runs: int) -> None:
        """Start runs, and come back when all of them wait."""
        await self._start_waiting(prefix, runs)

    async def collect(self) -> None:
        """Let go of garbage, so that memory can be read."""
        gc.unfreeze()
        gc.collect()

    async def record(self, runs: int) -> Any:
        """The pgbench script of what client and worker send for a batch of runs."""
        return await recorded_script(self.client, self.worker, runs)

    async def _start_waiting(self, prefix: str, runs: int) -> list[WorkflowHandle]:
        handles = await self._start(prefix, runs, "bench.answers", None)
        ids = [handle.run_id for handle in handles]
        sql = "select count(*) from grctl.runs where run_id = any($1) and status = 'waiting'"
        while await self.connection.database.pool.fetchval(sql, ids) < runs:
            await asyncio.sleep(0.01)
        return handles

    async def _start(
        self, prefix: str, runs: int, workflow: str, given: Any
    ) -> list[WorkflowHandle]:
        started = await self.client.start_workflows(
            [
                {"type": workflow, "id": f"{prefix}-{number}", "input": given}
                for number in range(runs)
            ]
        )
        for each in started:
            if isinstance(each, Exception):
                raise each
        return [each for each in started if not isinstance(each, Exception)]

    async def _run(self, workflow: str, wf_id: str, **given: Any) -> Any:
        return await self.client.run_workflow(f"bench.{workflow}", wf_id, given)


if __name__ == "__main__":
    log.configure("console", "warning")
    serve(Driver(), uvloop.new_event_loop)
