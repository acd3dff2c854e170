"""A handle on one run: wait for it, speak to it, end it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, overload
from uuid import UUID, uuid4

from grctl.client import requests
from grctl.client.waiters import ResultFuture
from grctl.errors import WorkflowAlreadyRunningError, WorkflowError
from grctl.models.directive import check_seconds
from grctl.models.run import RunInfo
from grctl.models.text import is_text

if TYPE_CHECKING:
    from grctl.client.client import Client

__all__ = ["WorkflowHandle"]

T = TypeVar("T")

PATIENCE_SECONDS = 10.0


class WorkflowHandle:
    """A run that was started or found. ``run_info`` is what was known of it then.

    If the run continues as new, the handle goes with it: results, events, queries and the rest are
    those of the chain's last run.
    """

    def __init__(self, client: Client, run_info: RunInfo, return_type: Any = None) -> None:
        self.run_info = run_info
        self._client = client
        self._return_type = return_type
        self._future: ResultFuture | None = None

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self.run_info.id

    @property
    def workflow_id(self) -> str:
        """The workflow id that the run has."""
        return self.run_info.wf_id

    @property
    def future(self) -> ResultFuture:
        """The run's outcome as a future; made when first asked for, and anew if let go of."""
        if self._future is None or (self._future.cancelled() and self._future.is_released):
            self._future = self._wait(self._return_type)
        return self._future

    @overload
    async def result(self, timeout: float | None = None, *, return_type: type[T]) -> T: ...
    @overload
    async def result(self, timeout: float | None = None, return_type: Any = None) -> Any: ...
    async def result(self, timeout: float | None = None, return_type: Any = None) -> Any:
        """Wait for the run's end; its result, converted to ``return_type`` where one is given.

        WorkflowError if it failed (StepFailed by an uncaught exception or a step's timeout),
        asyncio.CancelledError if it was cancelled or terminated, TimeoutError if its own timeout
        struck, or if it has not ended within ``timeout`` seconds: then it goes on.
        """
        check_seconds("the timeout of result()", timeout)
        future = self._wait(return_type or self._return_type)
        try:
            async with asyncio.timeout(timeout) as limit:
                return await future
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"workflow {self.workflow_id!r} has not ended within {timeout} s; it goes on"
            ) from error
        finally:
            future.discard()

    async def send(self, name: str, payload: Any = None) -> None:
        """Send an event. Returns when it is in the run's inbox: it is not lost, handled once.

        WorkflowError if the run has ended or its workflow has no event so named.
        """
        client = self._client
        text = None if payload is None else client.codec.encode(payload, what=f"event {name!r}")
        await requests.deliver(client, self.run_info, "event", name, text, uuid4())

    async def query(
        self, name: str, *args: Any, timeout: float = 10.0, return_type: Any = None
    ) -> Any:
        """Ask a query handler; it may be answered by any worker of the type, also after the end.

        The handler sees the store as the last finished step left it. What it raises is raised
        here. TimeoutError after ``timeout`` seconds, which says why nobody answered.
        """
        return await requests.query(self._client, self.run_info, name, args, timeout, return_type)

    async def update(
        self, name: str, payload: Any = None, timeout: float | None = None, return_type: Any = None
    ) -> Any:
        """Send an update and wait for its handler's answer; what it raises is raised here.

        It is handled like an event, when the run waits. WorkflowError if the run has ended, ends
        before it handles the update, or knows no update so named. TimeoutError after ``timeout``
        seconds (default: none); the update stays in the inbox then.
        """
        return await requests.update(
            self._client, self.run_info, name, payload, timeout, return_type
        )

    async def retry(self) -> None:
        """Open a failed run again at the step that failed; what its tasks completed is kept.

        WorkflowError if it has not failed, or its workflow id has another open run.
        """
        answer = await self._client.database.fetchval("runs", "retry", self.run_id)
        if answer == "not_failed":
            raise WorkflowError(f"workflow {self.workflow_id!r} has not failed: nothing to retry")
        if answer == "running":
            raise WorkflowAlreadyRunningError(
                f"workflow id {self.workflow_id!r} has another run that is not over"
            )

    async def cancel(self, reason: str | None = None) -> None:
        """Ask the run to end. One that waits ends at once, one in a step when its step does.

        WorkflowError if it has ended.
        """
        if await self._end("cancel", reason) == "ended":
            raise self._ended("cannot be cancelled")

    async def terminate(self, reason: str | None = None) -> None:
        """End the run now, whatever it does; nothing more of its step is recorded.

        WorkflowError if it has ended.
        """
        if await self._end("terminate", reason) == "ended":
            raise self._ended("cannot be terminated")

    async def _end(self, how: str, reason: str | None) -> str:
        if reason is not None and not is_text(reason):
            raise ValueError(
                f"a reason must be a string without NUL and lone surrogates, not {reason!r:.80}"
            )
        run_id = self.run_id
        while True:
            answer, is_repeated = await self._end_run(run_id, how, reason)
            if answer != "ended":
                return answer
            last: UUID = await self._client.database.fetchval("runs", "last", run_id)
            if last == run_id:
                # That an earlier attempt ended it is what its lost answer said.
                return "requested" if is_repeated else answer
            run_id = last

    async def _end_run(self, run_id: UUID, how: str, reason: str | None) -> tuple[str, bool]:
        """The database's answer, and whether it had been asked before and gave none."""
        database = self._client.database
        attempts = 0

        async def attempt() -> Any:
            nonlocal attempts
            attempts += 1
            return await database.fetchval("runs", how, run_id, reason)

        answer = await database.patiently(how, attempt, PATIENCE_SECONDS)
        return str(answer), attempts > 1

    def _wait(self, return_type: Any) -> ResultFuture:
        future = ResultFuture(self.run_id, self._client.decoder(return_type))
        self._client.connection.waiters.wait_for(future)
        return future

    def _ended(self, what: str) -> WorkflowError:
        return WorkflowError(f"workflow {self.workflow_id!r} has ended and {what}")
