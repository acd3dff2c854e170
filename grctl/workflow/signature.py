"""Signatures, read once at decoration: what is wrong with one is said there and not later.

Only an annotation that names something not yet defined may wait: it is resolved when it is first
needed. What ``ctx`` is annotated with is never looked at, so that ``Context`` may be imported
under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import FrameType
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["Parameter", "Scope", "calling_frame", "read_parameters", "takes_outcome"]

_NOT_A_CONTEXT = frozenset(
    {"str", "int", "float", "bool", "bytes", "list", "dict", "tuple", "set", "None"}
)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a handler, after ``ctx``.

    ``declared`` is the annotation as it was written, perhaps as text; ``annotation`` is what it
    means. ``default`` counts only where ``required`` is False.
    """

    name: str
    declared: Any
    required: bool = True
    default: Any = None
    resolve: Callable[[], Any] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def annotation(self) -> Any:
        """The type the argument is converted to; TypeError where it still cannot be resolved."""
        return self.declared if self.resolve is None else self.resolve()


class Scope:
    """Where the names in a function's annotations are looked up.

    These are its module, the variables it closes over, and the local variables of the frame that
    decorates it, if it is of the same module: that is all a local class leaves to find it by.
    """

    __slots__ = ("_globals", "_locals")

    def __init__(self, fn: Callable[..., Any], frame: FrameType | None) -> None:
        inner: Any = inspect.unwrap(fn)
        self._globals: dict[str, Any] = getattr(inner, "__globals__", {})
        self._locals: dict[str, Any] = {}
        if frame is not None and frame.f_globals is self._globals:
            local_names = frame.f_locals
            if local_names is not self._globals:
                self._locals.update(local_names)
        for name, cell in zip(
            inner.__code__.co_freevars if hasattr(inner, "__code__") else (),
            getattr(inner, "__closure__", None) or (),
            strict=False,
        ):
            try:
                self._locals[name] = cell.cell_contents
            except ValueError:  # the variable is assigned further down
                continue

    def evaluate(self, declared: Any) -> Any:
        """What an annotation means; raises what evaluating it raises (NameError, ...)."""
        if isinstance(declared, type) and not get_args(declared):
            return declared
        hints = get_type_hints(
            _Annotated(declared), self._globals, self._locals, include_extras=True
        )
        return hints["value"]


class _Annotated:
    """One annotation in the shape that ``get_type_hints`` reads, nested text and all."""

    def __init__(self, declared: Any) -> None:
        self.__annotations__ = {"value": declared}


def calling_frame() -> FrameType:
    """The frame that called the caller of this: where a decorator is written."""
    return sys._getframe(2)  # noqa: SLF001  as collections.namedtuple does; there is no other way


def read_parameters(
    fn: Callable[..., Any], label: str, frame: FrameType | None = None
) -> tuple[Parameter, ...]:
    """The parameters of a handler after ``ctx``.

    ``label`` names the handler in errors, ``frame`` is where it is decorated. Raises TypeError,
    which names handler and parameter, for what cannot be a handler: not ``async def``, no ``ctx``,
    ``*args``, ``**kwargs``, a positional-only parameter or one without an annotation.
    """
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(f"{label} must be an `async def` function, not {_described(fn)}")
    declared = list(inspect.signature(fn).parameters.values())
    _check_context(declared, label)
    scope = Scope(fn, frame)
    return tuple(_read(parameter, label, scope) for parameter in declared[1:])


def takes_outcome(annotation: Any) -> bool:
    """Whether an annotation is ``ChildOutcome``, with or without its type, or a union with it."""
    # By name: the class belongs to the worker, which is above this layer.
    candidates = (annotation, get_origin(annotation), *get_args(annotation))
    return any(
        getattr(get_origin(candidate) or candidate, "__name__", "") == "ChildOutcome"
        for candidate in candidates
    )


def _check_context(declared: list[inspect.Parameter], label: str) -> None:
    first = declared[0] if declared else None
    if first is not None:
        _check_kind(first, label)
    if first is None or first.kind is first.KEYWORD_ONLY:
        raise TypeError(f"{label} must take `ctx` as its first parameter")
    annotation = first.annotation
    written = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if first.name != "ctx" and written in _NOT_A_CONTEXT:
        raise TypeError(
            f"{label} must take `ctx` as its first parameter, "
            f"not {first.name!r} annotated with {written}"
        )


def _check_kind(parameter: inspect.Parameter, label: str) -> None:
    if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.VAR_KEYWORD:
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise TypeError(
            f"{label} must not take {stars}{parameter.name}: name each parameter, "
            "so that its argument can be checked and converted"
        )


def _read(parameter: inspect.Parameter, label: str, scope: Scope) -> Parameter:
    name, declared = parameter.name, parameter.annotation
    _check_kind(parameter, label)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise TypeError(
            f"parameter {name!r} of {label} must not be positional-only: "
            "arguments are passed by name"
        )
    if declared is parameter.empty:
        raise TypeError(
            f"parameter {name!r} of {label} has no annotation: give it the type "
            "that its argument is to have"
        )

    def resolve() -> Any:
        try:
            return scope.evaluate(declared)
        except Exception as error:
            raise TypeError(
                f"the annotation {declared!r} of parameter {name!r} of {label} cannot be "
                f"resolved: {error}; import or define it at module level, "
                "not only under TYPE_CHECKING"
            ) from error

    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    try:
        return Parameter(name, resolve(), required, default)
    except TypeError as error:
        if not isinstance(error.__cause__, NameError | AttributeError):
            raise
        return Parameter(name, declared, required, default, resolve)  # perhaps defined later


def _described(fn: object) -> str:
    if inspect.isasyncgenfunction(fn):
        return "an async generator"
    if inspect.isfunction(fn):
        return f"the plain function {fn.__name__!r}"
    return f"{type(fn).__name__} {fn!r}"
