"""A storm: load on a cluster, faults upon it, calm, and then the checker.

``async with storm(plan) as it: await it.blow([kill, restart], seconds=30)``, then
``report = await it.conclude()``. A strike is a coroutine function of the storm that repeats one
kind of fault while ``await it.pause(…)`` says so; what it does it does within ``it.fault(…)``.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import asyncpg

from grctl.dev import EmbeddedPostgres
from tests.chaos.checker import check, figures
from tests.chaos.cluster import (
    WORKLOAD,
    Process,
    Workers,
    postgres,
    running_ledger,
    scratch,
    worker_environment,
)
from tests.chaos.drivers import READY
from tests.chaos.gauges import Gauges
from tests.chaos.invariants import Violation
from tests.chaos.notes import VARIABLE, Notes
from tests.chaos.records import Records, read_ledger, read_tables
from tests.chaos.witness import Witness
from tests.support.processes import environment
from tests.support.proxy import Proxy, proxied
from tests.support.waiting import wait_until

_IS_DONE = """
    select not exists (
        select from grctl.runs
        where ended_at is null
            and (status <> 'waiting' or inbox_tail > inbox_head or wake_at is not null))
"""


@dataclass
class StormPlan:
    """What a storm is made of. ``runs``: how many runs a driver starts (None: until it is calm).

    ``database_url``: a migrated server to use in place of an embedded one of the storm's own;
    ``direct_url``: how the storm itself reaches it, where that is another way.
    """

    seed: int
    workers: int = 3
    drivers: int = 1
    lanes: int = 24
    shape: str = "mixed"
    runs: int | None = None
    lease: float = 2.0
    poll: float = 0.5
    env: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = (WORKLOAD,)
    server_settings: dict[str, str] = field(default_factory=dict)
    database_url: str | None = None
    direct_url: str | None = None
    calm_bound: float = 150.0


@dataclass
class Report:
    """What came of a storm."""

    plan: StormPlan
    seconds: float
    violations: list[Violation]
    figures: dict[str, Any]
    gauges: dict[str, Any]
    records: Records = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": asdict(self.plan) | {"database_url": None, "direct_url": None},
            "seconds": round(self.seconds, 1),
            "violations": [str(each) for each in self.violations],
            "figures": self.figures,
            "gauges": self.gauges,
        }


class Storm:
    """One storm, from its first worker to its report."""

    def __init__(self, plan: StormPlan, directory: Path, dsn: str, proxy: Proxy) -> None:
        self.plan = plan
        self.dice = Random(f"storm {plan.seed}")
        self.directory = directory
        self.dsn = dsn
        self.proxy = proxy
        self.server: EmbeddedPostgres
        self.workers: Workers
        self.drivers: list[Process] = []
        self.witness = Witness(dsn)
        self.gauges = Gauges(dsn)
        self._notes: Notes
        self._ledger_file: Path
        self._over = asyncio.Event()
        self._began = time.monotonic()
        self._calm_at = self._began

    @property
    def is_driven_out(self) -> bool:
        """Whether the drivers have done all they were to do."""
        return all(driver.has_ended for driver in self.drivers)

    async def pause(self, least: float, most: float) -> bool:
        """Wait for so many seconds, as the dice say. False if the storm is over: stop then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.dice.uniform(least, most)):
                await self._over.wait()
        return not self._over.is_set()

    @asynccontextmanager
    async def fault(self, name: str, target: str = "") -> AsyncIterator[None]:
        """Around what is done to the cluster, from before it can have an effect until it is over.

        A name that begins with ``clock`` says that the server's clock is not the machine's.
        """
        began = time.monotonic()
        try:
            yield
        finally:
            await self._notes.write("faults", name, target, began, time.monotonic())

    async def blow(self, strikes: Sequence[Strike], seconds: float) -> None:
        """Strike for so long, or until the drivers have ended. May be repeated."""
        self._over = asyncio.Event()
        striking = {asyncio.create_task(strike(self)) for strike in strikes}
        driving = {asyncio.create_task(driver.wait()) for driver in self.drivers}
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            waited_for = {each for each in striking | driving if not each.done()}
            if not waited_for & driving:
                break
            await asyncio.wait(waited_for, timeout=left, return_when="FIRST_COMPLETED")
            if any(each.done() and each.exception() for each in striking):
                break
        self._over.set()
        for each in driving:
            each.cancel()
        await asyncio.gather(*driving, return_exceptions=True)
        for outcome in await asyncio.gather(*striking, return_exceptions=True):
            if outcome is not None:
                raise outcome
        self._calm_at = time.monotonic()

    async def conclude(self) -> Report:
        """No more faults: let all come to an end, and check it."""
        for driver in self.drivers:
            driver.send(signal.SIGTERM)
        codes: list[int] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.plan.calm_bound):
                codes = await asyncio.gather(*(driver.wait() for driver in self.drivers))
                await self._until_all_is_done()
        said = "\n".join(driver.output.read_text()[-3000:] for driver in self.drivers)
        assert not any(codes), f"a driver failed:\n{said}"
        records = Records(
            lease=self.plan.lease,
            poll=self.plan.poll,
            calm_seconds=time.monotonic() - self._calm_at,
            checked_at=datetime.now(UTC),
        )
        seconds = time.monotonic() - self._began
        await read_tables(records, self.dsn)
        await self._notes.close()
        read_ledger(records, self._ledger_file)
        records.sightings = self.witness.sightings
        records.digests = await self.witness.again()
        violations = await asyncio.to_thread(check, records)
        found = figures(records) | {"worker boots": self.workers.boots}
        return Report(self.plan, seconds, violations, found, self.gauges.summary(), records)

    async def _until_all_is_done(self) -> None:
        """Until every run has ended or waits for what nobody has sent."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await wait_until(
                lambda: connection.fetchval(_IS_DONE), "all is done", timeout=1e9, interval=0.2
            )
        finally:
            await connection.close()


Strike = Callable[[Storm], Coroutine[Any, Any, None]]


@asynccontextmanager
async def storm(plan: StormPlan) -> AsyncIterator[Storm]:
    """Everything a storm needs, up and under load."""
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(scratch())
        server: EmbeddedPostgres | None = None
        if plan.database_url is None:
            server = await stack.enter_async_context(postgres(directory, **plan.server_settings))
        url = plan.database_url or server.dsn
        proxy = await stack.enter_async_context(proxied(url))
        made = Storm(plan, directory, plan.direct_url or url, proxy)
        if server is not None:
            made.server = server
        notes, socket, file = await stack.enter_async_context(running_ledger(directory))
        made._notes, made._ledger_file = notes, file
        env = worker_environment(socket, plan.lease, plan.poll, **plan.env)
        made.workers = Workers(proxy.url, env, plan.modules)
        stack.push_async_callback(made.workers.end)
        await asyncio.gather(*(made.workers.launch() for _ in range(plan.workers)))
        for number in range(plan.drivers):
            driver = _driver(made, number, socket)
            made.drivers.append(driver)
            stack.push_async_callback(driver.end)
            await driver.start()
            await wait_until(
                lambda driver=driver: READY in driver.output.read_text(), "it drives", timeout=120
            )
        await stack.enter_async_context(made.witness.watching())
        await stack.enter_async_context(made.gauges.sampling(made.workers))
        yield made


def _driver(made: Storm, number: int, socket: str) -> Process:
    plan = made.plan
    options = ["--shape", plan.shape, "--lanes", str(plan.lanes)]
    if plan.runs is not None:
        options += ["--runs", str(plan.runs)]
    name = f"driver{number}"
    return Process(
        made.directory / f"{name}.log",
        "tests.chaos.drivers",
        name,
        str(plan.seed),
        *options,
        env=environment(made.proxy.url, **{VARIABLE: socket, **plan.env}),
    )
