"""How a child workflow ended, as its parent is told."""

from __future__ import annotations

import json
import types
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, Union, cast, get_args, get_origin

from grctl.client.outcomes import outcome_error, read_error
from grctl.engine.codec import Codec
from grctl.models.error_details import ErrorDetails
from grctl.models.run import RunStatus

__all__ = ["ChildOutcome", "child_outcome"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChildOutcome(Generic[T]):
    """What became of a child: given to the step ``on_completed_step``.

    ``result`` is set if it completed, ``error`` if it failed.
    """

    status: RunStatus
    result: T | None = None
    error: ErrorDetails | None = None
    wf_id: str = ""
    wf_type: str = ""
    step_name: str | None = None
    """The step whose uncaught exception or timeout was the cause, if one was."""

    @property
    def ok(self) -> bool:
        """Whether the child completed."""
        return self.status is RunStatus.COMPLETED

    def unwrap(self) -> T:
        """The result; raises what a waiter of the child would get."""
        error = outcome_error(self.status, self.error, self.step_name)
        if error is not None:
            raise error
        return cast("T", self.result)


def child_outcome(codec: Codec, text: str, annotation: Any) -> ChildOutcome[Any]:
    """The message that a child's end put into its parent's inbox, typed by ``annotation``."""
    told = json.loads(text)
    result = None if told["result"] is None else codec.encode(told["result"])
    error, step_name = read_error(None if told["error"] is None else json.dumps(told["error"]))
    return ChildOutcome(
        status=RunStatus(told["status"]),
        result=None if result is None else codec.decode(result, _result_type(annotation)),
        error=error,
        wf_id=told["wf_id"],
        wf_type=told["wf_type"],
        step_name=step_name,
    )


def _result_type(annotation: Any) -> Any:
    """The ``T`` of ``ChildOutcome[T]`` or ``ChildOutcome[T] | None``; Any where none is said."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        found = (_result_type(member) for member in get_args(annotation))
        return next((each for each in found if each is not Any), Any)
    if origin is ChildOutcome:
        return get_args(annotation)[0]
    return Any
