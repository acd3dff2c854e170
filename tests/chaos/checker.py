"""All invariants over the records of a storm, and the figures that go with them."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos.invariants import Violation
from tests.chaos.invariants.answers import (
    i15_an_update_is_answered_as_it_was_handled,
    i16_a_query_sees_what_was_there,
)
from tests.chaos.invariants.children import i11_a_child_is_one_child
from tests.chaos.invariants.history import (
    i2_history_is_dense_and_append_only,
    i3_transitions_are_legal,
    i7_epochs_grow,
)
from tests.chaos.invariants.letters import i9_a_letter_is_handled_once
from tests.chaos.invariants.liveness import i13_every_run_ends_or_rightly_waits
from tests.chaos.invariants.outcomes import (
    i4_one_outcome_an_operation,
    i5_a_success_was_really_had,
)
from tests.chaos.invariants.repeats import (
    count_extra,
    count_superseded,
    i6_nothing_is_done_after_its_outcome,
    i8_only_faults_repeat_a_body,
)
from tests.chaos.invariants.replay import i14_a_replay_gives_the_same
from tests.chaos.invariants.starts import i1_a_start_is_one_run
from tests.chaos.invariants.store import i12_the_store_is_the_fold_of_its_puts
from tests.chaos.invariants.timers import i10_timers_fire_once_and_not_early
from tests.chaos.records import Records

INVARIANTS: dict[str, Callable[[Records], Iterator[Violation]]] = {
    "I1": i1_a_start_is_one_run,
    "I2": i2_history_is_dense_and_append_only,
    "I3": i3_transitions_are_legal,
    "I4": i4_one_outcome_an_operation,
    "I5": i5_a_success_was_really_had,
    "I6": i6_nothing_is_done_after_its_outcome,
    "I7": i7_epochs_grow,
    "I8": i8_only_faults_repeat_a_body,
    "I9": i9_a_letter_is_handled_once,
    "I10": i10_timers_fire_once_and_not_early,
    "I11": i11_a_child_is_one_child,
    "I12": i12_the_store_is_the_fold_of_its_puts,
    "I13": i13_every_run_ends_or_rightly_waits,
    "I14": i14_a_replay_gives_the_same,
    "I15": i15_an_update_is_answered_as_it_was_handled,
    "I16": i16_a_query_sees_what_was_there,
}


def check(records: Records) -> list[Violation]:
    """Every violation of every invariant; one that cannot be looked at is not taken to hold."""
    found: list[Violation] = []
    for name, invariant in INVARIANTS.items():
        try:
            found += invariant(records)
        except Exception as error:  # noqa: BLE001 - records that make no sense
            text = "".join(traceback.format_exception(error)[-3:])
            found.append(Violation(name, "?", f"could not be checked: {text}"))
    return found


def figures(records: Records) -> dict[str, Any]:
    """How much was looked at, and what the faults cost."""
    phases = Counter((call.what, phase) for call, phase in records.calls_by_id())
    started = sum(body.phase == "start" for body in records.bodies)
    return {
        "runs": len(records.runs),
        "by status": dict(Counter(run.status for run in records.runs.values())),
        "history rows": sum(len(rows) for rows in records.events.values()),
        "task bodies": started,
        "extra bodies": count_extra(records),
        "superseded bodies": count_superseded(records),
        "calls": sum(phases.values()),
        "unknown calls": sum(n for (_, phase), n in phases.items() if phase == "unknown"),
        "letters": sum(n for (what, _), n in phases.items() if what == "send"),
        "updates": sum(n for (what, _), n in phases.items() if what == "update"),
        "queries": sum(n for (what, _), n in phases.items() if what == "query"),
        "faults": dict(Counter(fault.name for fault in records.faults)),
        "rows seen meanwhile": len(records.sightings),
        "seconds until calm": round(records.calm_seconds, 1),
    }
