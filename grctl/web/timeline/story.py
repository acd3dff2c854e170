"""A history as a story: the parts of a run in order, each with what went on in it, and when.

Nothing is measured or drawn here; ``axis`` finds places for times, ``picture`` puts both together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from grctl.models.history import HistoryEvent

__all__ = ["Line", "Look", "Mark", "Part", "Span"]


class Look(StrEnum):
    """How something is drawn: what came of it, or what it was there for."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RUNNING = "running"
    SLEEP = "sleep"
    BACKOFF = "backoff"
    WAIT = "wait"
    QUEUE = "queue"
    CHILD = "child"
    NOTE = "note"


@dataclass(slots=True)
class Span:
    """Something that lasts; ``end`` is None while it does. ``due`` is when it is to end."""

    look: Look
    start: datetime
    end: datetime | None = None
    words: str = ""
    due: datetime | None = None


@dataclass(slots=True)
class Mark:
    """Something that happened at one moment."""

    look: Look
    at: datetime
    words: str


@dataclass(slots=True)
class Line:
    """One call, wait or kind of note: what is drawn in one line, and the events that tell it.

    ``key`` is the same each time the history is told, as it grows.
    """

    key: str
    kind: str
    name: str
    look: Look
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    events: list[HistoryEvent] = field(default_factory=list)
    hint: str = ""
    """Beside the name, what tells it from others of that name: its arguments."""
    link: str | None = None
    """The id of the run that it leads to."""

    @property
    def times(self) -> Iterable[datetime]:
        """All moments that the line has to show."""
        for span in self.spans:
            yield span.start
            if span.end is not None:
                yield span.end
        yield from (mark.at for mark in self.marks)


@dataclass(slots=True)
class Part:
    """One attempt of a step (``is_step``), or what was between two: a queue, a wait, a delay."""

    number: int
    name: str
    span: Span
    attempt: int = 1
    is_step: bool = False
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    events: list[HistoryEvent] = field(default_factory=list)

    @property
    def look(self) -> Look:
        """What came of it."""
        return self.span.look
