"""I12: a run's store is the fold of the puts that its finished steps recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.chaos.invariants import Violation
from tests.chaos.records import LETTERS, Event, Records
from tests.chaos.workload import MAILBOX

UNRECORDED = {"given", "stage", "origin", "letters"}
"""Keys that the workload puts without a task that says so."""


def i12_the_store_is_the_fold_of_its_puts(records: Records) -> Iterator[Violation]:
    """Each put is a task in history; a mailbox counts the letters that it has handled."""
    for run_id, run in records.runs.items():
        rows = records.events.get(run_id, [])
        there = records.store.get(run_id, {})
        if run.wf_type == MAILBOX:
            expected = _letters(run.input.get("letters", 0), rows)
            if there.get("letters", expected) != expected:
                yield Violation("I12", run_id, f"{there['letters']} letters, and not {expected}")
            continue
        expected = fold(rows)
        found = {key: value for key, value in there.items() if key not in UNRECORDED}
        if found != expected:
            wrong = sorted(k for k in found | expected if found.get(k) != expected.get(k))
            yield Violation("I12", run_id, f"the keys {wrong} are not as they were put")


def fold(rows: list[Event]) -> dict[str, Any]:
    """The store after all the steps that ended with a directive."""
    puts: dict[int, dict[str, Any]] = defaultdict(dict)
    inputs: dict[tuple[int, int, str | None], Any] = {}
    for row in rows:
        if row.name != "put" or not row.kind.startswith("task."):
            continue
        # The input is in a call's first row; that of its start, if it took long.
        given = inputs.setdefault((row.step_no, row.step_attempt, row.op), row.input)
        if row.kind == "task.completed" and row.op is not None:
            puts[row.step_no][row.op] = given  # a later attempt of the step may have put another
    store: dict[str, Any] = {}
    for row in rows:
        if row.kind != "step.completed":
            continue
        made = puts[row.step_no]
        for op in sorted(made, key=int):
            if made[op]["value"] is None:
                store.pop(made[op]["key"], None)
            else:
                store[made[op]["key"]] = made[op]["value"]
    return store


def _letters(before: int, rows: list[Event]) -> int:
    """The letter that makes it continue as new is counted by the successor."""
    return before + sum(
        row.kind == "step.completed" and row.name in LETTERS and row.body["next"] == "wait"
        for row in rows
    )
