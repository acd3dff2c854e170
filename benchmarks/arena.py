"""Where a measurement happens: the server, the subjects' processes, and their databases."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from benchmarks.meter import Meter, Reading
from benchmarks.peers import NotInstalledError, environment
from benchmarks.server import Server
from benchmarks.subject import Launch, Subject
from benchmarks.verify import NotThereError, verify
from grctl.postgres import migrations

SUBJECTS = ("grctl", "dbos", "dbos-queue", "absurd", "restate")


@dataclass(frozen=True)
class Measured:
    """What one piece of work gave and cost."""

    answers: list[Any]
    python_cpu: float
    server_cpu: float
    wal_bytes: int
    transactions: int


class Arena:
    """Drivers are started once and stay; idle, they hold no connection and use no time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.meter = Meter(server)
        self.missing: dict[str, str] = {}
        self._launches: dict[str, Launch] = {}
        self._given: dict[str, dict[str, Any]] = {}
        self._crews: dict[str, list[Subject]] = {}
        self._overheads: dict[str, int] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def prepare(self, names: list[str]) -> None:
        """Install what is missing, and make a database of each subject that others copy."""
        for name in names:
            try:
                self._launches[name] = await asyncio.to_thread(self._launch, name)
            except NotInstalledError as error:
                self.missing[name] = str(error)
                continue
            if name == "restate":
                continue
            url = await self.server.fresh(f"{_plain(name)}_template")
            if name == "grctl":
                await migrations.upgrade(url)
                continue
            subject = (await self.crew(name))[0]
            if name == "absurd":
                await subject.ask("prepare", url=url)
            else:
                await subject.ask("open", url=url)
                await subject.ask("close")

    async def fresh(self, name: str, database: str | None = None) -> str:
        """A new database for a subject; its own one, or another under a name of its own."""
        database = database or _plain(name)
        return await self.server.fresh(database, f"{_plain(name)}_template")

    async def crew(self, name: str, processes: int = 1) -> list[Subject]:
        """So many driver processes of a subject, which stay to the end."""
        crew = self._crews.setdefault(name, [])
        while len(crew) < processes:
            crew.append(await self._stack.enter_async_context(await self.start(name, len(crew))))
        return crew[:processes]

    async def renew(self, name: str) -> None:
        """After a failure: the drivers are in no known state, so there shall be new ones."""
        for subject in self._crews.pop(name, []):
            subject.kill()

    async def start(self, name: str, number: int = 0) -> Subject:
        """One more driver process; whoever asks for it ends it."""
        launch = self._launches[name]
        launch = Launch(
            launch.python, launch.module, launch.arguments, {"BENCH_PROCESS": str(number)}
        )
        return await Subject.start(launch, self.log_of(name))

    def log_of(self, name: str) -> Path:
        """Where a subject's processes say what they say."""
        return self.server.directory / f"{name}.log"

    def given(self, name: str, database: str | None = None) -> dict[str, Any]:
        """What a driver of this subject is opened with."""
        if name == "restate":
            return dict(self._given[name])
        return {"url": self.server.url_of(database or _plain(name))}

    @asynccontextmanager
    async def opened(
        self, name: str, processes: int = 1, database: str | None = None, **settings: Any
    ) -> AsyncIterator[list[Subject]]:
        """Drivers with their workers up."""
        crew = await self.crew(name, processes)
        given = {**self.given(name, database), **settings}
        for subject in crew:
            await subject.ask("open", **given)
        try:
            yield crew
        finally:
            for subject in crew:
                await subject.ask("close")

    async def measure(
        self,
        name: str,
        do: str,
        given: dict[str, Any],
        *,
        runs: int,
        tasks: int,
        processes: int = 1,
        database: str | None = None,
    ) -> Measured:
        """Have work done, take its time and cost, and check that it is in the database.

        `runs` and `tasks` are what must be found there: of each process, if there are several.
        """
        prefix = f"{do[:4]}-{uuid4().hex[:12]}"
        database = database or _plain(name)
        async with self.opened(name, processes, database) as crew:
            pids = [subject.pid for subject in crew]
            done_before = await self._completed(name, crew)
            before = await self.meter.read(pids)
            transactions = await self.meter.transactions(database)
            for number, subject in enumerate(crew):
                subject.tell(do, prefix=f"{prefix}-{number}", **given)
            answers = [await subject.answer(do) for subject in crew]
            after = await self.meter.read(pids)
            done = await self._completed(name, crew) - done_before
        transactions = await self.meter.transactions(database) - transactions
        if name == "restate":
            # A ping is an invocation, too.
            expected = runs * (2 if do == "ping_pong" else 1)
            if done != expected:
                raise NotThereError(f"restate: expected {expected} invocations, found {done}")
        else:
            transactions -= await self._overhead(name) * processes
            url = self.server.url_of(database)
            await verify(name, url, prefix, runs * processes, tasks * processes)
        return _measured(answers, before, after, max(transactions, 0))

    async def _completed(self, name: str, crew: list[Subject]) -> int:
        return int(await crew[0].ask("completed")) if name == "restate" else 0

    async def _overhead(self, name: str) -> int:
        """Transactions of opening and closing a driver, without any work in between."""
        if name not in self._overheads:
            database = _plain(name)
            before = await self.meter.transactions(database)
            async with self.opened(name):
                pass
            self._overheads[name] = await self.meter.transactions(database) - before
        return self._overheads[name]

    def _launch(self, name: str) -> Launch:
        if name == "grctl":
            return Launch(Path(sys.executable), "benchmarks.drivers.grctl")
        peer = name.removesuffix("-queue")
        found = environment(peer)
        if peer == "restate":
            if found.binary is None:
                raise NotInstalledError("the Restate server has no binary for this platform")
            directory = str(self.server.directory)
            self._given[name] = {"directory": directory, "binary": str(found.binary)}
        arguments = ("queue",) if name.endswith("-queue") else ()
        return Launch(found.python, f"benchmarks.drivers.{peer}", arguments)


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _measured(answers: list[Any], before: Reading, after: Reading, transactions: int) -> Measured:
    return Measured(
        answers,
        after.python - before.python,
        after.server - before.server,
        after.wal_bytes - before.wal_bytes,
        transactions,
    )
