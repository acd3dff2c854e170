"""Starts, gathered: what many coroutines of a process start at once is one insert.

As in the journal nobody lingers: while one statement is on its way the next ones gather.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from grctl.errors import WorkflowAlreadyRunningError, WorkflowTypeNotRegisteredError
from grctl.postgres.database import Database

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

    def refusal(self, answer: str) -> Exception | None:
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


class Starts:
    """Sends starts, many in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Start, asyncio.Future[str]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def start(self, start: Start) -> None:
        """Start a run. Raises what ``Start.refusal`` says, or the database's error."""
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((start, answered))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(), name="grctl starts")
        refusal = start.refusal(await answered)
        if refusal is not None:
            raise refusal

    async def start_all(self, starts: list[Start]) -> list[str]:
        """Start runs by one statement; its answers in their order."""
        if not starts:
            return []
        rows = await self._database.patiently(
            "starting workflows",
            lambda: self._database.fetch(
                "runs",
                "start",
                [s.run_id for s in starts],
                [s.wf_id for s in starts],
                [s.wf_type for s in starts],
                [s.input for s in starts],
                [s.timeout_ms for s in starts],
                [None] * len(starts),
                [None] * len(starts),
                [None] * len(starts),
            ),
            PATIENCE_SECONDS,
        )
        answers = {row["started_run"]: row["answer"] for row in rows}
        return [answers[start.run_id] for start in starts]

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:MOST_AT_ONCE]
                del self._waiting[:MOST_AT_ONCE]
                try:
                    answers = await self.start_all([start for start, _ in batch])
                except Exception as error:  # noqa: BLE001 - it is the callers' error
                    for _, answered in batch:
                        if not answered.done():
                            answered.set_exception(error)
                else:
                    for (_, answered), answer in zip(batch, answers, strict=True):
                        if not answered.done():
                            answered.set_result(answer)
        finally:
            self._sender = None
