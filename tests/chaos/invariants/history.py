"""I2, I3, I7: a run's history is dense and append-only, legal, and written by one at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.chaos.invariants import Violation
from tests.chaos.records import TERMINAL, Event, Records, Run

DIRECTIVES = {
    "step": "running", "delay": "delayed", "wait": "waiting",
    "complete": "completed", "fail": "failed", "continue_as_new": "continued",
}  # fmt: skip
ENDS = {
    "step.attempt_failed": "delayed", "step.failed": "failed", "step.timeout": "failed",
    "wait.timed_out": "failed", "event.unhandled": "waiting", "run.timeout": "timed_out",
    "run.cancelled": "cancelled", "run.terminated": "terminated", "run.retried": "delayed",
}  # fmt: skip
CAUSES = {"scheduled": {"start"}, "waiting": {"event", "timeout"}, "running": {"step"}}
"""Why the next step may run. A delayed one runs for what it was delayed with."""
FROM_OUTSIDE = frozenset({"run.cancelled", "run.terminated", "run.timeout"})


def i2_history_is_dense_and_append_only(records: Records) -> Iterator[Violation]:
    """Numbered from 1 without a gap; and what was ever seen is still there, unchanged."""
    for run_id, rows in records.events.items():
        if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
            yield Violation("I2", run_id, f"its rows are numbered {[row.seq for row in rows]}")
        run = records.runs[run_id]
        if run.ended_at is not None and run.next_seq != len(rows) + 1:
            yield Violation("I2", run_id, f"has {len(rows)} rows, but next_seq {run.next_seq}")
    for (run_id, seq), digest in records.sightings.items():
        if records.digests.get((run_id, seq)) != digest:
            yield Violation("I2", run_id, f"row {seq} was there during the storm, and changed")


def i3_transitions_are_legal(records: Records) -> Iterator[Violation]:
    """From status to status as the table says; one terminal event at most, and nothing after it."""
    for run_id, run in records.runs.items():
        for text in _illegal(run, records.events.get(run_id, [])):
            yield Violation("I3", run_id, text)


def status_after(row: Event) -> str | None:
    """The status that a row leaves the run in; None for a row within a step."""
    if row.kind == "step.completed":
        return DIRECTIVES[row.body["next"]]
    return ENDS.get(row.kind)


def _illegal(run: Run, rows: list[Event]) -> Iterator[str]:
    status, cause, step_no, last = "scheduled", "start", 1, None
    may_grow = False
    for row in rows:
        if row.step_no not in ({step_no, step_no + 1} if may_grow else {step_no}):
            yield f"row {row.seq} is of step {row.step_no}, after step {step_no}"
        step_no, may_grow = row.step_no, False
        if status in TERMINAL and not _may_follow(run, last, row):
            yield f"row {row.seq}, {row.kind}, follows its end, {last.kind if last else ''}"
        after = status_after(row)
        if after is None:
            continue
        why = row.body.get("cause")
        if why is not None and row.kind not in FROM_OUTSIDE:
            if why not in CAUSES.get(status, {cause}):
                yield f"row {row.seq}, {row.kind}, ran for {why!r} when the run was {status}"
            cause = why
        if status == "waiting" and after == "delayed" and why is None:
            yield f"row {row.seq}, {row.kind}, delays a run that waits"
        if row.kind != "step.attempt_failed" and status_after(row) == "delayed":
            cause = "step"
        may_grow = row.kind != "run.retried"
        status, last = after, row
    yield from _end(run, status, last)


def _may_follow(run: Run, end: Event | None, row: Event) -> bool:
    """After a directive a cancel may have taken its place; a failed run may be opened again."""
    if row.kind == "run.retried":
        return end is not None and status_after(end) == "failed"
    is_directive = end is not None and end.kind == "step.completed"
    return is_directive and row.kind in FROM_OUTSIDE and run.cancel_requested_at is not None


def _end(run: Run, status: str, last: Event | None) -> Iterator[str]:
    """The run's row says the same as its history."""
    is_halted = run.cause == "cancel" and run.status == "running"
    if (run.ended_at is not None) != (run.status in TERMINAL):
        yield f"it is {run.status}, and ended at {run.ended_at}"
    if run.status in TERMINAL or (status in TERMINAL and not is_halted):
        if run.status != status:
            yield f"it is {run.status}, but its last row, {last and last.kind}, says {status}"
        if run.owner is not None or run.wake_at is not None:
            yield f"it has ended, with owner {run.owner} and wake_at {run.wake_at}"


def i7_epochs_grow(records: Records) -> Iterator[Violation]:
    """Rows of two epochs never interleave, and an epoch is one worker's, in one life of it."""
    for run_id, rows in records.events.items():
        epochs = [row.epoch for row in rows]
        if epochs != sorted(epochs):
            yield Violation("I7", run_id, f"its rows have the epochs {epochs}")
        if epochs and epochs[-1] > records.runs[run_id].epoch:
            yield Violation("I7", run_id, f"a row of epoch {epochs[-1]}, which was never given")
    yield from _epochs_of_two(records)


def _epochs_of_two(records: Records) -> Iterator[Violation]:
    holders: dict[tuple[str, int, str], set[Any]] = defaultdict(set)
    for run_id, rows in records.events.items():
        for row in rows:
            if row.worker_no is not None:
                holders[run_id, row.epoch, "workers"].add(row.worker_no)
    for body in records.bodies:
        holders[body.run, body.epoch, "processes"].add(body.boot)
    for (run_id, epoch, what), who in holders.items():
        if len(who) > 1:
            yield Violation("I7", run_id, f"epoch {epoch} has {len(who)} {what}: {who}")
