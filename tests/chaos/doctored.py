"""Records of a real storm, doctored: what each bug would have left behind.

Each function changes one thing, and gives the run (or workflow id) of which the invariant that is
named in its first letters must complain.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.chaos.invariants.letters import arrivals
from tests.chaos.notes import digest
from tests.chaos.records import Event, Message, Records, Run
from tests.chaos.workload import MAILBOX

LATER = timedelta(hours=1)


def _row(records: Records, fits: Callable[[Event], Any]) -> Event:
    """The first row of a run that was neither cancelled nor terminated and fits."""
    return next(
        row
        for run_id, rows in records.events.items()
        if records.runs[run_id].cancel_requested_at is None
        for row in rows
        if fits(row)
    )


def _insert(records: Records, row: Event) -> str:
    """Put a row after the one that has its place now, and number the rest anew."""
    rows = records.events[row.run_id]
    rows.insert(row.seq, row)
    for seq, each in enumerate(rows, 1):
        each.seq = seq
    records.runs[row.run_id].next_seq = len(rows) + 1
    return row.run_id


def _alone(records: Records, run_id: str) -> str:
    """To replay all others once more would take long."""
    records.runs = {run_id: records.runs[run_id]}
    return run_id


def _started(records: Records) -> Run:
    """A run that a driver started, and whose start was acknowledged."""
    answered = {call.run for call in records.calls if (call.what, call.phase) == ("start", "ok")}
    return next(run for run in records.runs.values() if run.run_id in answered)


def i1_an_acknowledged_start_is_lost(records: Records) -> str:
    run = _started(records)
    del records.runs[run.run_id]
    return run.wf_id


def i1_a_start_is_done_twice(records: Records) -> str:
    run = _started(records)
    records.runs["twice"] = replace(run, run_id="twice")
    return run.wf_id


def i1_a_refused_start_was_done(records: Records) -> str:
    run = _started(records)
    for call in records.calls:
        if call.run == run.run_id and call.what == "start":
            call.phase = "fail"
    return run.wf_id


def i1_two_runs_of_an_id_are_open(records: Records) -> str:
    old, _ = next(iter(records.successors.items()))
    records.runs[old].ended_at = None
    return records.runs[old].wf_id


def i2_a_row_is_missing(records: Records) -> str:
    row = _row(records, lambda row: row.seq == 2)
    records.events[row.run_id].remove(row)
    return row.run_id


def i2_a_row_was_changed(records: Records) -> str:
    run_id, seq = next(iter(records.sightings))
    records.digests[run_id, seq] = "another"
    return run_id


def i2_a_committed_row_is_gone(records: Records) -> str:
    run_id, seq = next(iter(records.sightings))
    del records.digests[run_id, seq]
    return run_id


def i3_a_row_follows_the_end(records: Records) -> str:
    row = _row(records, lambda row: row.body.get("next") == "complete")
    return _insert(records, replace(row))


def i3_the_run_says_another_end(records: Records) -> str:
    run = next(run for run in records.runs.values() if run.status == "failed")
    run.status = "completed"
    return run.run_id


def i3_a_step_ran_for_no_reason(records: Records) -> str:
    row = _row(records, lambda row: row.body.get("cause") == "step")
    row.body_text = json.dumps(row.body | {"cause": "timeout"})
    return row.run_id


def i3_a_step_is_done_twice(records: Records) -> str:
    row = _row(records, lambda row: row.body.get("next") == "step")
    return _insert(records, replace(row))


def i4_an_operation_has_two_outcomes(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.completed")
    return _insert(records, replace(row))


def i4_an_attempt_was_not_counted(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.attempt_failed" and row.attempt == 1)
    row.attempt = 2
    return row.run_id


def i4_one_attempt_too_many(records: Records) -> str:
    body = next(body for body in records.bodies if body.name == "persist")
    records.bodies.append(replace(body, attempt=4))
    return body.run


def i4_given_up_too_early(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.failed" and row.name == "persist")
    row.attempt = 2
    rows = records.events[row.run_id]
    last = [e for e in rows if e.op == row.op and e.kind == "task.attempt_failed"][-1]
    rows.remove(last)
    return row.run_id


def i5_a_success_was_never_had(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.completed")
    operation = (row.run_id, row.step_no, row.step_attempt, row.op)
    records.bodies = [b for b in records.bodies if (b.phase, b.operation) != ("end", operation)]
    return row.run_id


def i5_another_result_was_recorded(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.completed" and row.name == "act")
    row.body_text = json.dumps(row.body | {"nonce": "another"})
    return row.run_id


def i5_the_body_had_another_input(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.completed" and row.name == "act")
    row.input_text = json.dumps(row.input | {"value": "another"})
    return row.run_id


def i6_a_task_is_done_after_its_outcome(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.completed")
    operation = (row.run_id, row.step_no, row.step_attempt, row.op)
    body = records.starts[operation][-1]
    records.bodies.append(replace(body, epoch=row.epoch + 1, mono=body.mono + 1))
    return row.run_id


def i6_a_failed_attempt_is_done_again(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.attempt_failed")
    operation = (row.run_id, row.step_no, row.step_attempt, row.op)
    body = next(b for b in records.starts[operation] if b.attempt == row.attempt)
    records.bodies.append(replace(body, epoch=row.epoch + 1))
    return row.run_id


def i6_a_retried_step_does_a_task_again(records: Records) -> str:
    failed = _row(records, lambda row: row.kind == "step.attempt_failed" and row.seq > 1)
    body = next(
        b
        for b in records.bodies
        if (b.phase, b.run, b.step_no) == ("end", failed.run_id, failed.step_no)
    )
    records.bodies.append(replace(body, phase="start", step_attempt=2, epoch=failed.epoch + 1))
    return failed.run_id


def i7_an_old_epoch_writes(records: Records) -> str:
    row = _row(records, lambda row: row.seq == 2)
    records.events[row.run_id][0].epoch = row.epoch + 1
    return row.run_id


def i7_two_workers_have_one_epoch(records: Records) -> str:
    row = _row(records, lambda row: row.seq == 2 and row.worker_no is not None)
    records.events[row.run_id][0].epoch = row.epoch
    row.worker_no = -1
    return row.run_id


def i7_two_processes_have_one_epoch(records: Records) -> str:
    first, second, *_ = (body for body in records.bodies if body.phase == "start")
    records.bodies.append(replace(second, run=first.run, epoch=first.epoch, boot="another"))
    return first.run


def i8_a_body_is_repeated_without_a_fault(records: Records) -> str:
    body = next(body for body in records.bodies if body.phase == "start")
    records.bodies.append(replace(body, epoch=body.epoch + 1, mono=body.mono + 0.1))
    records.faults.clear()
    return body.run


def i8_a_body_is_repeated_in_its_epoch(records: Records) -> str:
    body = next(body for body in records.bodies if body.phase == "start")
    records.bodies.append(replace(body, mono=body.mono + 0.1))
    return body.run


def i9_a_letter_is_lost(records: Records) -> str:
    row = _row(records, lambda row: row.name == "poke" and row.kind == "step.completed")
    row.name = "plain"
    return records.chains[row.run_id]


def i9_a_letter_is_handled_twice(records: Records) -> str:
    row = _row(records, lambda row: row.name == "poke" and row.kind == "step.completed")
    records.inbox.append(Message(row.run_id, 99, "event", "poke", row.input))
    return records.chains[row.run_id]


def i9_a_refused_letter_arrives(records: Records) -> str:
    call = next(call for call in records.calls if (call.what, call.phase) == ("send", "ok"))
    call.phase = "fail"
    return records.chains[call.run or ""]


def i9_letters_of_a_sender_change_places(records: Records) -> str:
    target = next(t for t, ids in arrivals(records).items() if _is_mailbox(records, t) and ids)
    rows = [
        row
        for run_id in sorted(records.events)
        if records.chains[run_id] == target
        for row in records.events[run_id]
        if row.name == "poke" and row.kind == "step.completed"
    ]
    of_sender: dict[str, list[Event]] = defaultdict(list)
    for row in rows:
        of_sender[row.input["by"]].append(row)
    first, second, *_ = next(each for each in of_sender.values() if len(each) > 1)
    first.input_text, second.input_text = second.input_text, first.input_text
    return target


def _is_mailbox(records: Records, run_id: str) -> bool:
    return records.runs[run_id].wf_type == MAILBOX


def i10_a_sleep_is_too_short(records: Records) -> str:
    row = _row(records, _is_long_sleep)
    row.at -= LATER
    return row.run_id


def _is_long_sleep(row: Event) -> bool:
    return row.kind == "sleep.completed" and not row.body


def i10_a_wait_times_out_too_early(records: Records) -> str:
    row = _row(records, lambda row: row.name == "late" and row.body.get("cause") == "timeout")
    for each in records.events[row.run_id]:
        if each.seq >= row.seq:
            each.at -= LATER
    return row.run_id


def i10_a_timer_strikes_that_was_not_set(records: Records) -> str:
    row = _row(records, lambda row: row.body.get("cause") == "step")
    row.body_text = json.dumps(row.body | {"cause": "timeout"})
    return row.run_id


def i10_a_backoff_is_cut_short(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "task.attempt_failed")
    row.at += LATER
    return row.run_id


def i11_a_child_is_missing(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "child.started")
    del records.runs[row.body["run_id"]]
    return row.run_id


def i11_a_child_is_started_twice(records: Records) -> str:
    child = next(run for run in records.runs.values() if run.parent_run_id is not None)
    records.runs["twice"] = replace(child, run_id="twice")
    return "twice"


def i11_the_parent_saw_another_end(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "child.ended" and row.body.get("status"))
    row.body_text = json.dumps(row.body | {"result": "another"})
    return row.run_id


def i11_the_parent_was_not_told(records: Records) -> str:
    # Not by the successor of the run that started the child: that one has really ended.
    row = _row(
        records,
        lambda row: (
            row.name == "joined"
            and row.kind == "step.completed"
            and records.runs[row.input["run_id"]].parent_run_id == row.run_id
        ),
    )
    child_id = row.input["run_id"]
    row.input_text = None
    records.runs[row.run_id].ended_at = None
    return str(child_id)


def i12_a_put_is_lost(records: Records) -> str:
    run_id = next(run_id for run_id, kept in records.store.items() if "poked" in kept)
    del records.store[run_id]["poked"]
    return run_id


def i12_a_step_that_failed_has_put(records: Records) -> str:
    run_id = next(r for r, kept in records.store.items() if not _is_mailbox(records, r))
    records.store[run_id]["key 7"] = "there"
    return run_id


def i12_a_letter_is_counted_twice(records: Records) -> str:
    run_id = next(
        r for r, kept in records.store.items() if _is_mailbox(records, r) and kept["letters"]
    )
    records.store[run_id]["letters"] += 1
    return run_id


def i13_a_run_is_forgotten(records: Records) -> str:
    run = next(run for run in records.runs.values() if run.status == "completed")
    run.status, run.ended_at, run.owner = "running", None, None
    return run.run_id


def i13_a_run_sleeps_on_its_message(records: Records) -> str:
    run = next(run for run in records.runs.values() if run.status == "completed")
    run.status, run.ended_at, run.inbox_tail = "waiting", None, run.inbox_head + 1
    return run.run_id


def i13_a_waiter_is_not_told(records: Records) -> str:
    call = next(
        call
        for call in records.calls
        if (call.what, call.phase) == ("result", "ok") and call.run not in records.successors
    )
    records.calls.remove(call)
    return str(call.run)


def i13_a_waiter_is_told_another_result(records: Records) -> str:
    call = next(
        call
        for call in records.calls
        if (call.what, call.phase) == ("result", "ok")
        and call.run not in records.successors
        and records.runs[call.run or ""].status == "completed"
    )
    call.detail = digest("another")
    return str(call.run)


def i14_a_replay_goes_another_way(records: Records) -> str:
    row = _row(records, lambda row: row.kind == "uuid.recorded")
    row.body_text = '"018f0000-0000-7000-8000-000000000001"'
    return _alone(records, row.run_id)


def i14_a_step_ends_otherwise(records: Records) -> str:
    row = _row(records, lambda row: row.body.get("next") == "delay")
    row.body_text = json.dumps(row.body | {"delay_ms": 1})
    return _alone(records, row.run_id)


def i14_a_run_fails_that_should_not(records: Records) -> str:
    run = next(run for run in records.runs.values() if run.status == "completed")
    run.status, run.error = "failed", {"error": {"type": "NonDeterminismError"}}
    return _alone(records, run.run_id)


DOCTORED: dict[str, Callable[[Records], str]] = {
    name: made
    for name, made in list(globals().items())
    if name.startswith("i") and name.split("_")[0][1:].isdigit()
}
"""By name, in order of the invariants."""
