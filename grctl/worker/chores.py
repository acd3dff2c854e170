"""What a worker does besides its runs: answers queries, and what it does in a run; closes children
of ended parents.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from grctl.engine.codec import Codec
from grctl.engine.exceptions import capture, details_to_json
from grctl.errors import WorkflowNotFoundError
from grctl.models.run import RunStatus
from grctl.worker.activity import activity_of
from grctl.worker.context import RunView
from grctl.worker.snapshot import QueryContext, Snapshot
from grctl.workflow.arguments import bind_positional

if TYPE_CHECKING:
    from grctl.worker.worker import Worker

__all__ = ["Chores"]

QUERIES_AT_ONCE = 20
LONGEST_QUERY_SECONDS = 60.0


class Chores:
    """Called when there may be something; looks in the tables, and does it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._called = asyncio.Event()
        self._called.set()
        self._busy = 0
        self._types = sorted(t for t, w in worker.workflows.items() if w.query_names)

    def call(self) -> None:
        """There may be something to do."""
        self._called.set()

    async def run(self) -> None:
        """Do chores until cancelled. A slow query handler holds up nothing else."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._called.wait()
                self._called.clear()
                while await self._close_child():
                    pass
                while (room := QUERIES_AT_ONCE - self._busy) and (taken := await self._take(room)):
                    for query in taken:
                        self._busy += 1
                        answering = group.create_task(
                            self._answer(query), name=f"query {query['query_id']}"
                        )
                        answering.add_done_callback(self._answered)

    def _answered(self, _: asyncio.Task[None]) -> None:
        if self._busy == QUERIES_AT_ONCE:
            self.call()  # there may be some that had no room
        self._busy -= 1

    async def _close_child(self) -> bool:
        database = self._worker.database
        closed = await database.patiently(
            "closing children", lambda: database.fetchval("runs", "close_child")
        )
        return bool(closed)

    async def _take(self, most: int) -> list[Any]:
        database = self._worker.database
        return await database.patiently(
            "looking for queries",
            lambda: database.fetch("queries", "take", self._types, most, self._worker.worker_no),
        )

    async def _answer(self, query: Any) -> None:
        codec = self._worker.codec
        answer: str | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(LONGEST_QUERY_SECONDS):
                if query["worker_no"] is None:
                    answer = await self._ask_handler(query, codec)
                else:
                    answer = activity_of(
                        self._worker.slots.executors.get(query["run_id"])
                    ).to_json()
        except (Exception, asyncio.CancelledError) as raised:
            if isinstance(raised, asyncio.CancelledError) and _is_cancelled():
                raise
            error = details_to_json(capture(raised), codec)
        database = self._worker.database
        await database.patiently(
            "answering a query",
            lambda: database.fetch("queries", "answer", query["query_id"], answer, error),
        )

    async def _ask_handler(self, query: Any, codec: Codec) -> str:
        workflow = self._worker.workflows[query["wf_type"]]
        handler = workflow.queries.get(query["name"])
        if handler is None:
            raise LookupError(
                f"workflow {workflow.workflow_type!r} has no query {query['name']!r} in this "
                f"worker's code; its queries are {', '.join(workflow.query_names) or 'none'}"
            )
        context = await self._context(query["run_id"], codec)
        arguments = bind_positional(handler, query["args"], codec.decode)
        value = await handler.fn(context, **arguments)
        return codec.encode(value, what=f"answer of {handler.label}")

    async def _context(self, run_id: UUID, codec: Codec) -> QueryContext:
        found = await self._worker.database.fetch("runs", "describe", run_id)
        if not found:
            raise WorkflowNotFoundError(f"run {run_id} is no longer there: it was deleted")
        run = found[0]
        view = RunView(
            id=run_id,
            wf_id=run["wf_id"],
            wf_type=run["wf_type"],
            status=RunStatus(run["status"]),
            attempt=run["step_attempt"],
            created_at=run["created_at"],
            step_name=run["current_step"] or "",
            parent_run_id=run["parent_run_id"],
            parent_wf_id=run["parent_wf_id"],
            parent_wf_type=run["parent_wf_type"],
        )
        snapshot = Snapshot(codec, await self._worker.holdings.load_store(run_id))
        return QueryContext(view, snapshot, self._worker.workflow_logger)


def _is_cancelled() -> bool:
    """Whether this task was told to end, rather than that its code raised CancelledError."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
