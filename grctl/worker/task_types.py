"""What ``@task`` makes of a function, as type checkers see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

__all__ = ["Decorator", "Task"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
# Not Any: by it, mypy takes a gather() of tasks to be of any type.
Call = Coroutine[object, None, R]


class Task(Protocol[P, R_co]):
    """A task: its call is awaited."""

    # (Overloads of `task` itself would be ambiguous to mypy wherever there is an Any in the
    # function's types, as in dict[str, Any], and make it untyped.)
    __name__: str

    @overload
    def __call__(self: Task[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]: ...

    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Task[P, R_co]: ...
    @overload
    def __get__(
        self: Task[Concatenate[S, Q], R], instance: S, owner: type[Any], /
    ) -> Task[Q, R]: ...


class Decorator(Protocol):
    """What ``task(...)`` returns."""

    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]:
        """The task that is made of ``fn``."""
