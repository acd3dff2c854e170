"""One claimed run, step after step, until it is parked, ended, or no longer ours.

A step's end is one record: its row of history and the transition it makes. What stops a step from
outside (its timeout, the run's, a terminate, a lost lease, the worker's stop) is noted first and
acted on here, at the place where the step's coroutine has come to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any

from grctl.engine.codec import Codec
from grctl.engine.exceptions import capture, details_to_json
from grctl.engine.replay import CANCEL_RECEIVED
from grctl.engine.rows import Transition
from grctl.engine.transitions import Cause, Wake
from grctl.errors import LeaseLostError, NonDeterminismError
from grctl.log import get_logger
from grctl.models.run import RunStatus
from grctl.postgres.journal import RecordRefusedError
from grctl.worker import ends
from grctl.worker.branches import BranchTask
from grctl.worker.context import Context, Relatives, RunView
from grctl.worker.ends import End
from grctl.worker.run import HeldRun
from grctl.worker.run_logger import RunLogger, bind, ids_of
from grctl.worker.scope import Scope, recorded_as, wait_for
from grctl.worker.steps import StepCall, call_for
from grctl.worker.store import Store
from grctl.workflow.handler import DEFAULT_STEP_TIMEOUT, Handler
from grctl.workflow.workflow import Workflow

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from grctl.worker.worker import Worker

__all__ = ["Executor", "Interrupt"]

log = get_logger("grctl.run")


class Interrupt(StrEnum):
    """What stopped a step from outside."""

    TIMEOUT = "step timeout"
    RUN_TIMEOUT = "run timeout"
    TERMINATED = "terminated"
    LOST = "lease lost"
    STOP = "worker stops"


_DROPPED = frozenset({Interrupt.TERMINATED, Interrupt.LOST, Interrupt.STOP})
"""After these nothing is recorded: the run is no longer ours, or is given back as it is."""


class Executor:
    """Executes a run that this worker holds. ``task`` is the asyncio task it runs in."""

    def __init__(self, worker: Worker, run: HeldRun, workflow: Workflow) -> None:
        self.worker = worker
        self.run = run
        self.workflow = workflow
        self.task: BranchTask
        self._call: StepCall
        self.interrupted: Interrupt | None = None
        self.step_time_left: float | None = None
        self.run_ends_at: float | None = (
            None if run.seconds_left is None else monotonic() + run.seconds_left
        )
        self.began = monotonic()
        self.is_abandoned = False
        self.span: Span | None = None
        run.on_lost = self._lost
        self._codec = worker.codec
        self._store = Store(self._codec, self._load_store)

    async def execute(self) -> None:
        """Step after step. Ends when the run is parked, ended, lost or given back."""
        bind(self.run)
        one_step = self._one_step if self.worker.tracing is None else self._traced_step
        try:
            while await one_step():
                if self.worker.is_stopping:
                    await self.worker.holdings.give_back(self.run)
                    break
        except LeaseLostError:
            pass
        except RecordRefusedError as error:
            # Not even its failure could be written with its batch. Given back it would come again.
            log.error("run failed by its last resort", **self.ids, error=str(error))
            await self.worker.holdings.fail(self.run, details_to_json(capture(error), Codec()))

    @property
    def ids(self) -> dict[str, Any]:
        """What every log line about this run carries."""
        return ids_of(self.run)

    def interrupt(self, why: Interrupt) -> None:
        """Stop the step that runs, if one does; the first reason stands."""
        scope = self.run.scope
        if self.interrupted is not None or scope is None or scope.is_closed:
            return
        self.interrupted = why
        scope.close()
        self.task.cancel()

    def _lost(self) -> None:
        """The run was taken away (terminated), and no notification said so."""
        self.interrupt(Interrupt.LOST)

    def request_cancel(self) -> None:
        """A cancel of the run was asked for: the step is told, sleeps and backoffs end."""
        if self.run.cancel_requested:
            return
        self.run.cancel_requested = True
        scope = self.run.scope
        if scope is not None and not scope.is_closed:
            self.run.record(CANCEL_RECEIVED)  # once it is committed, the step's code sees it

    async def _traced_step(self) -> bool:
        """``_one_step`` in a span. It ends when the step's end is committed; of a step that is cut
        off before, whoever goes on with it tells.
        """
        tracing = self.worker.tracing
        assert tracing is not None
        self.span, token = tracing.begin_step(self.run, is_replayed=bool(self.run.recorded))
        try:
            return await self._one_step()
        finally:
            self.span = None
            tracing.leave(token)

    async def _one_step(self) -> bool:
        """Execute what the run is awake for. Whether the worker goes on with the run."""
        run = self.run
        if run.wake is Wake.EVENT and run.message is None:
            await self.worker.holdings.load_messages([run])
        if run.wake is Wake.CANCEL and run.cancel_reason is None:
            rows = await self.worker.database.fetch("runs", "describe", run.run_id)
            run.cancel_reason = rows[0]["cancel_reason"]  # it came after the claim
        if run.recorded:
            # A replay takes code that waits for its store for code that rests.
            await self._store.load()
        call = call_for(self.workflow, run)
        self._call = call
        run.step_name = call.name
        self.began = monotonic()
        if run.crashes >= self.worker.settings.max_step_crashes:
            end = self._failed(ends.poison(run), Cause.POISONED)
        elif call.end is not None:
            end = call.end
        else:
            assert call.handler is not None
            ended = await self._perform(call, call.handler)
            if ended is None:
                if not self.is_abandoned:
                    await self._drop()
                return False
            end = ended
        return await self._finish(call, end)

    async def _perform(self, call: StepCall, handler: Handler) -> End | None:
        """Run a handler. None if it was stopped and nothing may be recorded."""
        run = self.run
        scope = Scope(run, self._codec, run.recorded, run.step_attempt)
        self.step_time_left = (handler.timeout or DEFAULT_STEP_TIMEOUT).total_seconds()
        run.scope = scope
        scope.tracing = self.worker.tracing
        if run.cancel_requested and not scope.has_cancel_received:
            run.record(CANCEL_RECEIVED)
        self.task.begin(scope.root)
        error: BaseException | None = None
        value: Any = None
        try:
            arguments = call.arguments(self._codec)
            value = await handler.fn(self._context(scope), **arguments)
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 - it ends the step
            error = raised
        self.task.branch = None
        self.step_time_left = None
        if scope.fatal is not None:
            raise scope.fatal
        if self.is_abandoned:
            return None
        if self.interrupted is not None:
            self.task.uncancel()
            end = self._stopped(scope)
        elif isinstance(error, LeaseLostError) and run.is_fenced:
            self.interrupted = Interrupt.LOST
            end = None
        else:
            end = self._ended(scope, handler, value, error)
        scope.close()
        self._store.close()
        run.scope = None
        if self.interrupted not in _DROPPED:
            self.interrupted = None
        return end

    def _ended(
        self, scope: Scope, handler: Handler, value: Any, error: BaseException | None
    ) -> End:
        """The end of a step that came to one by itself."""
        try:
            scope.check_all_asked()
            if error is None:
                end = ends.returned(self.run, handler, value, self._codec)
                end.transition.writes = self._store.take_writes()
                return end
        except Exception as wrong:  # noqa: BLE001 - else the run would come again, for ever
            error = wrong
        return self._raised(handler, error)

    def abandon(self) -> asyncio.Future[Any] | None:
        """The step was stopped and does not come to its end: go on without it.

        Its asyncio task is left alone (whatever it still asks for is refused); the run's end is
        written by another, which is returned, if it is ours to write.
        """
        scope = self.run.scope
        assert scope is not None
        self.is_abandoned = True
        log.error("step does not stop", **self.ids, why=str(self.interrupted))
        end = self._stopped(scope)
        self.run.scope = None
        if end is None:
            return None
        return asyncio.ensure_future(self._finish(self._call, end))

    def _context(self, scope: Scope) -> Context:
        run = self.run
        view = RunView(
            run.run_id,
            run.wf_id,
            run.wf_type,
            "running",
            run.step_attempt,
            run.created_at,
            run.step_name,
            run.parent_run_id,
            run.parent_wf_id,
            run.parent_wf_type,
        )
        logger = RunLogger(self.worker.workflow_logger, scope, self.ids)
        relatives = Relatives(self.worker.client, run.epoch)
        clock = self.worker.clock.now
        return Context(view, self.workflow, self._store, scope, logger, clock, relatives)

    def _raised(self, handler: Handler, error: BaseException) -> End:
        """An uncaught exception: the step's retry policy decides, then it fails the run."""
        if self.worker.tracing is not None and self.span is not None:
            self.worker.tracing.step_raised(self.span, error)
        policy = handler.retry_policy
        if policy is not None and not isinstance(
            error, NonDeterminismError | asyncio.CancelledError
        ):
            fraction = self.worker.fraction()
            end = ends.attempt_failed(self.run, policy, error, fraction, self._codec)
            if end is not None:
                return end
        return self._failed(error, Cause.STEP_FAILED)

    def _failed(self, error: BaseException, cause: Cause) -> End:
        details = capture(error)
        log.warning("step failed", **self.ids, error=f"{details.type}: {details.message}"[:500])
        return ends.failed(self.run, self.run.step_name, cause, details, self._codec)

    def _stopped(self, scope: Scope) -> End | None:
        """The end of a step that was stopped from outside; None if nothing may be recorded."""
        if self.interrupted is Interrupt.RUN_TIMEOUT:
            return ends.run_timed_out()
        if self.interrupted is not Interrupt.TIMEOUT:
            return None
        if scope.is_replaying:
            try:
                scope.check_all_asked()
            except NonDeterminismError as error:
                return self._failed(error, Cause.STEP_FAILED)
        log.warning("step timed out", **self.ids)
        return ends.timed_out(self.run, self._codec)

    async def _finish(self, call: StepCall, end: End) -> bool:
        """Write a step's end. Whether the worker goes on with the run."""
        run = self.run
        transition = end.transition
        # A message is handled by a step that ends: else it stays in the inbox.
        transition.read = run.read if end.kind in ends.UNHANDLED else call.read
        if transition.go in ("end", "stop") and run.parent_step is not None:
            transition.parent_run = run.parent_run_id
        end.body["cause"] = f'"{run.wake}"'
        asked = self.worker.client.connection.waiters.asked
        commit = run.record(
            end.kind,
            name=call.name,
            attempt=run.step_attempt,
            micros=int((monotonic() - self.began) * 1_000_000),
            input=call.payload,
            body=recorded_as(**end.body),
            transition=transition,
        )
        try:
            answer = await wait_for(commit, None)
        except RecordRefusedError as error:
            if end.kind == "step.failed":
                raise
            return await self._finish(call, self._failed(error, Cause.STEP_FAILED))
        if end.kind == "step.completed":
            self._store = self._store.landed()
        else:
            self._store = self._store.dropped()
        if self.worker.tracing is not None and self.span is not None:
            self.worker.tracing.end_step(self.span, run, end.kind)
            if transition.go in ("end", "stop") and answer.verdict not in ("kept", "lost"):
                self.worker.tracing.end_run(run, transition.status)
        if answer.verdict != "kept":
            self._note_timer(transition)
            if answer.verdict == "gone" and answer.is_certain:
                self._tell_waiters(transition, asked)
            return False
        run.advance(Wake(answer.why or "step"), transition)
        self.worker.slots.exonerate(run.run_id)
        return True

    def _tell_waiters(self, transition: Transition, asked: int) -> None:
        """Whoever waited for the run in this process before its end was written hears of it from
        here; of the end of a chain of continue_as_new, from its last run.
        """
        status = RunStatus(transition.status)
        if transition.go in ("end", "stop") and status is not RunStatus.CONTINUED:
            waiters = self.worker.client.connection.waiters
            waiters.ended(self.run.run_id, status, transition.result, transition.error, asked)

    def _note_timer(self, transition: Transition) -> None:
        """Parked: let the worker know when the run is due by itself."""
        if transition.go in ("end", "stop"):
            return
        due: list[float] = []
        if transition.go == "rewait":
            due.append(0.0)  # the timer of the wait goes on: the database knows it
        if transition.delay_ms is not None:
            due.append(transition.delay_ms / 1000)
        if self.run_ends_at is not None:
            due.append(self.run_ends_at - monotonic())
        if due:
            self.worker.claims.note_timer(max(0.0, min(due)))

    async def _drop(self) -> None:
        """The step was stopped unrecorded: give the run back, if it is still ours."""
        if self.interrupted is Interrupt.STOP:
            # First what is on its way: whoever has the run next begins behind its last row.
            await self.worker.journal.flush()
            if not self.worker.journal.is_fenced:
                await self.worker.holdings.give_back(self.run)
        log.info("step dropped", **self.ids, why=str(self.interrupted))

    async def _load_store(self) -> dict[str, str]:
        scope = self.run.scope
        with contextlib.nullcontext() if scope is None else scope.reading():
            return await self.worker.holdings.load_store(self.run.run_id)
