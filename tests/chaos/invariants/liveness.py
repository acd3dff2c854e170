"""I13: after the faults every run ends or rightly waits, and who waits for an answer has it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tests.chaos.invariants import Violation
from tests.chaos.notes import digest
from tests.chaos.records import TERMINAL, Records, Run


def i13_every_run_ends_or_rightly_waits(records: Records) -> Iterator[Violation]:
    """When the storm is over, nothing is left that somebody should have done."""
    # Lease, poll, and the longest pause between two attempts to reach the database.
    bound = timedelta(seconds=2 * records.lease + 2 * records.poll + 5)
    for run in records.runs.values():
        if run.status in TERMINAL:
            continue
        if run.status != "waiting":
            owner = f"owner {run.owner}" if run.owner in records.live_workers else "no live owner"
            yield Violation("I13", run.run_id, f"it is still {run.status}, with {owner}")
        elif run.inbox_tail > run.inbox_head:
            yield Violation("I13", run.run_id, "it waits, and its inbox has a message")
        elif run.wake_at is not None and run.wake_at + bound < records.checked_at:
            yield Violation("I13", run.run_id, f"it waits, and was due at {run.wake_at}")
    yield from _waiters(records)
    yield from _calls(records)


def _calls(records: Records) -> Iterator[Violation]:
    """Every call came back, if only to say that nobody knows what came of it."""
    back = {call.id for call in records.calls if call.phase != "invoke"}
    for call in records.calls:
        if call.id not in back:
            yield Violation("I13", call.run or call.wf_id, f"a call of {call.what} did not return")


def _waiters(records: Records) -> Iterator[Violation]:
    answered = {c.id: c for c in records.calls if c.what == "result" and c.phase != "invoke"}
    for call, _ in records.calls_by_id():
        if call.what != "result" or call.run not in records.runs:
            continue
        run = _last(records, call.run)
        answer = answered.get(call.id)
        if run.status not in TERMINAL:
            continue
        if answer is None or answer.phase != "ok":
            yield Violation("I13", run.run_id, f"it is {run.status}, and its waiter was not told")
        elif run.status == "completed" and answer.detail != digest(run.result):
            yield Violation("I13", run.run_id, f"its waiter was told: {answer.detail}")
        elif run.status != "completed" and ":" not in answer.detail:
            yield Violation("I13", run.run_id, f"it is {run.status}, its waiter got a result")


def _last(records: Records, run_id: str) -> Run:
    while run_id in records.successors:
        run_id = records.successors[run_id]
    return records.runs[run_id]
