"""A step's recorded past, and whether the code still asks for the same.

Outcomes are handed out in the order and in the groups in which they were committed: one batch of
the journal woke its waiters in one go, so replay wakes them in one go too. Code that acts on
completion order (``wait(FIRST_COMPLETED)``, ``as_completed``) sees the same order again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from grctl.engine.identity import split_key
from grctl.engine.rows import Row
from grctl.errors import NonDeterminismError

__all__ = ["ROLES", "Recorded", "Replay"]

ROLES: dict[str, tuple[str, str]] = {
    "task.started": ("task", "start"),
    "task.attempt_failed": ("task", "attempt"),
    "task.completed": ("task", "outcome"),
    "task.failed": ("task", "outcome"),
    "task.cancelled": ("task", "outcome"),
    "timestamp.recorded": ("now", "outcome"),
    "random.recorded": ("random", "outcome"),
    "uuid.recorded": ("uuid4", "outcome"),
    "sleep.recorded": ("sleep", "start"),
    "sleep.completed": ("sleep", "outcome"),
    "child.started": ("start_child", "outcome"),
    "child.refused": ("start_child", "outcome"),
    "child.ended": ("await_child", "outcome"),
    "parent.event_sent": ("send_to_parent", "outcome"),
    "parent.refused": ("send_to_parent", "outcome"),
    "message.sent": ("send", "outcome"),
    "message.refused": ("send", "outcome"),
}
"""Kind of row -> (kind of operation, what the row is to it)."""


@dataclass(slots=True)
class Recorded:
    """What history knows of one operation."""

    key: str
    kind: str
    name: str | None
    input: str | None
    rows: list[Row] = field(default_factory=list)
    outcome: Row | None = None
    asked: bool = False

    @property
    def start(self) -> Row | None:
        """The row that says when it began, where one was written."""
        return next((row for row in self.rows if ROLES[row.kind][1] == "start"), None)

    @property
    def failed_attempts(self) -> list[Row]:
        """Attempts that failed and were to be followed by another."""
        return [row for row in self.rows if ROLES[row.kind][1] == "attempt"]


class Replay:
    """The recorded operations of one step, in its current attempt and in earlier ones.

    Those of the current attempt must be asked for again, every one, with the same kind, name and
    input. Of earlier attempts (a step's retry policy) only what completed is kept, and it answers
    a call that is the same; the code may well take another way this time.
    """

    def __init__(
        self, rows: Iterable[Row], step_attempt: int, same_json: Callable[[str, str], bool]
    ) -> None:
        self._same_json = same_json
        self._recorded: dict[str, Recorded] = {}
        self._carried: dict[str, Recorded] = {}
        self._groups: deque[list[Recorded]] = deque()
        self._unasked = 0
        batch: tuple[int, int] | None = None
        for row in rows:
            if row.op is None or row.kind not in ROLES:
                continue
            if row.step_attempt != step_attempt:
                self._carry(row)
                continue
            recorded = self._enter(self._recorded, row)
            if recorded.outcome is not row:
                continue
            if batch != (row.epoch, row.batch):
                self._groups.append([])
                batch = (row.epoch, row.batch)
            self._groups[-1].append(recorded)
        self._unasked = len(self._recorded)

    def _enter(self, index: dict[str, Recorded], row: Row) -> Recorded:
        assert row.op is not None
        kind, role = ROLES[row.kind]
        recorded = index.get(row.op)
        if recorded is None:
            recorded = index[row.op] = Recorded(row.op, kind, row.name, row.input)
        recorded.rows.append(row)
        if role == "outcome":
            recorded.outcome = row
        return recorded

    def _carry(self, row: Row) -> None:
        if ROLES[row.kind][1] == "outcome" and row.kind not in ("task.failed", "task.cancelled"):
            self._enter(self._carried, row)

    @property
    def is_empty(self) -> bool:
        """Whether history has nothing of this step, in any attempt."""
        return not self._recorded and not self._carried

    @property
    def is_over(self) -> bool:
        """Whether every recorded outcome has been handed out, and every operation asked for."""
        return not self._groups and not self._unasked

    def ask(self, key: str, kind: str, name: str | None, input_text: str | None) -> Recorded | None:
        """What history has under ``key``, or None. NonDeterminismError if it is something else."""
        recorded = self._recorded.get(key)
        if recorded is None:
            carried = self._carried.get(key)
            if carried is not None and self._is_same(carried, kind, name, input_text):
                return carried
            return None
        if not self._is_same(recorded, kind, name, input_text):
            raise NonDeterminismError(_mismatch(recorded, kind, name, input_text))
        if not recorded.asked:
            recorded.asked = True
            self._unasked -= 1
        return recorded

    def is_carried(self, recorded: Recorded) -> bool:
        """Whether it comes from an earlier attempt, and so waits for no turn."""
        return self._recorded.get(recorded.key) is not recorded

    def _is_same(
        self, recorded: Recorded, kind: str, name: str | None, input_text: str | None
    ) -> bool:
        if recorded.kind != kind or recorded.name != name:
            return False
        if recorded.input == input_text:
            return True
        if recorded.input is None or input_text is None:
            return False
        return self._same_json(recorded.input, input_text)

    def next_group(self) -> list[Recorded] | None:
        """The next outcomes to hand out, once all of them have been asked for; else None."""
        if not self._groups or not all(recorded.asked for recorded in self._groups[0]):
            return None
        return self._groups.popleft()

    def check_all_asked(self, step_name: str) -> None:
        """At a step's end: NonDeterminismError if history has more than the code asked for."""
        if not self._unasked:
            return
        left = next(recorded for recorded in self._recorded.values() if not recorded.asked)
        raise NonDeterminismError(
            f"step {step_name!r} ended without asking for what history has: "
            f"{_describe(left.kind, left.name, left.input)} at {where(left.key)}"
            + (f", and {self._unasked - 1} more" if self._unasked > 1 else "")
            + f". {_REMEDY}"
        )


_REMEDY = (
    "The code of a step must not change while a run is in it: restore the code, or let the run "
    "fail and start it anew"
)


def where(key: str) -> str:
    """A key in words: in which branch, at which place."""
    branch, place = split_key(key)
    return f"place {place} of branch {branch!r}" if branch else f"place {place} of the step"


def _describe(kind: str, name: str | None, input_text: str | None) -> str:
    words = f"{kind} {name!r}" if name else kind
    return f"{words} with input {_short(input_text)}" if input_text else words


def _mismatch(recorded: Recorded, kind: str, name: str | None, input_text: str | None) -> str:
    return (
        f"at {where(recorded.key)} history has "
        f"{_describe(recorded.kind, recorded.name, recorded.input)}, but the code asked for "
        f"{_describe(kind, name, input_text)}. {_REMEDY}"
    )


def _short(text: str | None, limit: int = 200) -> str:
    if text is None:
        return "none"
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
