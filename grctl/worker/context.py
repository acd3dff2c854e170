"""``ctx``: what a handler is given."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from grctl.models.directive import (
    MAX_DELAY,
    Complete,
    ContinueAsNew,
    Directive,
    Fail,
    NextStep,
    Wait,
    check_seconds,
)
from grctl.models.error_details import ErrorDetails
from grctl.worker.operations import branch_of_step, recorded_value, sleep
from grctl.worker.relations import ChildStart, await_child, send, send_to_parent, start_child
from grctl.workflow.handler import HandlerKind
from grctl.workflow.workflow import Workflow

if TYPE_CHECKING:
    from grctl.client.client import Client
    from grctl.client.handle import WorkflowHandle
    from grctl.worker.run_logger import RunLogger
    from grctl.worker.scope import Scope
    from grctl.worker.store import Store

__all__ = ["Context", "Next", "RunView"]


class RunView(NamedTuple):
    """``ctx.run``: which run this is. ``attempt`` counts the attempts of the step from 1."""

    id: uuid.UUID
    wf_id: str
    wf_type: str
    status: str
    attempt: int
    created_at: datetime
    step_name: str
    parent_run_id: uuid.UUID | None = None
    parent_wf_id: str | None = None
    parent_wf_type: str | None = None

    @property
    def run_id(self) -> uuid.UUID:
        """The same as ``id``."""
        return self.id


@dataclass(frozen=True, slots=True)
class Relatives:
    """What operations on other runs need."""

    client: Client
    epoch: int


class Next:
    """``ctx.next``: the directives. A handler returns one of them."""

    __slots__ = ("_workflow",)

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    def step(self, fn: Callable[..., Any], delay: timedelta | None = None) -> Directive:
        """Run step ``fn`` next, after a durable ``delay`` (default: at once) that holds no worker.

        ValueError if ``fn`` is no registered step of this workflow.
        """
        return NextStep(self.name_of(fn, "ctx.next.step"), delay)

    def wait(
        self, timeout: timedelta | None = None, on_timeout: Callable[..., Any] | None = None
    ) -> Directive:
        """Park until an event comes; the oldest in the inbox is dispatched at once.

        After ``timeout`` (default: never) run step ``on_timeout``; without one the run fails.
        """
        name = None if on_timeout is None else self.name_of(on_timeout, "ctx.next.wait")
        return Wait(timeout, name)

    def complete(self, result: Any = None) -> Directive:
        """Finish the run with ``result``."""
        return Complete(result)

    def fail(self, error: ErrorDetails) -> Directive:
        """Fail the run with ``error``; the waiter gets a WorkflowError with these details."""
        if not isinstance(error, ErrorDetails):
            raise TypeError(
                f"ctx.next.fail takes ErrorDetails(type=…, message=…), not {error!r:.100}"
            )
        for name in ("type", "message", "stack_trace", "qualified_type"):
            value = getattr(error, name)
            if not isinstance(value, str):
                raise TypeError(
                    f"ctx.next.fail: ErrorDetails.{name} must be a str, not "
                    f"{type(value).__name__} {value!r:.100}"
                )
        return Fail(error)

    def continue_as_new(self, **input: Any) -> Directive:
        """Finish this run and start a fresh one of the same workflow id, in one transaction."""
        return ContinueAsNew(input)

    def name_of(self, fn: Callable[..., Any], where: str) -> str:
        """The name of a step of this workflow; ValueError for anything else."""
        handler = self._workflow.handler_of(fn)
        if handler is None or handler.kind not in (HandlerKind.STEP, HandlerKind.START):
            name = getattr(fn, "__qualname__", repr(fn))
            raise ValueError(
                f"{where}: {name} is no step of workflow {self._workflow.workflow_type!r}. "
                f"Mark it with @….step(); its steps are {', '.join(self._workflow.step_names)}"
            )
        return handler.name


class Context:
    """What a step knows and may do. Its awaitable methods are operations: recorded, replayed."""

    def __init__(
        self,
        run: RunView,
        workflow: Workflow,
        store: Store,
        scope: Scope,
        logger: RunLogger,
        clock: Callable[[], datetime],
        relatives: Relatives,
    ) -> None:
        self.run = run
        self.store = store
        self.next = Next(workflow)
        self.logger = logger
        self._scope = scope
        self._clock = clock
        self._workflow = workflow
        self._relatives = relatives

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel of this run was asked for: a step may end early then."""
        return self._scope.cancel_requested.is_set()

    def now(self) -> Coroutine[Any, Any, datetime]:
        """The database's time, with a time zone; recorded."""
        branch = branch_of_step("ctx.now()")
        return recorded_value(
            branch, branch.next_key(), "now", "timestamp.recorded", self._clock, datetime
        )

    def random(self) -> Coroutine[Any, Any, float]:
        """A random float in [0, 1); recorded."""
        branch = branch_of_step("ctx.random()")
        return recorded_value(
            branch, branch.next_key(), "random", "random.recorded", random.random, float
        )

    def uuid4(self) -> Coroutine[Any, Any, uuid.UUID]:
        """A random UUID; recorded. Good for idempotency keys that tasks pass on."""
        branch = branch_of_step("ctx.uuid4()")
        return recorded_value(
            branch, branch.next_key(), "uuid4", "uuid.recorded", uuid.uuid4, uuid.UUID
        )

    def sleep(self, duration: timedelta) -> Coroutine[Any, Any, None]:
        """Sleep durably: after a crash only the rest is slept.

        Does not count towards the step's timeout and takes no slot of the worker's concurrency.
        A cancel of the run ends it early. For days rather than minutes, end the step with
        ``ctx.next.step(fn, delay=…)`` instead: that holds no memory either.
        """
        if not isinstance(duration, timedelta) or not timedelta(0) <= duration <= MAX_DELAY:
            raise ValueError(
                f"ctx.sleep takes a timedelta from 0 to {MAX_DELAY.days} days, not {duration!r}"
            )
        branch = branch_of_step("ctx.sleep()")
        return sleep(branch, branch.next_key(), duration)

    def start_child(
        self,
        workflow_type: str,
        workflow_id: str,
        workflow_input: Any = None,
        workflow_timeout: timedelta | None = None,
        on_completed_step: Callable[..., Any] | None = None,
        *,
        parent_close_policy: str = "abandon",
        return_type: Any = None,
    ) -> Coroutine[Any, Any, WorkflowHandle]:
        """Start a child workflow; recorded, so a replay does not start it twice.

        When the child ends, in any way, this run executes ``on_completed_step`` with a
        ``ChildOutcome``, as soon as it waits. ``parent_close_policy`` says what becomes of the
        child if this run ends first: ``abandon`` (it goes on), ``cancel`` or ``terminate``.

        WorkflowAlreadyRunningError if the id has an open run; WorkflowTypeNotRegisteredError if no
        worker ever registered the type. ValueError for a step that is none of this workflow's.
        """
        branch = branch_of_step("ctx.start_child()")
        name = None
        if on_completed_step is not None:
            name = self.next.name_of(on_completed_step, "ctx.start_child")
        child = ChildStart(
            workflow_type, workflow_id, workflow_input, workflow_timeout, name, parent_close_policy
        )
        started = start_child(branch, branch.next_key(), child, self._relatives.epoch)

        async def handle() -> WorkflowHandle:
            run_id = await started
            client = self._relatives.client
            return client.handle_of(run_id, workflow_id, workflow_type, return_type)

        return handle()

    def run_child(
        self,
        workflow_type: str,
        workflow_id: str,
        workflow_input: Any = None,
        workflow_timeout: timedelta | None = None,
        *,
        timeout: float | None = None,
        parent_close_policy: str = "abandon",
        return_type: Any = None,
    ) -> Coroutine[Any, Any, Any]:
        """Start a child workflow and wait for its end, in this step; its result.

        ``timeout`` in seconds bounds the wait (default: none; the child goes on). Waiting holds
        no slot of the worker and does not count towards the step's timeout. WorkflowError if the
        child failed, asyncio.CancelledError if it was cancelled or terminated, TimeoutError.
        """
        branch = branch_of_step("ctx.run_child()")
        check_seconds("the timeout of ctx.run_child()", timeout)
        start_key, end_key = branch.next_key(), branch.next_key()
        child = ChildStart(
            workflow_type, workflow_id, workflow_input, workflow_timeout, None, parent_close_policy
        )
        started = start_child(branch, start_key, child, self._relatives.epoch)
        waiters = self._relatives.client.connection.waiters

        async def result() -> Any:
            run_id = await started
            return await await_child(branch, end_key, run_id, waiters, timeout, return_type)

        return result()

    def send_to_parent(self, name: str, payload: Any = None) -> Coroutine[Any, Any, None]:
        """Send an event to the parent, in the same transaction as its record.

        RuntimeError for a run without a parent, WorkflowError if the parent has ended.
        """
        branch = branch_of_step("ctx.send_to_parent()")
        if self.run.parent_run_id is None:
            raise RuntimeError(f"workflow {self.run.wf_id!r} has no parent to send to")
        parent = {
            "run_id": self.run.parent_run_id,
            "wf_id": self.run.parent_wf_id,
            "wf_type": self.run.parent_wf_type,
        }
        epoch = self._relatives.epoch
        return send_to_parent(branch, branch.next_key(), parent, name, payload, epoch)

    def send(self, workflow_id: str, name: str, payload: Any = None) -> Coroutine[Any, Any, None]:
        """Send an event to another workflow's open run, in the same transaction as its record.

        WorkflowError if it has none, or handles no event so named.
        """
        branch = branch_of_step("ctx.send()")
        return send(branch, branch.next_key(), workflow_id, name, payload, self._relatives.epoch)
