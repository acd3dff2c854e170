"""What bugs of starts, history, tasks and replay would have left behind: I1 to I8, I14."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.chaos.doctored.rows import a_started_run, alone, first_row, insert, rows_that_fit
from tests.chaos.records import Records


def i1_an_acknowledged_start_is_lost(records: Records) -> str:
    run = a_started_run(records)
    del records.runs[run.run_id]
    return run.wf_id


def i1_a_start_is_done_twice(records: Records) -> str:
    run = a_started_run(records)
    records.runs["twice"] = replace(run, run_id="twice")
    return run.wf_id


def i1_a_refused_start_was_done(records: Records) -> str:
    run = a_started_run(records)
    for call in records.calls:
        if call.run == run.run_id and call.what == "start":
            call.phase = "fail"
    return run.wf_id


def i1_two_runs_of_an_id_are_open(records: Records) -> str:
    old, _ = next(iter(records.successors.items()))
    records.runs[old].ended_at = None
    return records.runs[old].wf_id


def i2_a_row_is_missing(records: Records) -> str:
    row = first_row(records, lambda row: row.seq == 2)
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
    row = first_row(records, lambda row: row.body.get("next") == "complete")
    return insert(records, replace(row))


def i3_the_run_says_another_end(records: Records) -> str:
    run = next(run for run in records.runs.values() if run.status == "failed")
    run.status = "completed"
    return run.run_id


def i3_a_step_ran_for_no_reason(records: Records) -> str:
    row = first_row(records, lambda row: row.body.get("cause") == "step")
    row.body_text = json.dumps(row.body | {"cause": "timeout"})
    return row.run_id


def i3_a_step_is_done_twice(records: Records) -> str:
    row = first_row(records, lambda row: row.body.get("next") == "step")
    return insert(records, replace(row))


def i4_an_operation_has_two_outcomes(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.completed")
    return insert(records, replace(row))


def i4_an_attempt_was_not_counted(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.attempt_failed" and row.attempt == 1)
    row.attempt = 2
    return row.run_id


def i4_one_attempt_too_many(records: Records) -> str:
    body = next(body for body in records.bodies if body.name == "persist")
    records.bodies.append(replace(body, attempt=4))
    return body.run


def i4_given_up_too_early(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.failed" and row.name == "persist")
    row.attempt = 2
    rows = records.events[row.run_id]
    last = [e for e in rows if e.op == row.op and e.kind == "task.attempt_failed"][-1]
    rows.remove(last)
    return row.run_id


def i5_a_success_was_never_had(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.completed")
    operation = (row.run_id, row.step_no, row.step_attempt, row.op)
    records.bodies = [b for b in records.bodies if (b.phase, b.operation) != ("end", operation)]
    return row.run_id


def i5_another_result_was_recorded(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.completed" and row.name == "act")
    row.body_text = json.dumps(row.body | {"nonce": "another"})
    return row.run_id


def i5_the_body_had_another_input(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.completed" and row.name == "act")
    row.input_text = json.dumps(row.input | {"value": "another"})
    return row.run_id


def i6_a_task_is_done_after_its_outcome(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.completed")
    operation = (row.run_id, row.step_no, row.step_attempt, row.op)
    body = records.starts[operation][-1]
    records.bodies.append(replace(body, epoch=row.epoch + 1, mono=body.mono + 1))
    return row.run_id


def i6_a_failed_attempt_is_done_again(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.attempt_failed")
    operation = (row.run_id, row.step_no, row.step_attempt, row.op)
    body = next(b for b in records.starts[operation] if b.attempt == row.attempt)
    records.bodies.append(replace(body, epoch=row.epoch + 1))
    return row.run_id


def i6_a_retried_step_does_a_task_again(records: Records) -> str:
    failed, done = next(
        (row, done)
        for row in rows_that_fit(records, lambda row: row.kind == "step.attempt_failed")
        for done in records.events[row.run_id]
        if (done.kind, done.step_no, done.step_attempt)
        == ("task.completed", row.step_no, row.step_attempt)
    )
    body = records.starts[done.run_id, done.step_no, done.step_attempt, done.op][-1]
    again = replace(body, step_attempt=failed.step_attempt + 1, epoch=failed.epoch + 1)
    records.bodies.append(again)
    return failed.run_id


def i7_an_old_epoch_writes(records: Records) -> str:
    row = first_row(records, lambda row: row.seq == 2)
    records.events[row.run_id][0].epoch = row.epoch + 1
    return row.run_id


def i7_two_workers_have_one_epoch(records: Records) -> str:
    row = first_row(records, lambda row: row.seq == 2 and row.worker_no is not None)
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


def i14_a_replay_goes_another_way(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "uuid.recorded")
    row.body_text = '"018f0000-0000-7000-8000-000000000001"'
    return alone(records, row.run_id)


def i14_a_step_ends_otherwise(records: Records) -> str:
    row = first_row(records, lambda row: row.body.get("next") == "delay")
    row.body_text = json.dumps(row.body | {"delay_ms": 1})
    return alone(records, row.run_id)


def i14_a_child_is_refused_where_it_was_started(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "child.started")
    refused = replace(row, seq=row.seq + 1, kind="child.refused", step_attempt=row.step_attempt + 1)
    run = records.runs[insert(records, refused)]
    run.status, run.error = "failed", {"error": {"type": "WorkflowAlreadyRunningError"}}
    return alone(records, run.run_id)


def i14_a_run_fails_that_should_not(records: Records) -> str:
    run = next(run for run in records.runs.values() if run.status == "completed")
    run.status, run.error = "failed", {"error": {"type": "NonDeterminismError"}}
    return alone(records, run.run_id)
