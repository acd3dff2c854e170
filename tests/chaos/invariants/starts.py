"""I1: an acknowledged start is one run, an unknown one none or one, a refused one none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

from tests.chaos.invariants import Violation
from tests.chaos.records import Records, Run

ALLOWED = {"ok": {1}, "unknown": {0, 1}, "fail": {0}}

A_TRANSACTION = timedelta(seconds=5)
"""Times are those at which transactions began: one that came later may have begun earlier."""


def i1_a_start_is_one_run(records: Records) -> Iterator[Violation]:
    """By the id of the call, which is in the run's input; and one open run a workflow id."""
    made: dict[str, list[Run]] = defaultdict(list)
    for run in records.runs.values():
        if run.run_id not in records.predecessors and run.input.get("origin"):
            made[run.input["origin"]].append(run)
    answered = {call.id: call for call in records.calls if call.phase == "ok"}
    for call, phase in records.calls_by_id():
        if call.what != "start":
            continue
        runs = made.pop(call.id, [])
        if len(runs) not in ALLOWED[phase]:
            yield Violation("I1", call.wf_id, f"a start, {phase}, has made {len(runs)} runs")
        elif phase == "ok" and answered[call.id].run != runs[0].run_id:
            yield Violation("I1", runs[0].run_id, "its start was answered with another run's id")
    for origin, runs in made.items():
        yield Violation("I1", runs[0].run_id, f"nobody asked for its start ({origin})")
    yield from _one_is_open(records)


def _one_is_open(records: Records) -> Iterator[Violation]:
    if records.clock_was_set:
        return
    of_id: dict[str, list[Run]] = defaultdict(list)
    for run in records.runs.values():
        of_id[run.wf_id].append(run)
    for wf_id, runs in of_id.items():
        # Not by their ids: one made early, whose start was held up on its way, may begin late.
        runs.sort(key=lambda run: run.created_at)
        for former, later in pairwise(runs):
            if former.ended_at is None or former.ended_at > later.created_at + A_TRANSACTION:
                times = f"{later.created_at}, and ended at {former.ended_at}"
                said = f"{former.run_id} was open when {later.run_id} began at {times}"
                yield Violation("I1", wf_id, said)
