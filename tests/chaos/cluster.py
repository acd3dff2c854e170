"""What a storm falls upon: a PostgreSQL server, a ledger beside it, workers and drivers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations
from tests.chaos.notes import VARIABLE, Notes
from tests.support.processes import WorkerProcess, environment, send_signal
from tests.support.waiting import wait_until

WORKLOAD = "tests.chaos.workload"

SERVER_SETTINGS = {
    # Processes are killed here, and the machine's memory stays: nothing is lost without fsync.
    "fsync": "off",
    "autovacuum_naptime": "5s",
    "max_connections": "300",
    "max_wal_size": "1GB",
}


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that the server's account can reach, in memory where there is one."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="grctl-chaos-", dir=base) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@asynccontextmanager
async def postgres(directory: Path, **settings: str) -> AsyncIterator[EmbeddedPostgres]:
    """A migrated server of the storm's own."""
    server = EmbeddedPostgres(directory / "server", settings={**SERVER_SETTINGS, **settings})
    await asyncio.to_thread(server.start)
    try:
        await migrations.upgrade(server.dsn)
        yield server
    finally:
        await asyncio.to_thread(server.stop)


class Process:
    """``python -m MODULE ARGUMENTS``, whose output goes into a file."""

    def __init__(self, output: Path, *arguments: str, env: dict[str, str]) -> None:
        self.output = output
        self._arguments = arguments
        self._env = env
        self.process: asyncio.subprocess.Process | None = None

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    async def start(self) -> None:
        with self.output.open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self._arguments, stdout=output, stderr=output, env=self._env
            )

    def send(self, what: signal.Signals) -> None:
        assert self.process is not None
        send_signal(self.process, what)

    async def wait(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    async def end(self) -> None:
        if self.process is not None:
            self.send(signal.SIGKILL)
            await self.process.wait()


@asynccontextmanager
async def running_ledger(directory: Path) -> AsyncIterator[tuple[Notes, str, Path]]:
    """A ledger process: our own connection to it, its socket and its file."""
    socket, file = directory / "ledger.socket", directory / "ledger.sqlite"
    process = Process(
        directory / "ledger.log", "tests.chaos.ledger", str(socket), str(file), env=environment()
    )
    await process.start()
    notes = Notes(str(socket))
    try:
        await wait_until(socket.exists, "the ledger listens", timeout=60)
        yield notes, str(socket), file
        await notes.close()
        process.send(signal.SIGTERM)
        assert await process.wait() == 0, process.output.read_text()
    finally:
        await process.end()


class Workers:
    """The worker processes of a storm. ``alive`` are those that are ready, and not killed."""

    def __init__(self, url: str, env: dict[str, str], modules: tuple[str, ...]) -> None:
        self.url = url
        self.env = env
        self.modules = modules
        self.alive: list[WorkerProcess] = []
        self.boots = 0
        self.spared: WorkerProcess | None = None
        """Never killed by a strike: what grows with time shows in it."""
        self._all: list[WorkerProcess] = []

    @property
    def prey(self) -> list[WorkerProcess]:
        """Those that may be killed."""
        return [worker for worker in self.alive if worker is not self.spared]

    async def launch(self, **env: str) -> WorkerProcess:
        """One more; returns when it is ready. Like any supervisor it tries again: a worker does
        not start while its server is away.
        """
        deadline = time.monotonic() + 120
        while True:
            worker = WorkerProcess(*self.modules, database_url=self.url, env={**self.env, **env})
            self._all.append(worker)
            self.boots += 1
            try:
                await worker.start(timeout=120)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                await self.kill(worker)
            else:
                self.alive.append(worker)
                return worker

    async def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL, and see it gone."""
        if worker in self.alive:
            self.alive.remove(worker)
        self._all.remove(worker)
        worker.kill()
        await worker.wait(timeout=60)

    async def replace(self, worker: WorkerProcess) -> WorkerProcess:
        """Kill one, and launch another in its place."""
        await self.kill(worker)
        return await self.launch()

    async def end(self) -> None:
        for worker in self._all:
            worker.kill()
        ends = (worker.wait() for worker in self._all)
        await asyncio.gather(*ends, return_exceptions=True)


def worker_environment(socket: str, lease: float, poll: float, **more: str) -> dict[str, str]:
    """What the workers of a storm are told."""
    return {
        VARIABLE: socket,
        "GRCTL_LEASE_SECONDS": str(lease),
        "GRCTL_POLL_SECONDS": str(poll),
        # A storm kills far more workers than a step may: it is not the step that kills them.
        "GRCTL_MAX_STEP_CRASHES": "1000",
        **more,
    }
