"""What a worker says of a run that it holds: where its code stands just now."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["Activity", "RunningTask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task whose body runs, for so many ``seconds``. ``stack`` is its own, innermost last."""

    name: str
    attempt: int
    seconds: float
    stack: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A step as its worker sees it. All but ``is_held`` is empty if the worker does not hold the
    run any more.

    ``stack`` is where the step's own code waits, innermost last: ``FILE:LINE in FUNCTION``, without
    grctl's own frames. ``branches`` are the stacks of asyncio tasks that it has made and that are
    in no task.
    """

    is_held: bool
    seconds: float = 0.0
    stack: tuple[str, ...] = ()
    tasks: tuple[RunningTask, ...] = ()
    branches: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> str:
        """As it is sent."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What ``to_json`` made."""
        told: dict[str, Any] = json.loads(text)
        tasks = [RunningTask(**{**each, "stack": tuple(each["stack"])}) for each in told["tasks"]]
        return cls(
            is_held=told["is_held"],
            seconds=told["seconds"],
            stack=tuple(told["stack"]),
            tasks=tuple(tasks),
            branches=tuple(tuple(each) for each in told["branches"]),
        )
