"""The client: starts workflows and asks about them. Everything it does is a statement or two."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, overload
from uuid import UUID

from grctl.client.connection import Connection
from grctl.client.handle import WorkflowHandle
from grctl.client.outcomes import read_error
from grctl.client.page import (
    RunPage,
    check_limit,
    check_since,
    check_text,
    cursor_of,
    read_cursor,
    read_statuses,
)
from grctl.client.starts import Start
from grctl.client.waiters import ResultFuture
from grctl.engine.codec import Codec
from grctl.engine.history import expand
from grctl.engine.transitions import milliseconds
from grctl.errors import WorkflowNotFoundError
from grctl.ids import new_run_id
from grctl.models.directive import check_timeout
from grctl.models.history import HistoryEvent
from grctl.models.run import RunInfo, RunStatus
from grctl.models.text import is_text
from grctl.postgres.history import read_history

__all__ = ["Client", "WorkflowStart"]

T = TypeVar("T")

LONGEST_ID = 255

_LEFT_OUT = {"input": None, "result": None, "error": None}


@dataclass(frozen=True, slots=True)
class WorkflowStart:
    """One of many starts: see ``Client.start_workflows``."""

    type: str
    id: str
    input: Any = None
    timeout: timedelta | None = None


class Client:
    """Starts workflows, finds their runs, and hands out handles on them."""

    def __init__(self, connection: Connection, codec: Codec | None = None) -> None:
        self.connection = connection
        self.database = connection.database
        self.codec = codec or connection.codec

    async def start_workflow(
        self,
        type: str,
        id: str,
        input: Any = None,
        timeout: timedelta | None = None,
        return_type: Any = None,
    ) -> WorkflowHandle:
        """Start a run of workflow ``type`` under the workflow id ``id``, 1 to 255 characters.

        ``input`` is a dict of the start handler's arguments, or its single argument. ``timeout``
        bounds the whole run (default: none). ``return_type`` is what results are converted to.

        WorkflowAlreadyRunningError if the id has an open run; WorkflowTypeNotRegisteredError if no
        worker has ever registered the type (none need be up now); SerializationError for an input
        that cannot be recorded; ValueError or TypeError for a type, id or timeout that cannot be.
        """
        start = self._start(type, id, input, timeout)
        await self.connection.starts.start(start)
        return WorkflowHandle(self, _started(start), return_type)

    @overload
    async def run_workflow(
        self,
        type: str,
        id: str,
        input: Any = None,
        timeout: timedelta | None = None,
        *,
        return_type: builtins.type[T],
    ) -> T: ...
    @overload
    async def run_workflow(
        self,
        type: str,
        id: str,
        input: Any = None,
        timeout: timedelta | None = None,
        return_type: Any = None,
    ) -> Any: ...
    async def run_workflow(
        self,
        type: str,
        id: str,
        input: Any = None,
        timeout: timedelta | None = None,
        return_type: Any = None,
    ) -> Any:
        """Start a run and wait for its result; errors as of ``start_workflow`` and ``result``."""
        start = self._start(type, id, input, timeout)
        # Waited for before it is there: no look is needed at whether it has ended already. (If the
        # waiters do not hear yet, they look at all that is waited for as soon as they do.)
        future = ResultFuture(start.run_id, self.decoder(return_type))
        self.connection.waiters.wait_for(future, may_have_ended=False)
        try:
            await self.connection.starts.start(start)
            return await future
        finally:
            future.discard()

    def decoder(self, return_type: Any) -> Callable[[str | None], Any]:
        """How a result's JSON text becomes a value of `return_type` (None: plain JSON)."""
        decode = self.codec.decode
        if return_type is None:
            return lambda text: None if text is None else decode(text)
        return lambda text: decode(text or "null", return_type)

    async def start_workflows(
        self, starts: Sequence[WorkflowStart | Mapping[str, Any]]
    ) -> list[WorkflowHandle | Exception]:
        """Start many runs by one statement.

        Each start is a ``WorkflowStart`` or a dict of its fields. In the list returned, in the
        same order, stands a handle for each, or the error for which it was refused. What could
        not even be sent (an id of 300 characters, an input that is no JSON) is raised, and none is
        started.
        """
        wanted = [s if isinstance(s, WorkflowStart) else WorkflowStart(**s) for s in starts]
        made = [self._start(s.type, s.id, s.input, s.timeout) for s in wanted]
        answers = await self.connection.starts.start_all(made)
        return [
            start.refusal(answer) or WorkflowHandle(self, _started(start))
            for start, answer in zip(made, answers, strict=True)
        ]

    async def get_workflow_handle(self, id: str, return_type: Any = None) -> WorkflowHandle:
        """A handle on the latest run of a workflow id. WorkflowNotFoundError if there is none."""
        return WorkflowHandle(self, await self.describe(id), return_type)

    get_handle = get_workflow_handle

    def handle_of(
        self,
        run_id: UUID,
        wf_id: str,
        wf_type: str,
        return_type: Any = None,
    ) -> WorkflowHandle:
        """A handle on a run that was just started."""
        return WorkflowHandle(self, _started(Start(run_id, wf_id, wf_type, None)), return_type)

    async def describe(self, id: str, run_id: UUID | None = None) -> RunInfo:
        """What is known of a workflow id's latest run, or of the given one of its runs."""
        if not is_text(id):
            raise _not_found(id, run_id)
        if run_id is None:
            run_id = await self.database.fetchval("runs", "latest", id)
        rows = await self.database.fetch("runs", "describe", run_id) if run_id else []
        if not rows or rows[0]["wf_id"] != id:
            raise _not_found(id, run_id)
        return self._info(rows[0])

    async def get_history(self, id: str, run_id: UUID | None = None) -> list[HistoryEvent]:
        """The history of a workflow id's latest run, or of the given one of its runs.

        Ordered and complete as of now; of an open run it is what has been recorded so far, and the
        start of the step that runs. WorkflowNotFoundError if there is no such run.
        """
        found = await read_history(self.database, id, run_id) if is_text(id) else None
        if found is None:
            raise _not_found(id, run_id)
        run, rows = found
        return list(expand(rows, run))

    async def list_workflows(
        self,
        type: str | None = None,
        status: RunStatus | str | Iterable[RunStatus | str] | None = None,
        since: datetime | None = None,
        id_prefix: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RunPage:
        """Runs, newest first, at most ``limit`` (1 to 1,000) of them: a list, with ``next_cursor``.

        ``type`` and ``status`` (one or several) choose among them, ``since`` (with a time zone) by
        the time of their start, ``id_prefix`` by how their workflow id begins. Give a page's
        ``next_cursor`` as ``cursor`` to go on; it is None on the last page. Input, result and
        error are left out: ``describe`` has them. ValueError says what may be asked for.
        """
        from grctl.postgres.views import RunFilter, list_runs  # noqa: PLC0415 - sqlalchemy is heavy

        check_limit(limit)
        check_since(since)
        check_text("type", type)
        check_text("id_prefix", id_prefix)
        wanted = RunFilter(
            wf_type=type,
            statuses=read_statuses(status),
            since=since,
            id_prefix=id_prefix,
            before=read_cursor(cursor),
        )
        rows = await list_runs(self.database, wanted, limit + 1)
        runs = [self._info({**row, **_LEFT_OUT}) for row in rows[:limit]]
        return RunPage(runs, cursor_of(runs[-1].id) if len(rows) > limit else None)

    def _start(self, wf_type: str, wf_id: str, value: Any, timeout: timedelta | None) -> Start:
        if not isinstance(wf_id, str) or not 0 < len(wf_id) <= LONGEST_ID:
            raise ValueError(
                f"a workflow id must be a string of 1 to {LONGEST_ID} characters, "
                f"not {len(wf_id) if isinstance(wf_id, str) else wf_id!r}"
            )
        if not is_text(wf_id):
            raise ValueError(f"a workflow id must have no NUL and no lone surrogate: {wf_id!r:.80}")
        # Others' starts go by the same statement: what it cannot take must not come so far.
        if not is_text(wf_type):
            raise ValueError(
                "a workflow type must be a string without NUL and lone surrogates, "
                f"not {wf_type!r:.80}"
            )
        check_timeout("a run's timeout", timeout)
        text = None if value is None else self.codec.encode(value, what="workflow input")
        timeout_ms = None if timeout is None else milliseconds(timeout)
        return Start(new_run_id(), wf_id, wf_type, text, timeout_ms)

    def _info(self, row: Any) -> RunInfo:
        error, _ = read_error(row["error"])
        decode = self.codec.decode
        return RunInfo(
            id=row["run_id"],
            wf_id=row["wf_id"],
            wf_type=row["wf_type"],
            status=RunStatus(row["status"]),
            created_at=row["created_at"],
            attempt=row["step_attempt"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            deadline_at=row["deadline_at"],
            wake_at=row["wake_at"],
            step_name=row["current_step"],
            step_no=row["step_no"],
            epoch=row["epoch"],
            owner=row["worker_id"],
            cancel_requested=row["cancel_requested_at"] is not None,
            parent_run_id=row["parent_run_id"],
            parent_wf_id=row["parent_wf_id"],
            parent_wf_type=row["parent_wf_type"],
            input=None if row["input"] is None else decode(row["input"]),
            result=None if row["result"] is None else decode(row["result"]),
            error=error,
        )


def _not_found(wf_id: str, run_id: UUID | None) -> WorkflowNotFoundError:
    if run_id is None:
        return WorkflowNotFoundError(f"there is no workflow with the id {wf_id!r}")
    return WorkflowNotFoundError(f"workflow {wf_id!r} has no run {run_id}")


def _started(start: Start) -> RunInfo:
    """What is known of a run that was just started."""
    return RunInfo(
        id=start.run_id,
        wf_id=start.wf_id,
        wf_type=start.wf_type,
        status=RunStatus.SCHEDULED,
        created_at=datetime.now(UTC),
    )
