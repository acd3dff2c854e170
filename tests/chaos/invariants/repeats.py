"""I6, I8: which bodies began that should not have, or again without a reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.invariants import Violation
from tests.chaos.invariants.history import status_after
from tests.chaos.notes import digest
from tests.chaos.records import OUTCOMES, Body, Event, Records


def i6_nothing_is_done_after_its_outcome(records: Records) -> Iterator[Violation]:
    """A body never begins once its outcome is committed, but in a superseded epoch."""
    for run_id in records.events:
        done = _Done(records, run_id)
        for body in records.starts_of_run.get(run_id, []):
            text = done.wrong(body)
            if text is not None:
                yield Violation("I6", run_id, text)


class _Done:
    """What a run has recorded of its tasks: after which no body may begin."""

    def __init__(self, records: Records, run_id: str) -> None:
        self._outcomes: dict[tuple[int, int, str], Event] = {}
        self._failed: dict[tuple[int, int, str, int], Event] = {}
        self._kept: set[tuple[int, str, str | None, str]] = set()
        self._ends: dict[tuple[int, int], Event] = {}
        for key, rows in records.operations(run_id).items():
            given = next((row.input for row in rows if row.input_text is not None), None)
            for row in rows:
                if row.kind == "task.attempt_failed":
                    self._failed[(*key, row.attempt or 0)] = row
                elif row.kind in OUTCOMES:
                    self._outcomes[key] = row
                if row.kind == "task.completed":
                    self._kept.add((key[0], key[2], row.name, digest(given)))
        for row in records.events[run_id]:
            if status_after(row) is not None and row.worker_no is not None:
                self._ends[row.step_no, row.step_attempt] = row

    def wrong(self, body: Body) -> str | None:
        """Why this body should not have begun; None if it is all right."""
        key = (body.step_no, body.step_attempt, body.op)
        outcome = self._outcomes.get(key)
        # The attempt itself, the operation, or the whole step: any is enough to know better.
        recorded = self._failed.get((*key, body.attempt)) or outcome or self._ends.get(key[:2])
        what = f"{body.name} {key} in epoch {body.epoch}"
        if recorded is not None and body.epoch > recorded.epoch:
            return f"{what} began after {recorded.kind} in epoch {recorded.epoch}"
        if outcome is not None:
            is_later = body.epoch == outcome.epoch and body.attempt > (outcome.attempt or 1)
            return f"{what} began after its outcome" if is_later else None
        if body.step_attempt > 1 and (body.step_no, body.op, body.name, body.input) in self._kept:
            return f"{what} was done in an earlier attempt of the step"
        return None


def i8_only_faults_repeat_a_body(records: Records) -> Iterator[Violation]:
    """Between a body's start and its repetition there was a fault, or its after-effects."""
    after_effects = 2 * records.lease + 2 * records.poll
    for starts in records.starts.values():
        for former, later in _repeated(starts):
            if former.epoch == later.epoch:
                text = f"{later.name} {later.op} began twice in epoch {later.epoch}"
                yield Violation("I8", later.run, text)
            elif not any(
                fault.began <= later.mono and fault.ended + after_effects >= former.mono
                for fault in records.faults
            ):
                text = f"{later.name} {later.op} was repeated, and there was no fault"
                yield Violation("I8", later.run, text)


def _repeated(starts: list[Body]) -> Iterator[tuple[Body, Body]]:
    """Of an operation's starts: those of an attempt that was begun before, with the one before."""
    attempts: dict[int, list[Body]] = defaultdict(list)
    for body in starts:
        attempts[body.attempt].append(body)
    for same in attempts.values():
        yield from pairwise(same)


def count_extra(records: Records) -> int:
    """How many bodies were begun more than once."""
    counts = Counter(
        (body.operation, body.attempt) for body in records.bodies if body.phase == "start"
    )
    return sum(count - 1 for count in counts.values())


def count_superseded(records: Records) -> int:
    """Bodies that began in an old epoch after a newer one's outcome was committed (allowed)."""
    outcomes = {
        (row.run_id, row.step_no, row.step_attempt, row.op): row
        for rows in records.events.values()
        for row in rows
        if row.kind in OUTCOMES
    }
    return sum(
        body.epoch < row.epoch and body.wall > row.at.timestamp()
        for body in records.bodies
        if body.phase == "start" and (row := outcomes.get(body.operation)) is not None
    )
