"""``ctx``: what a handler is given."""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from grctl.models.directive import (
    Complete,
    ContinueAsNew,
    Directive,
    Fail,
    NextStep,
    Wait,
)
from grctl.models.error_details import ErrorDetails
from grctl.workflow.handler import HandlerKind
from grctl.workflow.workflow import Workflow
from grctl.worker.operations import branch_of_step, recorded_value, sleep

if TYPE_CHECKING:
    from grctl.worker.run_logger import RunLogger
    from grctl.worker.scope import Scope
    from grctl.worker.store import Store

__all__ = ["Context", "Next", "RunView"]


@dataclass(frozen=True, slots=True)
class RunView:
    """``ctx.run``: which run this is. ``attempt`` counts the attempts of the step from 1."""

    id: uuid.UUID
    wf_id: str
    wf_type: str
    status: str
    attempt: int
    created_at: datetime
    step_name: str
    parent_run_id: uuid.UUID | None = None

    @property
    def run_id(self) -> uuid.UUID:
        """The same as ``id``."""
        return self.id


class Next:
    """``ctx.next``: the directives. A handler returns one of them."""

    __slots__ = ("_workflow",)

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    def step(self, fn: Callable[..., Any], delay: timedelta | None = None) -> Directive:
        """Run step ``fn`` next, after a durable ``delay`` (default: at once) that holds no worker.

        ValueError if ``fn`` is no registered step of this workflow.
        """
        return NextStep(self._name_of(fn, "ctx.next.step"), delay)

    def wait(
        self, timeout: timedelta | None = None, on_timeout: Callable[..., Any] | None = None
    ) -> Directive:
        """Park until an event comes; the oldest in the inbox is dispatched at once.

        After ``timeout`` (default: never) run step ``on_timeout``; without one the run fails.
        """
        name = None if on_timeout is None else self._name_of(on_timeout, "ctx.next.wait")
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
        return Fail(error)

    def continue_as_new(self, **input: Any) -> Directive:  # noqa: A002 - the public name
        """Finish this run and start a fresh one of the same workflow id, in one transaction."""
        return ContinueAsNew(input)

    def _name_of(self, fn: Callable[..., Any], where: str) -> str:
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
    ) -> None:
        self.run = run
        self.store = store
        self.next = Next(workflow)
        self.logger = logger
        self._scope = scope
        self._clock = clock

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel of this run was asked for: a step may end early then."""
        return self._scope.cancel_requested.is_set()

    def now(self) -> Awaitable[datetime]:
        """The database's time, with a time zone; recorded."""
        branch = branch_of_step("ctx.now()")
        return recorded_value(
            branch, branch.next_key(), "now", "timestamp.recorded", self._clock, datetime
        )

    def random(self) -> Awaitable[float]:
        """A random float in [0, 1); recorded."""
        branch = branch_of_step("ctx.random()")
        return recorded_value(
            branch, branch.next_key(), "random", "random.recorded", random.random, float
        )

    def uuid4(self) -> Awaitable[uuid.UUID]:
        """A random UUID; recorded. Good for idempotency keys that tasks pass on."""
        branch = branch_of_step("ctx.uuid4()")
        return recorded_value(
            branch, branch.next_key(), "uuid4", "uuid.recorded", uuid.uuid4, uuid.UUID
        )

    def sleep(self, duration: timedelta) -> Awaitable[None]:
        """Sleep durably: after a crash only the rest is slept.

        Does not count towards the step's timeout and takes no slot of the worker's concurrency.
        A cancel of the run ends it early. For days rather than minutes, end the step with
        ``ctx.next.step(fn, delay=…)`` instead: that holds no memory either.
        """
        if not isinstance(duration, timedelta) or duration < timedelta(0):
            raise ValueError(f"ctx.sleep takes a timedelta that is not negative, not {duration!r}")
        branch = branch_of_step("ctx.sleep()")
        return sleep(branch, branch.next_key(), duration)
