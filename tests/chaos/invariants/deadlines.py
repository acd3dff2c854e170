"""A run's own timeout: what is left of I10, that timers fire once and never early."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tests.chaos.records import Records, Run


def wrong_run_timeouts(records: Records, run: Run, *, clock_was_changed: bool) -> Iterator[str]:
    """A run past its deadline ends as timed out; none before it, none without one, none twice."""
    strikes = [row for row in records.events.get(run.run_id, ()) if row.kind == "run.timeout"]
    if len(strikes) != (run.status == "timed_out"):
        yield f"it is {run.status}, and its timeout struck {len(strikes)} times"
    if run.deadline_at is None:
        if strikes:
            yield "its timeout struck, and it has none"
        return
    if clock_was_changed:
        return
    if any(row.at < run.deadline_at for row in strikes):
        yield f"its timeout of {run.deadline_at} struck at {strikes[0].at}"
    late = (run.ended_at or records.checked_at) - run.deadline_at
    if run.status != "timed_out" and late > _allowed(records, run):
        yield f"it is {run.status}, {late} after its deadline"


def _allowed(records: Records, run: Run) -> timedelta:
    """How late an end that was on its way may be committed: as I13, and while faults last."""
    seconds = 2 * records.lease + 2 * records.poll + 5
    assert run.deadline_at is not None
    deadline = run.deadline_at.timestamp() - records.wall_minus_mono
    ended = (run.ended_at or records.checked_at).timestamp() - records.wall_minus_mono
    for fault in records.faults:
        seconds += max(0.0, min(ended, fault.ended) - max(deadline, fault.began))
    return timedelta(seconds=seconds)
