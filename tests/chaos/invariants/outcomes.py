"""I4, I5: what history says of tasks, against their policies and what their bodies really did."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.invariants import Violation
from tests.chaos.notes import digest
from tests.chaos.records import OUTCOMES, Body, Event, Records

MOST_ATTEMPTS = {"act": 1, "press": 1, "put": 1, "persist": 3}


def i4_one_outcome_an_operation(records: Records) -> Iterator[Violation]:
    """Failed attempts from 1 on, without a gap, then one outcome; no more than the policy says."""
    for run_id in records.events:
        for key, rows in records.operations(run_id).items():
            for text in _wrong_attempts([row for row in rows if row.kind != "task.started"]):
                yield Violation("I4", run_id, f"operation {key}: {text}")
    for operation, starts in records.starts.items():
        for body in starts:
            if body.attempt > MOST_ATTEMPTS[body.name]:
                yield Violation("I4", body.run, f"{operation}: attempt {body.attempt} was made")


def _wrong_attempts(rows: list[Event]) -> Iterator[str]:
    if not rows:
        return
    failed = [row.attempt for row in rows if row.kind == "task.attempt_failed"]
    outcomes = [row for row in rows if row.kind in OUTCOMES]
    if failed != list(range(1, len(failed) + 1)):
        yield f"the failed attempts {failed}"
    if len(outcomes) > 1 or (outcomes and rows[-1] is not outcomes[0]):
        yield f"the rows {[row.kind for row in rows]}"
    most = MOST_ATTEMPTS[rows[0].name or ""]
    for row in outcomes:
        # A cancellation may come in the backoff, before the next attempt.
        expected = {len(failed) + 1, len(failed) or 1}
        if row.kind != "task.cancelled":
            expected = {len(failed) + 1}
        if row.attempt not in expected or (row.attempt or 0) > most:
            yield f"{row.kind} at attempt {row.attempt}, after {len(failed)} failed ones"
        if row.kind == "task.failed" and most > 1 and row.attempt != most:
            yield f"given up at attempt {row.attempt} of {most}"


def i5_a_success_was_really_had(records: Records) -> Iterator[Violation]:
    """Each recorded outcome has its line in the ledger: same execution, same input, same result."""
    ended: dict[tuple[object, ...], Body] = {}
    for body in records.bodies:
        if body.phase in ("end", "error"):
            ended[body.phase, body.operation, body.attempt, body.epoch] = body
    for run_id in records.events:
        for (step_no, step_attempt, op), rows in records.operations(run_id).items():
            given = next((row.input for row in rows if row.input_text is not None), None)
            for row in rows:
                phase = "end" if row.kind == "task.completed" else "error"
                if row.kind not in ("task.completed", "task.failed", "task.attempt_failed"):
                    continue
                operation = (run_id, step_no, step_attempt, op)
                body = ended.get((phase, operation, row.attempt, row.epoch))
                what = f"{row.kind} of {row.name} (row {row.seq})"
                if body is None:
                    yield Violation("I5", run_id, f"{what}: its body did not {phase}")
                elif body.input != digest(given):
                    yield Violation("I5", run_id, f"{what}: its body had another input")
                elif phase == "end" and body.result != digest(row.result):
                    yield Violation("I5", run_id, f"{what}: its body had another result")
