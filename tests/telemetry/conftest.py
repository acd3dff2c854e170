"""Real workers with a metrics port, and what they say there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from grctl.client import Client, Connection
from tests.support import Database, WorkerProcess

MODULE = "tests.workflows.observed"

Watched = Callable[..., Awaitable["WatchedWorker"]]


@pytest_asyncio.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    async with await Connection.connect(database.dsn, poll_seconds=0.2) as connection:
        yield Client(connection)


@dataclass
class WatchedWorker:
    """A worker process and its port."""

    process: WorkerProcess
    url: str

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            return await http.get(path, headers=headers)

    async def samples(self) -> dict[str, float]:
        """Every sample by its name and labels, as Prometheus writes them."""
        return samples_of((await self.get("/metrics")).text)


def samples_of(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


@pytest_asyncio.fixture
async def watched(database: Database) -> AsyncIterator[Watched]:
    """``await watched(GRCTL_…=…)``: a worker of the observed workflows, ready, with a port."""
    async with AsyncExitStack() as stack:

        async def start(module: str = MODULE, **env: str) -> WatchedWorker:
            short = {"GRCTL_LEASE_SECONDS": "30", "GRCTL_POLL_SECONDS": "0.2"}
            process = WorkerProcess(
                module, "--metrics-port", "0", database_url=database.dsn, env=short | env
            )
            await stack.enter_async_context(process)
            return WatchedWorker(process, str(logged(process, "metrics served")["url"]))

        yield start


def logged(worker: WorkerProcess, event: str, **fields: object) -> Mapping[str, object]:
    """The first log line of an event with these fields; an empty one if there is none."""
    for line in worker.lines:
        if f'"{event}"' not in line:
            continue
        entry: dict[str, object] = json.loads(line)
        if entry.get("event") == event and fields.items() <= entry.items():
            return entry
    return {}


async def is_waiting(client: Client, wf_id: str) -> bool:
    return (await client.describe(wf_id)).status == "waiting"
