"""A step's recorded past, and whether the code still asks for the same.

Outcomes are handed out in the order and in the groups in which they were committed: one batch of
the journal woke its waiters in one go, so replay wakes them in one go too. Code that acts on
completion order (``wait(FIRST_COMPLETED)``, ``as_completed``) sees the same order again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from grctl.engine.identity import split_key
from grctl.engine.rows import Row
from grctl.errors import NonDeterminismError
from grctl.models.run import RunStatus

__all__ = ["CANCEL_ASKED", "CANCEL_RECEIVED", "ROLES", "Recorded", "Replay"]

CANCEL_ASKED = '{"asked":true}'
"""The body of an outcome that is a cancellation by the step's own code."""

_CANCELLABLE = frozenset({"task.cancelled", "sleep.completed", "child.ended"})

CANCEL_RECEIVED = "run.cancel_received"
"""The row that says from where on the step's code saw that a cancel of the run is asked for."""

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
    awaits_cancel: bool = False
    """Its outcome is a cancellation by the step's own code, which has not asked for it again."""

    @property
    def is_ready(self) -> bool:
        """Whether the code is where it was when the outcome was handed to it."""
        return self.asked and not self.awaits_cancel

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

    Once the code has asked for something else than history has, nothing more can be asked for.
    """

    def __init__(
        self, rows: Iterable[Row], step_attempt: int, same_json: Callable[[str, str], bool]
    ) -> None:
        self._same_json = same_json
        self._recorded: dict[str, Recorded] = {}
        self._carried: dict[str, Recorded] = {}
        self._groups: deque[list[Recorded]] = deque()
        self._broken: str | None = None
        carried: dict[int, dict[str, Recorded]] = {}
        batch: tuple[int, int] | None = None
        for row in rows:
            recorded = self._read(row, step_attempt, carried)
            if recorded is None:
                continue
            if batch != (row.epoch, row.batch):
                self._groups.append([])
                batch = (row.epoch, row.batch)
            self._groups[-1].append(recorded)
        for _, attempt in sorted(carried.items()):
            self._carried |= {key: each for key, each in attempt.items() if _is_kept(each)}
        self._unasked = len(self._recorded)

    def _read(
        self, row: Row, step_attempt: int, carried: dict[int, dict[str, Recorded]]
    ) -> Recorded | None:
        """Enter a row where it belongs; what it hands to the code when its turn comes."""
        if row.kind == CANCEL_RECEIVED:
            if row.step_attempt != step_attempt:
                return None
            return Recorded("", row.kind, None, None, [row], row, asked=True)
        if row.op is None or row.kind not in ROLES:
            return None
        if row.step_attempt != step_attempt:
            _enter(carried.setdefault(row.step_attempt, {}), row)
            return None
        recorded = _enter(self._recorded, row)
        return recorded if recorded.outcome is row else None

    @property
    def is_empty(self) -> bool:
        """Whether history has nothing of this step, in any attempt."""
        return not self._recorded and not self._carried and not self._groups

    @property
    def has_cancel_received(self) -> bool:
        """Whether a request to cancel the run is still to be handed out."""
        return any(each.kind == CANCEL_RECEIVED for group in self._groups for each in group)

    @property
    def is_over(self) -> bool:
        """Whether every recorded outcome has been handed out, and every operation asked for."""
        return not self._groups and not self._unasked

    def ask(self, key: str, kind: str, name: str | None, input_text: str | None) -> Recorded | None:
        """What history has under ``key``, or None. NonDeterminismError if it is something else,
        or was before: code that goes on after that error must not act on anything.
        """
        if self._broken is not None:
            raise NonDeterminismError(self._broken)
        recorded = self._recorded.get(key)
        if recorded is None:
            carried = self._carried.get(key)
            if carried is not None and self._is_same(carried, kind, name, input_text):
                return carried
            return None
        if not self._is_same(recorded, kind, name, input_text):
            self._broken = _mismatch(recorded, kind, name, input_text)
            raise NonDeterminismError(self._broken)
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
        """The next outcomes to hand out, once the code waits for all of them; else None."""
        if not self._groups or not all(recorded.is_ready for recorded in self._groups[0]):
            return None
        return self._groups.popleft()

    @property
    def left(self) -> int:
        """How much is still to be handed out or asked for; less means that the code goes on."""
        return len(self._groups) + self._unasked

    @property
    def waits_for(self) -> str:
        """In words, what the code has not asked for yet."""
        group = self._groups[0] if self._groups else self._recorded.values()
        for recorded in group:
            if not recorded.asked:
                return f"a call of {_named(recorded)}"
            if recorded.awaits_cancel:
                return f"a cancellation of {_named(recorded)}"
        return "nothing"

    def check_all_asked(self, step_name: str) -> None:
        """At a step's end: NonDeterminismError if the code asked for something else, or for less.

        However the step ended: its code may have caught the error, or lost it.
        """
        if self._broken is not None:
            raise NonDeterminismError(self._broken)
        if not self._unasked:
            return
        left = next(recorded for recorded in self._recorded.values() if not recorded.asked)
        raise NonDeterminismError(
            f"step {step_name!r} ended without asking for what history has: "
            f"{_named(left)}"
            + (f", and {self._unasked - 1} more" if self._unasked > 1 else "")
            + f". {_REMEDY}"
        )


def _enter(index: dict[str, Recorded], row: Row) -> Recorded:
    assert row.op is not None
    kind, role = ROLES[row.kind]
    recorded = index.get(row.op)
    if recorded is None:
        recorded = index[row.op] = Recorded(row.op, kind, row.name, row.input)
    recorded.rows.append(row)
    if role == "outcome":
        recorded.outcome = row
        recorded.awaits_cancel = row.kind in _CANCELLABLE and row.body == CANCEL_ASKED
    return recorded


def _is_kept(recorded: Recorded) -> bool:
    """Whether a later attempt of the step need not do it again: it was done, and went well."""
    outcome = recorded.outcome
    if outcome is None or recorded.awaits_cancel:
        return False
    if outcome.kind == "child.ended":  # a wait that timed out, or a child to be retried by then
        return bool(json.loads(outcome.body or "{}").get("status") == RunStatus.COMPLETED)
    return outcome.kind not in ("task.failed", "task.cancelled") and not outcome.kind.endswith(
        ".refused"
    )


_REMEDY = (
    "The code of a step must not change while a run is in it: restore the code, or let the run "
    "fail and start it anew"
)


def where(key: str) -> str:
    """A key in words: in which branch, at which place."""
    branch, place = split_key(key)
    return f"place {place} of branch {branch!r}" if branch else f"place {place} of the step"


def _named(recorded: Recorded) -> str:
    what = _describe(recorded.kind, recorded.name, recorded.input)
    return f"{what} at {where(recorded.key)}"


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
