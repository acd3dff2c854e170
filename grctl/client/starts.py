"""Starts, gathered: what many coroutines of a process start at once is one insert.

As in the journal nobody lingers: while one statement is on its way the next ones gather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from asyncpg import Record

from grctl.client.background import background
from grctl.errors import WorkflowAlreadyRunningError, WorkflowTypeNotRegisteredError
from grctl.postgres.database import Database, is_passing

if TYPE_CHECKING:
    from grctl.telemetry.tracing import Tracing

__all__ = ["Start", "Starts"]

MOST_AT_ONCE = 1000
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Start:
    """A run to be started. ``run_id`` makes it safe to send again."""

    run_id: UUID
    wf_id: str
    wf_type: str
    input: str | None
    timeout_ms: int | None = None
    trace: str | None = None
    """A W3C traceparent: where in a trace the run is."""

    def as_stored(self) -> tuple[Any, ...]:
        """As ``start_runs`` takes it. It has no parent: children are started by the journal."""
        return (
            self.run_id,
            self.wf_id,
            self.wf_type,
            self.input,
            self.timeout_ms,
            None,
            None,
            None,
            self.trace,
        )

    def refusal(self, answer: str | None) -> Exception | None:
        """The error that an answer of ``start_runs`` means; None for success."""
        if answer == "unregistered":
            return WorkflowTypeNotRegisteredError(
                f"no worker has ever registered the workflow type {self.wf_type!r}: start a worker "
                "that serves it (once is enough), or check the spelling"
            )
        if answer == "running":
            return WorkflowAlreadyRunningError(
                f"workflow id {self.wf_id!r} has a run that is not over: wait for it, cancel or "
                "terminate it, or use another id"
            )
        return None


class Taker(Protocol):
    """A worker of this process: it may have the runs that are started here, without a claim."""

    worker_no: int

    def begin(self, starts: Sequence[Start]) -> bool:
        """Whether it takes these starts; then ``take`` or ``give_up`` follows."""

    def take(self, starts: Sequence[Start], answers: Sequence[Record]) -> None:
        """They were sent. ``answers`` are those of ``start_runs``."""

    def give_up(self, starts: Sequence[Start]) -> None:
        """They were sent, and there is no answer."""


class Starts:
    """Sends starts, many in one statement."""

    def __init__(self, database: Database, tracing: Tracing | None = None) -> None:
        self._database = database
        self._tracing = tracing
        self.taker: Taker | None = None
        self._waiting: list[tuple[Start, asyncio.Future[str | None]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def start(self, start: Start) -> None:
        """Start a run. Raises what ``Start.refusal`` says, or the database's error."""
        if self._tracing is None:
            await self._start(start)
            return
        with self._tracing.starting(start.wf_type, start.wf_id, start.run_id) as trace:
            await self._start(replace(start, trace=trace))

    async def _start(self, start: Start) -> None:
        answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((start, answered))
        if self._sender is None:
            self._sender = background(self._send(), "grctl starts")
        refusal = start.refusal(await answered)
        if refusal is not None:
            raise refusal

    async def start_all(self, starts: list[Start]) -> list[str | None]:
        """Start runs by one statement; its answers in their order, for ``Start.refusal``."""
        if not starts:
            return []
        if self._tracing is None:
            return await self._start_all(starts)
        with self._tracing.starting_many(len(starts)) as trace:
            return await self._start_all([replace(start, trace=trace) for start in starts])

    async def _start_all(self, starts: list[Start], taker: Taker | None = None) -> list[str | None]:
        worker_no = None if taker is None else taker.worker_no
        rows = await self._database.patiently(
            "starting workflows",
            lambda: self._database.fetch(
                "runs", "start", [start.as_stored() for start in starts], worker_no
            ),
            PATIENCE_SECONDS,
        )
        if taker is not None:
            taker.take(starts, rows)
        refused = {row["run"]: row["why"] for row in rows if row["why"] != "held"}
        return [refused.get(start.run_id) for start in starts]

    async def _start_here(self, starts: list[Start]) -> list[str | None]:
        """Start runs for the worker of this process, if there is one that takes them."""
        taker = self.taker
        if taker is None or not taker.begin(starts):
            return await self._start_all(starts)
        try:
            return await self._start_all(starts, taker)
        except BaseException:
            taker.give_up(starts)
            raise

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:MOST_AT_ONCE]
                del self._waiting[:MOST_AT_ONCE]
                await self._answer(batch)
        finally:
            self._sender = None

    async def _answer(self, batch: list[tuple[Start, asyncio.Future[str | None]]]) -> None:
        """Send starts and tell their callers; in halves if the database refuses them, so that one
        that cannot be stored is its caller's error alone.
        """
        try:
            answers = await self._start_here([start for start, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is the callers' error
            if len(batch) > 1 and not is_passing(error):
                middle = len(batch) // 2
                await self._answer(batch[:middle])
                await self._answer(batch[middle:])
                return
            for _, answered in batch:
                if not answered.done():
                    answered.set_exception(error)
        else:
            for (_, answered), answer in zip(batch, answers, strict=True):
                if not answered.done():
                    answered.set_result(answer)
