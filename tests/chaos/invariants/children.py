"""I11: a child's key is one child, and parent and child tell the same of its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.chaos.invariants import Violation
from tests.chaos.records import TERMINAL, Records, Run

A_TRANSACTION = timedelta(seconds=5)
"""See ``starts``."""


def i11_a_child_is_one_child(records: Records) -> Iterator[Violation]:
    """What parents recorded of starts and ends, against the children's own rows."""
    started: dict[str, str] = {}
    for run_id, rows in records.events.items():
        for row in rows:
            if row.kind == "child.started":
                child_id = row.body["run_id"]
                child = records.runs.get(child_id)
                if child_id in started:
                    yield Violation("I11", run_id, f"child {child_id} was started twice")
                if child is None or _names(child) != (run_id, row.input["wf_id"]):
                    yield Violation("I11", run_id, f"its child {child_id} is not there")
                started[child_id] = run_id
            elif row.kind == "child.ended" and "status" in row.body:
                child = _last(records, row.input["run_id"])
                if child is None or not _agrees(row.body, child):
                    yield Violation("I11", run_id, f"row {row.seq} tells another end of its child")
    for run in records.runs.values():
        if run.parent_run_id is not None and records.chains[run.run_id] not in started:
            text = f"its parent {run.parent_run_id} knows nothing of it"
            yield Violation("I11", run.run_id, text)
    yield from _told_once(records)


def _names(child: Run) -> tuple[str | None, str]:
    return child.parent_run_id, child.wf_id


def _told_once(records: Records) -> Iterator[Violation]:
    """A child's end comes into its parent's inbox once, if the parent is still open."""
    told = _tellings(records)
    for run in records.runs.values():
        if run.parent_step is None or run.status not in TERMINAL or run.status == "continued":
            continue
        tellings = told[run.run_id]
        parent = records.runs.get(run.parent_run_id or "")
        if len(tellings) > 1:
            yield Violation("I11", run.run_id, f"its parent was told {len(tellings)} times")
        elif not tellings and parent is not None and _was_open(records, parent, run):
            yield Violation("I11", run.run_id, "its parent was not told")
        elif tellings and not _agrees(tellings[0], run):
            yield Violation("I11", run.run_id, "its parent was told another end")


def _tellings(records: Records) -> dict[str, list[Any]]:
    """What parents were told of a child's end: handled, or in the inbox."""
    told: dict[str, list[Any]] = defaultdict(list)
    for rows in records.events.values():
        for row in rows:
            if row.kind == "step.completed" and row.body.get("cause") == "event":
                given = row.input
                if isinstance(given, dict) and "wf_type" in given:
                    told[given["run_id"]].append(given)
    for message in records.inbox:
        if message.kind == "child":
            told[message.payload["run_id"]].append(message.payload)
    return told


def _was_open(records: Records, parent: Run, child: Run) -> bool:
    if parent.ended_at is None:
        return True
    if records.clock_was_set:
        return False
    return child.ended_at is not None and child.ended_at + A_TRANSACTION < parent.ended_at


def _last(records: Records, run_id: str) -> Run | None:
    while run_id in records.successors:
        run_id = records.successors[run_id]
    return records.runs.get(run_id)


def _agrees(told: dict[str, Any], child: Run) -> bool:
    same = told["status"] == child.status and told.get("result") == child.result
    return same and told.get("error") == child.error
