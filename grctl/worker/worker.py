"""The worker: claims runs of its workflow types and executes their steps. Stateless; run as many
as you like, on any hosts.

It lives in *terms*: one registration with one lease and one journal each. A worker that was
declared dead (stopped for longer than its lease, cut off) drops what it held, unrecorded, and
begins a new term.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import socket
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from grctl.client.client import Client
from grctl.client.connection import Connection
from grctl.engine.codec import Codec
from grctl.log import get_logger
from grctl.postgres.journal import Journal
from grctl.postgres.migrations import check
from grctl.telemetry.health import Vitals
from grctl.telemetry.metrics import Metrics
from grctl.worker import branches
from grctl.worker.chores import Chores
from grctl.worker.claims import Claims
from grctl.worker.clock import DatabaseClock
from grctl.worker.executor import Interrupt
from grctl.worker.holdings import Holdings
from grctl.worker.lease import LeaseKeeper
from grctl.worker.own_starts import OwnStarts
from grctl.worker.registration import by_type, name_for
from grctl.worker.retention import Retention
from grctl.worker.signals import Signals
from grctl.worker.slots import Slots
from grctl.worker.watch import Watch
from grctl.workflow.workflow import Workflow

__all__ = ["Worker"]

log = get_logger("grctl.worker")

STOP_GRACE_SECONDS = 5.0
"""What a step gets to unwind, after it was cancelled at a stop."""

_LOGGED_IDS = 20
"""Runs that one line of the log names, at most."""

OPENING_SECONDS = 5.0
"""After so long the worker is called ready, though it may not hear yet, or not write."""


class Worker:
    """Executes runs of ``workflows`` until stopped.

    ``connection`` is an open ``Connection``; its settings hold for the worker too.
    ``workflow_logger`` is where ``ctx.logger`` writes (default: the logger ``grctl.workflow``).
    ``concurrency`` is how many runs are in flight at most (default: the setting, 500).
    ``codec`` adds types to what can be recorded. ``metrics`` counts what it does (default: nobody).

    ValueError for no workflow, two of one type, or one without a start handler.
    """

    def __init__(
        self,
        workflows: Iterable[Workflow],
        connection: Connection,
        workflow_logger: logging.Logger | None = None,
        concurrency: int | None = None,
        codec: Codec | None = None,
        name: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.workflows = by_type(workflows)
        self.database = connection.database
        self.settings = connection.database.settings
        self.concurrency = self.settings.concurrency if concurrency is None else concurrency
        if self.concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {self.concurrency}")
        self.codec = codec or connection.codec
        self.client = Client(connection, self.codec)
        self.workflow_logger = workflow_logger or logging.getLogger("grctl.workflow")
        self.worker_name = name or self.settings.worker_name or name_for(self.workflows)
        self.worker_id = f"{self.worker_name}.{uuid4().hex[:8]}@{socket.gethostname()}"
        self.metrics = metrics
        self.tracing = connection.tracing
        self.fraction = random.random
        self.slots = Slots(self)
        self.clock: DatabaseClock
        self.journal: Journal
        self.holdings: Holdings
        self.claims: Claims
        self.chores: Chores
        self._lease: LeaseKeeper | None = None
        self._crashed: asyncio.Future[Any]
        self._worker_no = 0
        self._ready_or_ended = asyncio.Event()
        self._was_ready = False
        self._ended_by: BaseException | None = None
        self._stopping = asyncio.Event()
        self._fenced = asyncio.Event()
        self._stopped = asyncio.Event()
        self._shutdown_timeout = self.settings.shutdown_seconds
        self._started = False

    async def start(self) -> None:
        """Work until ``stop()``. Blocks; ``run`` is the same.

        DatabaseNotMigratedError or DatabaseTooNewError before anything is done, if the database
        is not at this version.
        """
        if self._started:
            raise RuntimeError("a worker is started once; make another")
        self._started = True
        branches.install(asyncio.get_running_loop())
        try:
            async with self.database.pool.acquire() as connection:
                await check(connection, self.database.schema)
                self.clock = DatabaseClock(await connection.fetchval("select now()"))
            if self.metrics is not None:
                self.metrics.now = self.clock.now
            await self._register_types()
            while not self._stopping.is_set():
                await self._term()
        except BaseException as error:
            self._ended_by = error
            raise
        finally:
            self._stopped.set()
            self._ready_or_ended.set()

    run = start

    async def wait_until_ready(self) -> None:
        """Until the worker is registered, listens, and can write.

        RuntimeError if it ended before it was; its cause is what ``start()`` raised.
        """
        await self._ready_or_ended.wait()
        if not self._was_ready:
            why = "it was stopped" if self._ended_by is None else repr(self._ended_by)
            raise RuntimeError(f"the worker ended before it was ready: {why}") from self._ended_by

    async def stop(self, shutdown_timeout: float | None = None) -> None:
        """Claim no more, let running steps end, and return when all is done.

        Steps that have not ended after ``shutdown_timeout`` seconds (default: the setting
        ``shutdown_seconds``, 30) are cancelled, unrecorded, and their runs given back at once.
        Called again, with 0 for instance, it shortens the wait.
        """
        if shutdown_timeout is not None:
            self._shutdown_timeout = shutdown_timeout
            self.slots.all_done.set()  # whoever waits looks at the new limit
        self._stopping.set()
        if self._started:
            await self._stopped.wait()

    async def _term(self) -> None:
        """From a registration until the worker is stopped or declared dead."""
        self._fenced.clear()
        number = self._worker_no = await self.database.patiently("registering", self._register)
        journal = self.journal = Journal(self.database, number, self._lost)
        journal.in_flight = lambda: len(self.slots.executors)
        journal.observer = self.metrics
        self.holdings = Holdings(self.database, number)
        self.claims = Claims(self, number)
        self.chores = Chores(self)
        on_close = self.client.connection.on_close
        on_close.add(journal.fence)
        signals = Signals(self)
        starts, own_starts = self.client.connection.starts, OwnStarts(self, number)
        lease = self._lease = LeaseKeeper(
            self.database, number, self.worker_id, journal.fence, self.metrics
        )
        lease.start()
        self._crashed = asyncio.get_running_loop().create_future()
        claiming = asyncio.ensure_future(self.claims.run())
        background = [self._crashed, claiming] + [
            asyncio.ensure_future(part)
            for part in (
                journal.run(),
                signals.run(),
                Watch(self.slots).run(),
                self.chores.run(),
                Retention(self.database, self.worker_id).run(),
            )
        ]
        try:
            await self._until_open(signals)
            starts.taker = own_starts
            self._say_ready()
            await self._until_over(background)
            claiming.cancel()
            if not self._fenced.is_set():
                await self._drain()
        finally:
            if starts.taker is own_starts:
                starts.taker = None
            # Whatever ended the term: what still runs must not wait for a journal that is gone.
            journal.fence()
            on_close.discard(journal.fence)
            for part in background:
                part.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            self._lease = None
            await lease.stop()
        if self._stopping.is_set():
            await self._sign_off()

    def _say_ready(self) -> None:
        self._was_ready = True
        self._ready_or_ended.set()
        log.info(
            "worker ready",
            worker=self.worker_id,
            worker_no=self._worker_no,
            workflows=sorted(self.workflows),
            concurrency=self.concurrency,
            lease_seconds=self.settings.lease_seconds,
            pid=os.getpid(),
        )

    async def _until_open(self, signals: Signals) -> None:
        """Until a run that comes now waits for nothing that is done once. Not for long: the server
        may not answer, and a pooler may have no LISTEN, so that polls have to do.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPENING_SECONDS):
                await self.journal.until_open()
                await signals.until_listening()

    async def _until_over(self, background: Sequence[asyncio.Future[Any]]) -> None:
        """Until stopped or fenced; a background loop that fails ends the worker."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        fenced = asyncio.ensure_future(self._fenced.wait())
        try:
            done, _ = await asyncio.wait(
                [stopping, fenced, *background], return_when=asyncio.FIRST_COMPLETED
            )
            for part in background:
                if part in done:
                    part.result()
        finally:
            stopping.cancel()
            fenced.cancel()

    async def _drain(self) -> None:
        """Let running steps end; cancel and give back those that do not in time."""
        log.info("worker draining", worker=self.worker_id, runs=len(self.slots.executors))
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self.slots.executors:
            left = began + self._shutdown_timeout - loop.time()
            if left <= 0 or self._fenced.is_set():
                break
            self.slots.all_done.clear()
            try:
                async with asyncio.timeout(left):
                    await self.slots.all_done.wait()
            except TimeoutError:
                break
        self.slots.interrupt_all(Interrupt.STOP)
        try:
            async with asyncio.timeout(STOP_GRACE_SECONDS):
                while self.slots.executors:
                    self.slots.all_done.clear()
                    await self.slots.all_done.wait()
                await self.journal.flush()
        except TimeoutError:
            deaf = sorted(executor.run.wf_id for executor in self.slots.executors.values())
            log.error(
                "steps do not stop",
                worker=self.worker_id,
                runs=len(deaf),
                wf_ids=deaf[:_LOGGED_IDS],
            )
        self.journal.fence()

    def _lost(self) -> None:
        """The term is over, and all that runs is somebody else's."""
        self._fenced.set()
        self.slots.interrupt_all(Interrupt.LOST)

    def crash(self, error: BaseException) -> None:
        """What no run can handle ends the worker like a crash. (asyncio itself lets SystemExit and
        KeyboardInterrupt out of the loop, and no other BaseException.)
        """
        if not self._crashed.done():
            self._crashed.set_exception(error)

    async def _sign_off(self) -> None:
        """The lease ends now, and what is still held is due at once for others."""
        try:
            async with asyncio.timeout(STOP_GRACE_SECONDS):
                await self.database.fetchval("leases", "stop", self._worker_no)
        except Exception as error:  # noqa: BLE001 - the lease runs out by itself
            log.warning("worker not signed off", worker=self.worker_id, error=repr(error)[:300])
        log.info("worker stopped", worker=self.worker_id)

    async def _register(self) -> int:
        number = await self.database.fetchval(
            "leases",
            "register",
            self.worker_id,
            self.worker_name,
            sorted(self.workflows),
            self.concurrency,
            self.settings.lease_seconds,
            self.settings.writers,
        )
        return int(number)

    async def _register_types(self) -> None:
        for workflow in self.workflows.values():
            names = (
                sorted({workflow.start_step_name or "", *workflow.step_names}),
                sorted(workflow.event_names),
                sorted(workflow.query_names),
                sorted(workflow.update_names),
            )
            await self.database.patiently(
                "registering types",
                functools.partial(
                    self.database.fetch,
                    "types",
                    "register",
                    workflow.workflow_type,
                    workflow.start_step_name,
                    *names,
                ),
            )

    @property
    def is_stopping(self) -> bool:
        """Whether no further step is begun: runs are given back at the end of their steps."""
        return self._stopping.is_set()

    @property
    def worker_no(self) -> int:
        """The number of the present registration."""
        return self._worker_no

    def vitals(self) -> Vitals:
        """How it is just now. May be asked by another thread."""
        lease = self._lease
        is_registered = lease is not None and self._was_ready and not self._fenced.is_set()
        return Vitals(
            worker_id=self.worker_id,
            worker_name=self.worker_name,
            is_registered=is_registered,
            is_stopping=self.is_stopping,
            is_lease_kept=lease is None or lease.is_alive or self._fenced.is_set(),
            lease_left=0.0 if lease is None else max(0.0, lease.seconds_left),
            loop_silent=0.0 if lease is None else lease.loop_silent,
            longest_silence=self.settings.max_loop_stall_seconds,
            held=len(self.slots.executors),
            sleeping=self.slots.sleeping,
            concurrency=self.concurrency,
            records_waiting=0 if lease is None else self.journal.waiting,
        )
