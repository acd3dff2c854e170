"""Where a record is doctored: a row, a run, a place in a history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from tests.chaos.records import Event, Records, Run
from tests.chaos.workload import MAILBOX

LATER = timedelta(hours=1)


def rows_that_fit(records: Records, fits: Callable[[Event], Any]) -> Iterator[Event]:
    """The rows of runs that were neither cancelled nor terminated and that fit."""
    return (
        row
        for run_id, rows in records.events.items()
        if records.runs[run_id].cancel_requested_at is None
        for row in rows
        if fits(row)
    )


def first_row(records: Records, fits: Callable[[Event], Any]) -> Event:
    """The first of them."""
    return next(rows_that_fit(records, fits))


def insert(records: Records, row: Event) -> str:
    """Put a row after the one that has its place now, and number the rest anew."""
    rows = records.events[row.run_id]
    rows.insert(row.seq, row)
    for seq, each in enumerate(rows, 1):
        each.seq = seq
    records.runs[row.run_id].next_seq = len(rows) + 1
    return row.run_id


def alone(records: Records, run_id: str) -> str:
    """To replay all others once more would take long."""
    records.runs = {run_id: records.runs[run_id]}
    return run_id


def a_started_run(records: Records) -> Run:
    """A run that a driver started, and whose start was acknowledged."""
    answered = {call.run for call in records.calls if (call.what, call.phase) == ("start", "ok")}
    return next(run for run in records.runs.values() if run.run_id in answered)


def is_mailbox(records: Records, run_id: str) -> bool:
    return records.runs[run_id].wf_type == MAILBOX
