"""A workflow's definition: a name, and a table of handlers that its decorators fill.

A definition that is wrong is refused by the decorator, at import, and not by a run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from types import FrameType, MappingProxyType
from typing import Any, TypeVar

from grctl.models.directive import MAX_DELAY, Directive, RetryPolicy
from grctl.workflow.handler import DEFAULT_STEP_TIMEOUT, Handler, HandlerFunction, HandlerKind
from grctl.workflow.signature import calling_frame, read_parameters, takes_outcome

__all__ = ["MAX_NAME_LENGTH", "Workflow"]

MAX_NAME_LENGTH = 255
"""The longest name of a workflow type, step, event, query or update, in characters."""

StepFunction = TypeVar("StepFunction", bound=Callable[..., Coroutine[Any, Any, Directive]])
QueryFunction = TypeVar("QueryFunction", bound=Callable[..., Coroutine[Any, Any, Any]])
UpdateFunction = TypeVar(
    "UpdateFunction",
    bound=Callable[..., Coroutine[Any, Any, Directive | tuple[Directive, Any]]],
)


class Workflow:
    """The definition of a workflow, named by ``workflow_type``.

    ``workflow_type`` may be any non-empty string up to 255 characters (ValueError otherwise).
    Start, steps, events and updates are all steps of a run and share one namespace; queries have
    their own. A name twice raises ValueError. Every decorator returns the function unchanged::

        order = Workflow("order")

        @order.start()
        async def place(ctx: Context, item: str, amount: int) -> Directive:
            return ctx.next.wait(timeout=timedelta(days=1), on_timeout=expire)

        @order.event()
        async def paid(ctx: Context, receipt: Receipt) -> Directive:
            return ctx.next.complete(receipt.number)

        @order.step()
        async def expire(ctx: Context) -> Directive:
            return ctx.next.complete(None)
    """

    def __init__(self, workflow_type: str) -> None:
        self._workflow_type = _checked_name("workflow_type", workflow_type)
        self._start: Handler | None = None
        self._handlers: dict[str, Handler] = {}
        self._queries: dict[str, Handler] = {}
        self._by_function: dict[object, Handler] = {}

    def __repr__(self) -> str:
        return f"Workflow({self._workflow_type!r})"

    # The decorators look one frame up for the local variables of the place of the decoration:
    # text annotations of a function defined in a function body can name local classes.

    def start(self, timeout: timedelta | None = None) -> Callable[[StepFunction], StepFunction]:
        """Register the handler that a run begins with; exactly one a workflow.

        It takes ``ctx`` and the workflow's input as parameters. ``timeout`` limits this step
        (default 5 minutes), not the run. Raises ValueError for a second start handler.
        """
        _check_parentheses("start", timeout)
        frame = calling_frame()

        def register(fn: StepFunction) -> StepFunction:
            if self._start is not None:
                raise ValueError(
                    f"{self!r} already has the start handler {self._start.name!r}; "
                    f"{getattr(fn, '__name__', fn)!r} would be a second one"
                )
            self._start = self._register(HandlerKind.START, fn, frame, timeout=timeout)
            return fn

        return register

    def step(
        self, timeout: timedelta | None = None, retry_policy: RetryPolicy | None = None
    ) -> Callable[[StepFunction], StepFunction]:
        """Register a step, named by its function, to be reached by ``ctx.next.step(fn)``.

        It takes ``ctx`` alone; what it needs to know is in ``ctx.store``. A step that serves as
        ``on_completed_step`` of a child takes one parameter more, annotated ``ChildOutcome[...]``.
        ``timeout`` limits one attempt (default 5 minutes); ``retry_policy`` says when the step is
        tried again after an uncaught exception (default: never).
        """
        _check_parentheses("step", timeout)
        if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):
            raise TypeError(
                f"retry_policy must be a RetryPolicy or None, not {type(retry_policy).__name__}"
            )
        frame = calling_frame()

        def register(fn: StepFunction) -> StepFunction:
            self._register(HandlerKind.STEP, fn, frame, timeout=timeout, retry_policy=retry_policy)
            return fn

        return register

    def event(
        self, name: str | None = None, timeout: timedelta | None = None
    ) -> Callable[[StepFunction], StepFunction]:
        """Register the handler of an event, by default named as its function.

        It takes ``ctx`` and the event's payload as parameters, and runs as a step once the run
        waits. ``timeout`` limits this step (default 5 minutes).
        """
        _check_parentheses("event", name)
        frame = calling_frame()

        def register(fn: StepFunction) -> StepFunction:
            self._register(HandlerKind.EVENT, fn, frame, name=name, timeout=timeout)
            return fn

        return register

    def query(self, name: str | None = None) -> Callable[[QueryFunction], QueryFunction]:
        """Register a read-only query, by default named as its function.

        It takes ``ctx`` and the query's arguments as parameters; what it returns is the answer.
        """
        _check_parentheses("query", name)
        frame = calling_frame()

        def register(fn: QueryFunction) -> QueryFunction:
            self._register(HandlerKind.QUERY, fn, frame, name=name)
            return fn

        return register

    def update(
        self, name: str | None = None, timeout: timedelta | None = None
    ) -> Callable[[UpdateFunction], UpdateFunction]:
        """Register the handler of an update: an event whose sender waits for an answer.

        It returns ``(directive, answer)``, or a directive alone for the answer None. ``timeout``
        limits this step (default 5 minutes).
        """
        _check_parentheses("update", name)
        frame = calling_frame()

        def register(fn: UpdateFunction) -> UpdateFunction:
            self._register(HandlerKind.UPDATE, fn, frame, name=name, timeout=timeout)
            return fn

        return register

    def validate(self) -> None:
        """Raise ValueError if the definition is not complete: it has no start handler."""
        if self._start is None:
            raise ValueError(f"{self!r} has no start handler: decorate one function with `start()`")

    @property
    def workflow_type(self) -> str:
        """The name that runs are started by."""
        return self._workflow_type

    @property
    def start_step_name(self) -> str | None:
        """The name of the start handler; None while there is none."""
        return None if self._start is None else self._start.name

    @property
    def step_names(self) -> list[str]:
        """The names of the steps, without the start handler, in order of definition."""
        return list(self.steps)

    @property
    def event_names(self) -> list[str]:
        """The names of the events, in order of definition."""
        return list(self.events)

    @property
    def query_names(self) -> list[str]:
        """The names of the queries, in order of definition."""
        return list(self._queries)

    @property
    def update_names(self) -> list[str]:
        """The names of the updates, in order of definition."""
        return list(self.updates)

    @property
    def start_handler(self) -> Handler:
        """The start handler; ValueError if there is none."""
        self.validate()
        assert self._start is not None
        return self._start

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """All that can be a run's current step, by name: start, steps, events and updates."""
        return MappingProxyType(self._handlers)

    @property
    def steps(self) -> Mapping[str, Handler]:
        """The steps by name, without the start handler."""
        return self._of_kind(HandlerKind.STEP)

    @property
    def events(self) -> Mapping[str, Handler]:
        """The event handlers by event name."""
        return self._of_kind(HandlerKind.EVENT)

    @property
    def queries(self) -> Mapping[str, Handler]:
        """The query handlers by query name."""
        return MappingProxyType(self._queries)

    @property
    def updates(self) -> Mapping[str, Handler]:
        """The update handlers by update name."""
        return self._of_kind(HandlerKind.UPDATE)

    def handler_of(self, fn: object) -> Handler | None:
        """The handler that a function is registered as here, or None.

        Of a function registered as a step and as something else, the step.
        """
        try:
            return self._by_function.get(fn)
        except TypeError:  # not hashable, so never registered
            return None

    def _of_kind(self, kind: HandlerKind) -> Mapping[str, Handler]:
        return {name: found for name, found in self._handlers.items() if found.kind is kind}

    def _register(
        self,
        kind: HandlerKind,
        fn: HandlerFunction,
        frame: FrameType,
        *,
        name: str | None = None,
        timeout: timedelta | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> Handler:
        if name is None:
            name = _own_name(kind, fn)
        name = _checked_name(f"the name of the {kind}", name)
        label = f"{kind} {name!r} of {self!r}"
        if kind is not HandlerKind.QUERY:
            timeout = _checked_timeout(label, timeout)
        parameters = read_parameters(fn, label, frame)
        handler = Handler(name, kind, fn, timeout, retry_policy, parameters)
        if kind is HandlerKind.STEP:
            _check_step(handler, label)
        table = self._queries if kind is HandlerKind.QUERY else self._handlers
        if name in table:
            raise ValueError(f"{label}: the name is taken by the {table[name].label}")
        table[name] = handler
        if kind in (HandlerKind.START, HandlerKind.STEP) or fn not in self._by_function:
            self._by_function[fn] = handler
        return handler


def _check_step(handler: Handler, label: str) -> None:
    for position, parameter in enumerate(handler.parameters):
        # An annotation that cannot be resolved yet may well be an alias of ChildOutcome.
        outcome = parameter.resolve is not None or takes_outcome(parameter.annotation)
        if position > 0 or not outcome:
            raise TypeError(
                f"{label} takes only ctx, but has the parameter {parameter.name!r}: put what a "
                "step needs into ctx.store (a step used as on_completed_step takes one parameter "
                "more, annotated ChildOutcome[...])"
            )


def _own_name(kind: HandlerKind, fn: HandlerFunction) -> str:
    name = getattr(fn, "__name__", None)
    if name is None and inspect.iscoroutinefunction(fn):
        # Its repr has its address: no other process would find a step of that name.
        raise TypeError(
            f"the {kind} {fn!r} has no name of its own by which a run can be found at it later "
            "(a functools.partial has none): write an `async def` that calls it"
        )
    return repr(fn) if name is None else str(name)


def _checked_name(what: str, name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(  # noqa: TRY004  one error for every name that will not do (spec)
            f"{what} must be a str, not {type(name).__name__} {name!r}"
        )
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise ValueError(f"{what} must have 1 to {MAX_NAME_LENGTH} characters, not {len(name)}")
    if "\0" in name or any("\ud800" <= char <= "\udfff" for char in name):
        raise ValueError(
            f"{what} must not hold NUL or half of a surrogate pair, which PostgreSQL cannot store"
        )
    return name


def _checked_timeout(label: str, timeout: object) -> timedelta:
    if timeout is None:
        return DEFAULT_STEP_TIMEOUT
    if not isinstance(timeout, timedelta):
        raise TypeError(
            f"{label}: timeout must be a timedelta or None, "
            f"not {type(timeout).__name__} {timeout!r}"
        )
    if not timedelta(0) < timeout <= MAX_DELAY:
        raise ValueError(
            f"{label}: timeout must be more than zero and at most {MAX_DELAY.days} days, "
            f"not {timeout}"
        )
    return timeout


def _check_parentheses(decorator: str, first_argument: object) -> None:
    if callable(first_argument):
        raise TypeError(f"`{decorator}` needs parentheses: write `@workflow.{decorator}()`")
