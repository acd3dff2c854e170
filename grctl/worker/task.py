"""``@task``: a function whose outcome is committed before its caller sees it.

Inside a step a call is an operation: it runs once, and every later replay of the step gives the
recorded outcome. Anywhere else the decorated function is just the function.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from types import NoneType
from typing import Any, ParamSpec, TypeVar, overload

from grctl.engine.codec import is_plain
from grctl.engine.exceptions import (
    capture,
    comes_back,
    details_from_json,
    details_to_json,
    restore,
)
from grctl.engine.identity import Branch
from grctl.engine.replay import Recorded
from grctl.engine.retry import next_delay_ms
from grctl.models.directive import RetryPolicy, check_timeout
from grctl.models.text import is_text
from grctl.worker.branches import current_branch, running, tell_owed_cancel
from grctl.worker.scope import CANCEL_ASKED, Scope, is_recorded, recorded_as, wait_for
from grctl.worker.task_types import Decorator, Task
from grctl.workflow.signature import Scope as NamesOf

__all__ = ["task"]

P = ParamSpec("P")
R = TypeVar("R")

ONCE = RetryPolicy()
_OF_THE_STEP = (Exception, asyncio.CancelledError, GeneratorExit)
"""What may come out of a body; anything else (SystemExit) ends the worker."""


@dataclass(slots=True, eq=False)
class TaskSpec:
    """What is known of a task function; read once, when it is decorated."""

    fn: Callable[..., Any]
    name: str
    policy: RetryPolicy
    timeout: float | None
    is_async: bool
    parameters: tuple[str, ...]
    signature: inspect.Signature
    takes_any: bool
    _returns: Any = None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, as they are recorded. TypeError where they do not fit."""
        if not self.takes_any and len(args) <= len(self.parameters):
            bound = dict(zip(self.parameters, args, strict=False))
            if not kwargs:
                return bound
            if not bound.keys() & kwargs.keys():
                return bound | kwargs
        try:
            return dict(self.signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise TypeError(f"task {self.name!r}: {error}") from None

    @property
    def returns(self) -> Any:
        """The return annotation, resolved at first use; Any where there is none."""
        if self._returns is None:
            self._returns = (self._resolved(inspect.get_annotations(self.fn).get("return", Any)),)
        return self._returns[0]

    def _resolved(self, declared: Any) -> Any:
        """The return annotation, its texts evaluated; those of parameters may name anything."""
        try:
            meant = NamesOf(self.fn, None).evaluate(declared)
        except Exception as error:
            raise TypeError(
                f"task {self.name!r}: its return annotation {declared!r} cannot be resolved where "
                f"it is defined: {error}. Import what it names at run time, or annotate otherwise"
            ) from error
        return None if meant is NoneType else meant


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    retry_policy: RetryPolicy | None = None,
    timeout: timedelta | None = None,
    name: str | None = None,
) -> Decorator: ...
def task(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    retry_policy: RetryPolicy | None = None,
    timeout: timedelta | None = None,
    name: str | None = None,
) -> Any:
    """Mark a function as a task: a side effect that is recorded, and not repeated once it is.

    ``@task`` alone makes one attempt. ``retry_policy`` says when a failed attempt is followed by
    another; each failed one is committed before the next begins. ``timeout`` bounds one attempt
    (default: none; the step's own timeout holds). ``name`` is the recorded name (default: the
    function's); history finds the task by it, so it must not change while runs are open.

    An ``async def`` runs in the step's event loop, a plain ``def`` in a thread; both are awaited.
    (So is, in the event loop, what a plain one gives if it can be: that of a decorated one, say.)
    The result comes back converted to the return annotation, the first time as in a replay.
    TypeError for what is no function, or an argument of another type; ValueError for a timeout that
    is not positive, or a name that cannot be recorded.
    """
    if fn is not None:
        return _decorate(fn, ONCE, None, None)
    check_timeout("a task's timeout", timeout)
    if retry_policy is not None and not isinstance(retry_policy, RetryPolicy):
        raise TypeError(
            f"a task's retry_policy must be a RetryPolicy or None, not {retry_policy!r:.80}"
        )
    if name is not None and not is_text(name):
        raise ValueError(
            f"a task's name must be a string without NUL and lone surrogates, not {name!r:.80}"
        )
    seconds = None if timeout is None else timeout.total_seconds()
    return functools.partial(_decorate, policy=retry_policy or ONCE, timeout=seconds, name=name)


def _decorate(
    fn: Callable[..., Any], policy: RetryPolicy, timeout: float | None, name: str | None
) -> Callable[..., Any]:
    if not callable(fn) or isinstance(fn, type):
        raise TypeError(f"@task marks functions, not {fn!r}")
    signature = inspect.signature(fn)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    spec = TaskSpec(
        fn=fn,
        name=name or str(getattr(fn, "__name__", type(fn).__name__)),
        policy=policy,
        timeout=timeout,
        is_async=inspect.iscoroutinefunction(fn),
        parameters=tuple(signature.parameters),
        signature=signature,
        takes_any=bool(kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY}),
    )

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        branch = current_branch()
        if branch is None:
            return fn(*args, **kwargs)
        # The key is taken now, not when the coroutine first runs: gather() and wait() start
        # their coroutines in an order that is theirs.
        return _perform(branch, branch.next_key(), spec, args, kwargs)

    if spec.is_async and hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(call)
    return call


async def _perform(
    branch: Branch, key: str, spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A task call in a step: its recorded outcome, or attempts until there is one; that outcome is
    committed first.

    All in one coroutine, as each that is awaited in another is passed through at every wake-up.
    (Its name is in the keys of what is called in a ``gather``, and so in histories.)
    """
    scope: Scope = branch.scope
    text = scope.codec.encode(spec.bind(args, kwargs), what=f"input of task {spec.name!r}")
    recorded = scope.ask(key, "task", spec.name, text)
    if recorded is not None and recorded.outcome is not None:
        return await _recorded_outcome(scope, recorded, spec)
    call = _Call(scope, key, spec, args, kwargs, text if recorded is None else None)
    if recorded is not None or call.is_owed_cancel:
        await call.resume(recorded)
    while True:
        began = call.began = monotonic()
        error: Exception | None = None
        try:
            with call:
                result = await call.body()
        except asyncio.CancelledError:
            await call.cancelled(began)
            raise
        except Exception as raised:  # noqa: BLE001 - whatever a task raises is its outcome
            error = raised
        if scope.is_closed:
            raise asyncio.CancelledError
        if error is None:
            try:
                text = scope.codec.encode(result, what=f"result of task {spec.name!r}")
            except ValueError as unrecordable:
                error = unrecordable
            else:
                await call.commit("task.completed", text, began)
                is_same = is_plain(result, spec.returns)
                return result if is_same else scope.codec.decode(text, spec.returns)
        await call.go_on_after(error, began)


async def _awaited(body: Awaitable[Any]) -> Any:
    """The result of a function that is no ``async def`` and may give an awaitable all the same: of
    one behind a decorator, of an object whose ``__call__`` is one.
    """
    result = await body
    return await result if inspect.isawaitable(result) else result


async def _recorded_outcome(scope: Scope, recorded: Recorded, spec: TaskSpec) -> Any:
    outcome = recorded.outcome
    assert outcome is not None
    await scope.turn(recorded)
    if outcome.kind == "task.completed":
        return scope.codec.decode(outcome.body or "null", spec.returns)
    if outcome.kind == "task.cancelled":
        raise asyncio.CancelledError
    raise restore(details_from_json(outcome.body or "{}"))


class _Call:
    """A task call that is made for real."""

    __slots__ = (
        "args", "attempt", "began", "key", "kwargs", "noted", "place", "scope", "seen", "spec",
        "task", "text",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        key: str,
        spec: TaskSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        text: str | None,
    ) -> None:
        self.scope = scope
        self.key = key
        self.spec = spec
        self.args = args
        self.kwargs = kwargs
        self.text = text
        self.attempt = 1
        self.place = scope.run.last_seq
        self.began = 0.0
        self.noted = False
        # Not always the one that made the call: gather() and its like wrap it in one of its own.
        self.task = running(scope.loop)
        self.seen = 0 if self.task is None else self.task.cancels_seen

    async def resume(self, recorded: Recorded | None) -> None:
        """Go on where a lost worker stopped: at which attempt, with what is left of its backoff."""
        await self._tell_owed_cancel()
        failed = [] if recorded is None else recorded.failed_attempts
        if failed:
            last = failed[-1]
            self.attempt = (last.attempt or 1) + 1
            delay_ms = self.scope.codec.decode(last.body or "{}")["next_retry_delay_ms"]
            await self._pause(max(0.0, delay_ms / 1000 - last.age), monotonic())

    def __enter__(self) -> None:
        """The body runs: the scope knows, and what it calls is known not to be the step's."""
        scope, task = self.scope, self.task
        scope.active[self.key] = self
        scope.bodies += 1
        if task is not None:
            task.inside = True

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        scope, task = self.scope, self.task
        if error is not None and not isinstance(error, _OF_THE_STEP):
            scope.fatal = error
        if task is not None:
            task.inside = False
        scope.bodies -= 1
        scope.active.pop(self.key, None)

    def body(self) -> Awaitable[Any]:
        """What gives the body's result: its own coroutine, where nothing has to be around it."""
        spec, scope = self.spec, self.scope
        if spec.is_async:
            body: Awaitable[Any] = spec.fn(*self.args, **self.kwargs)
        else:
            body = _awaited(scope.in_thread(spec.fn, self.args, self.kwargs))
        if spec.timeout is not None:
            body = self._within(body, spec.timeout)
        if scope.tracing is not None:
            body = scope.tracing.task(spec.name, self.attempt, body)
        return body

    async def _within(self, body: Awaitable[Any], seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await body
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"task {self.spec.name!r} did not end within its timeout of {seconds:g} s"
            ) from error

    async def _pause(self, seconds: float, began: float) -> None:
        """Sit out a backoff; a cancel request of the run ends it early."""
        try:
            await self.scope.pause(seconds)
        except asyncio.CancelledError:
            await self.cancelled(began)
            raise

    def _record(self, kind: str, body: str | None, began: float | None) -> Any:
        text, self.text = self.text, None  # the input is in the first row of a call
        return self.scope.run.record(
            kind,
            op=self.key,
            name=self.spec.name,
            place=self.place,
            attempt=self.attempt,
            micros=None if began is None else int((monotonic() - began) * 1_000_000),
            input=text,
            body=body,
        )

    def note_start(self) -> None:
        """It takes long: let its start be seen before its end."""
        self.noted = True
        self._record("task.started", None, None)

    async def commit(self, kind: str, body: str, began: float) -> None:
        """Record how an attempt ended. A cancellation that the body outlived, or that comes before
        it is committed, is not lost: it is owed.
        """
        task = self.task
        seen = 0 if task is None else task.cancels_seen
        commit = self._record(kind, body, began)
        try:
            await commit
        except asyncio.CancelledError:
            if not is_recorded(commit, self.scope):
                raise
            if task is not None:
                task.owe_cancels(seen)
        if task is not None:
            task.owe_cancels(self.seen)

    async def go_on_after(self, error: Exception, began: float) -> None:
        """An attempt failed: wait for the next, or raise what the caller is to see."""
        delay_ms = next_delay_ms(self.spec.policy, error, self.attempt, random.random())  # noqa: S311 - jitter
        if delay_ms is None:
            raise await self._failed(error, began)
        await self._attempt_failed(error, delay_ms, began)
        self.attempt += 1
        await self._pause(delay_ms / 1000, began)

    async def _failed(self, error: Exception, began: float) -> Exception:
        """What to raise: the error, or what a replay will raise where that is not the same."""
        details = capture(error)
        body = details_to_json(details, self.scope.codec)
        await self.commit("task.failed", body, began)
        told = restore(details)
        if comes_back(error, told):
            return error
        told.__cause__ = error
        return told

    async def _attempt_failed(self, error: Exception, delay_ms: int, began: float) -> None:
        body = recorded_as(
            error=details_to_json(capture(error), self.scope.codec),
            next_retry_delay_ms=str(delay_ms),
            max_attempts=str(self.spec.policy.max_attempts),
        )
        await self.commit("task.attempt_failed", body, began)
        await self._tell_owed_cancel()

    @property
    def is_owed_cancel(self) -> bool:
        """Whether a cancellation is to take effect now."""
        return self.task is not None and self.task.owed > 0

    async def _tell_owed_cancel(self) -> None:
        """CancelledError, recorded, if one is owed."""
        if not self.is_owed_cancel:
            return
        try:
            await tell_owed_cancel()
        except asyncio.CancelledError:
            await self.cancelled(monotonic())
            raise

    async def cancelled(self, began: float) -> None:
        """Record a cancellation that the step's own code made; one by the engine is none."""
        if self.scope.is_closed:
            return
        asked = self.task is not None and self.task.cancelling() > self.seen
        commit = self._record("task.cancelled", CANCEL_ASKED if asked else "{}", began)
        await wait_for(commit, self.scope, owing=False)
