"""What the engine writes: rows of history, and transitions of runs.

One row is one outcome. What surrounds it in the history that users read (a task's start, a step's
start, a run's end) is told by the row's columns; ``engine.history`` spells it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

__all__ = ["Row", "StoreWrite", "Transition"]


@dataclass(slots=True, eq=False)
class Row:
    """A row of the events table.

    ``place`` is the seq after which an operation began (None: just before this row). ``micros``
    is its duration in microseconds. ``input`` and ``body`` are JSON texts. The last three are set
    by the database: ``age`` is how long ago the row was written, in seconds, when it was read.
    """

    run_id: UUID
    epoch: int
    seq: int
    step_no: int
    step_attempt: int
    kind: str
    op: str | None = None
    name: str | None = None
    place: int | None = None
    attempt: int | None = None
    micros: int | None = None
    input: str | None = None
    body: str | None = None
    batch: int = 0
    age: float = 0.0
    at: Any = None
    worker_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoreWrite:
    """One key of a run's store: its new JSON text, or None to delete it."""

    key: str
    value: str | None


@dataclass(slots=True, eq=False)
class Transition:
    """What becomes of a run at the end of a step; committed together with the step's row.

    ``go`` says how: ``step`` (next step at once), ``delay``, ``retry`` (the same step again after
    a delay), ``wait``, ``rewait`` (go on waiting as before), ``end`` (by a directive, which gives
    way to a cancel), ``stop`` (an end that does not).
    """

    go: str
    status: str
    step_name: str | None = None
    attempt: int = 1
    delay_ms: int | None = None
    wait_step: str | None = None
    result: str | None = None
    error: str | None = None
    read: int = 0
    writes: list[StoreWrite] = field(default_factory=list)
    successor: dict[str, Any] | None = None
    """A start to be made with the run's end (continue_as_new), as ``start_runs`` takes it."""
    answer: dict[str, Any] | None = None
    """The answer to the update that this step handled: message_id, run_id, answer or error."""
    parent_run: UUID | None = None
    """The parent that this end has to be told to."""
