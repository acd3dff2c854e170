"""A batch of the journal: records of many runs, as the arrays that one statement takes.

They are arrays of composite types: one array a column takes twice as long, here and in PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Protocol
from uuid import UUID

from grctl.engine.rows import Row, Transition

__all__ = ["Answer", "Commit", "Recorder", "arguments"]


class Recorder(Protocol):
    """Whoever records: a run that a worker holds."""

    run_id: UUID
    epoch: int
    wf_type: str
    created_at: datetime
    slot: int
    """The writer by which its rows go. The journal chooses it, while none of them is on its way."""
    unwritten: int
    """How many of its rows are on their way. The journal counts them."""

    def deliver(self, commit: Commit) -> None:
        """Called in the order of commits, in one go for all of a batch."""

    def rewind_to(self, seq: int) -> None:
        """The row ``seq`` was refused, and none after it is written: the next one takes it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the database says of a record: see ``commit_batch`` for the verdicts."""

    verdict: str
    why: str | None = None
    is_certain: bool = True
    """Of ``gone``: whether the run is parked or ended as asked. Of a batch that was sent again the
    database does not tell it from ``lost``."""


class Commit(asyncio.Future[Answer]):
    """A record on its way into the database; done when it is committed.

    It cannot be cancelled by whoever waits for it: the row may be in flight, and then it commits
    all the same. What was recorded is what happened, on the first run as in every replay.
    """

    __slots__ = ("answer", "message", "row", "run", "size", "start", "transition")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Recorder,
        row: Row,
        transition: Transition | None = None,
    ) -> None:
        super().__init__(loop=loop)
        self.run = run
        self.row = row
        self.transition = transition
        self.start: dict[str, Any] | None = None
        self.message: dict[str, Any] | None = None
        self.answer: Answer | None = None
        self.size = 0
        """What it adds to its batch, once it is on its way."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002 - see above
        """Never: see the class."""
        return False

    def set_exception(self, exception: type | BaseException, /) -> None:
        """It is not recorded. Nobody waits for some (a long task's start): asyncio shall not
        complain of that, as whoever refuses a record says so.
        """
        super().set_exception(exception)
        self._log_traceback = False

    def measure(self) -> int:
        """About how many bytes it adds to its batch."""
        row, transition = self.row, self.transition
        size = 200 + len(row.input or "") + len(row.body or "")
        if transition is not None:
            size += len(transition.result or "") + len(transition.error or "")
            size += sum(len(write.value or "") for write in transition.writes)
        return size


def arguments(batch: Sequence[Commit]) -> list[Any]:
    """The arguments of ``commit`` after worker, slot and number."""
    ends = [(commit.row, commit.transition) for commit in batch if commit.transition is not None]
    starts, messages, answers, touched = _rare(batch)
    return [
        [_EVENT(commit.row) for commit in batch],
        [(row.run_id, row.epoch, row.seq + 1, *_END(end)) for row, end in ends],
        [(row.run_id, write.key, write.value) for row, end in ends for write in end.writes],
        touched,
        starts,
        messages,
        answers,
    ]


_EVENT = attrgetter(
    "run_id", "epoch", "seq", "step_no", "step_attempt", "kind", "op", "name", "place", "attempt",
    "micros", "input", "body",
)  # fmt: skip
"""The fields of the type ``batch_event``."""
_END = attrgetter(
    "go", "status", "step_name", "attempt", "delay_ms", "wait_step", "read", "result", "error"
)
"""The fields of the type ``batch_end`` after the run, its epoch and its next row."""


def _rare(batch: Sequence[Commit]) -> tuple[str | None, str | None, str | None, list[UUID]]:
    """Starts, messages and answers as JSON, and the other runs whose locks are needed."""
    starts: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    touched: list[UUID] = []
    for item, commit in enumerate(batch, start=1):
        if commit.start is not None:
            starts.append({"item": item, **commit.start})
        if commit.message is not None:
            messages.append({"item": item, **commit.message})
            if commit.message.get("to_run"):
                touched.append(UUID(commit.message["to_run"]))
        transition = commit.transition
        if transition is None:
            continue
        if transition.successor is not None:
            starts.append({"item": None, **transition.successor})
        if transition.answer is not None:
            answers.append(transition.answer)
        if transition.parent_run is not None:
            touched.append(transition.parent_run)
    return (
        json.dumps(starts) if starts else None,
        json.dumps(messages) if messages else None,
        json.dumps(answers) if answers else None,
        touched,
    )
