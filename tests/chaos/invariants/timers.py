"""I10: a timer fires once, and never early by the database's clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from tests.chaos.invariants import Violation
from tests.chaos.invariants.deadlines import wrong_run_timeouts
from tests.chaos.invariants.history import FROM_OUTSIDE, status_after
from tests.chaos.records import Event, Records

CLOCKS_APART = timedelta(milliseconds=5)
"""Between the database's clock and that of a task's body, on one machine."""


def i10_timers_fire_once_and_not_early(records: Records) -> Iterator[Violation]:
    """Sleeps, waits, delays, the backoffs of steps and tasks, and the timeouts of runs."""
    clock_was_changed = any(fault.name.startswith("clock") for fault in records.faults)
    for run in records.runs.values():
        for text in wrong_run_timeouts(records, run, clock_was_changed=clock_was_changed):
            yield Violation("I10", run.run_id, text)
    for run_id, rows in records.events.items():
        is_cancelled = records.runs[run_id].cancel_requested_at is not None
        for text in (*_double_sleeps(rows), *_double_timers(rows)):
            yield Violation("I10", run_id, text)
        if clock_was_changed:
            continue
        for text in (*_short_sleeps(rows, is_cancelled=is_cancelled), *_early_steps(rows)):
            yield Violation("I10", run_id, text)
    if not clock_was_changed:
        yield from _early_attempts(records)


def _short_sleeps(rows: list[Event], *, is_cancelled: bool) -> Iterator[str]:
    begun: dict[tuple[int, int, str | None], Event] = {}
    for row in rows:
        key = (row.step_no, row.step_attempt, row.op)
        if row.kind == "sleep.recorded":
            begun[key] = row
        elif row.kind == "sleep.completed" and not row.body and not is_cancelled:
            began = begun[key]
            if row.at - began.at < timedelta(milliseconds=int(began.input)):
                yield f"a sleep of {began.input} ms took {row.at - began.at} (row {row.seq})"


def _double_sleeps(rows: list[Event]) -> Iterator[str]:
    counts: dict[tuple[str, int, int, str | None], int] = defaultdict(int)
    for row in rows:
        if row.kind.startswith("sleep."):
            counts[row.kind, row.step_no, row.step_attempt, row.op] += 1
    for key, count in counts.items():
        if count > 1:
            yield f"{key} is there {count} times"


def _double_timers(rows: list[Event]) -> Iterator[str]:
    """Each step that a timer woke follows a wait with one, of its own."""
    wait: Event | None = None
    for row in rows:
        status = status_after(row)
        if status is None or row.kind in FROM_OUTSIDE:
            continue
        by_timer = row.body.get("cause") == "timeout"
        if by_timer and (wait is None or wait.body.get("delay_ms") is None):
            yield f"a timer woke it (row {row.seq}), and none was set"
        if row.kind != "step.attempt_failed":  # the same step comes again, for the same timer
            wait = row if status == "waiting" else None


def _early_steps(rows: list[Event]) -> Iterator[str]:
    """What a delay, a wait's timer or a step's backoff was set to, against the step after it."""
    former: Event | None = None
    for row in rows:
        if status_after(row) is None:
            continue
        if former is not None and row.kind not in FROM_OUTSIDE:
            told = former.body
            due = told.get("next_retry_delay_ms") or told.get("delay_ms") or 0
            is_due = told.get("next") != "wait" or row.body.get("cause") == "timeout"
            if is_due and row.at - former.at < timedelta(milliseconds=int(due)):
                lasted = row.at - former.at
                yield f"row {row.seq} came {lasted} after row {former.seq}, not {due} ms"
        former = row


def _early_attempts(records: Records) -> Iterator[Violation]:
    for run_id, rows in records.events.items():
        if records.runs[run_id].cancel_requested_at is not None:
            continue  # it ends backoffs early
        for row in rows:
            if row.kind != "task.attempt_failed" or row.op is None:
                continue
            operation = (run_id, row.step_no, row.step_attempt, row.op)
            delay = timedelta(milliseconds=int(row.body["next_retry_delay_ms"]))
            soonest = (row.at + delay - CLOCKS_APART).timestamp()
            for body in records.starts.get(operation, ()):
                if body.attempt == (row.attempt or 0) + 1 and body.wall < soonest:
                    text = f"attempt {body.attempt} of {body.name} came too early"
                    yield Violation("I10", run_id, f"{text} (row {row.seq})")
