"""A registered handler: all that the engine and the worker need to know of a function."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from grctl.models.directive import RetryPolicy
from grctl.workflow.signature import Parameter

__all__ = ["DEFAULT_STEP_TIMEOUT", "Handler", "HandlerFunction", "HandlerKind"]

DEFAULT_STEP_TIMEOUT = timedelta(minutes=5)
"""How long a step may run where its decorator gives no timeout."""

HandlerFunction = Callable[..., Coroutine[Any, Any, Any]]


class HandlerKind(StrEnum):
    """What a handler is for. All but ``QUERY`` are steps of the run."""

    START = "start"
    STEP = "step"
    EVENT = "event"
    QUERY = "query"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Handler:
    """A function registered with a workflow.

    ``name`` is the function's, or for events, queries and updates the one given to the decorator.
    ``timeout`` is what counts, with the default filled in; only a query has None. ``parameters``
    are those after ``ctx``.
    """

    name: str
    kind: HandlerKind
    fn: HandlerFunction
    timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    parameters: tuple[Parameter, ...] = ()

    @property
    def label(self) -> str:
        """How messages name it: ``event 'approve'``."""
        return f"{self.kind.value} {self.name!r}"

    @property
    def outcome_parameter(self) -> Parameter | None:
        """The parameter of a step that takes the ``ChildOutcome`` of ``on_completed_step``."""
        if self.kind is HandlerKind.STEP and self.parameters:
            return self.parameters[0]
        return None
