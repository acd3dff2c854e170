"""What bugs of messages, timers, children, the store and waiters would have left behind: I9 to I13,
I15, I16."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace

from tests.chaos.doctored.rows import LATER, first_row, insert, is_mailbox
from tests.chaos.invariants.letters import arrivals
from tests.chaos.notes import digest
from tests.chaos.records import Call, Event, Message, Records, Run


def i9_a_letter_is_lost(records: Records) -> str:
    row = first_row(records, lambda row: row.name == "poke" and row.kind == "step.completed")
    row.name = "plain"
    return records.chains[row.run_id]


def i9_a_letter_is_handled_twice(records: Records) -> str:
    row = first_row(records, lambda row: row.name == "poke" and row.kind == "step.completed")
    records.inbox.append(Message(row.run_id, 99, "event", "poke", row.input))
    return records.chains[row.run_id]


def i9_a_refused_letter_arrives(records: Records) -> str:
    call = next(call for call in records.calls if (call.what, call.phase) == ("send", "ok"))
    call.phase = "fail"
    return records.chains[call.run or ""]


def i9_letters_of_a_sender_change_places(records: Records) -> str:
    target = next(t for t, ids in arrivals(records).items() if is_mailbox(records, t) and ids)
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


def i10_a_sleep_is_too_short(records: Records) -> str:
    row = first_row(records, _is_long_sleep)
    row.at -= LATER
    return row.run_id


def _is_long_sleep(row: Event) -> bool:
    return row.kind == "sleep.completed" and not row.body


def i10_a_wait_times_out_too_early(records: Records) -> str:
    row = first_row(records, lambda row: row.name == "late" and row.body.get("cause") == "timeout")
    for each in records.events[row.run_id]:
        if each.seq >= row.seq:
            each.at -= LATER
    return row.run_id


def i10_a_timer_strikes_that_was_not_set(records: Records) -> str:
    row = first_row(records, lambda row: row.body.get("cause") == "step")
    row.body_text = json.dumps(row.body | {"cause": "timeout"})
    return row.run_id


def i10_a_backoff_is_cut_short(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "task.attempt_failed")
    row.at += LATER
    return row.run_id


def i10_a_run_times_out_too_early(records: Records) -> str:
    run = _timed_out(records)
    run.deadline_at = run.created_at + LATER
    return run.run_id


def i10_a_run_times_out_twice(records: Records) -> str:
    run = _timed_out(records)
    return insert(records, replace(records.events[run.run_id][-1]))


def i10_a_run_outlives_its_timeout(records: Records) -> str:
    run = next(run for run in records.runs.values() if run.status == "completed")
    run.deadline_at = run.created_at - LATER
    return run.run_id


def _timed_out(records: Records) -> Run:
    return next(run for run in records.runs.values() if run.status == "timed_out")


def i11_a_child_is_missing(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "child.started")
    del records.runs[row.body["run_id"]]
    return row.run_id


def i11_a_child_is_started_twice(records: Records) -> str:
    child = next(run for run in records.runs.values() if run.parent_run_id is not None)
    records.runs["twice"] = replace(child, run_id="twice")
    return "twice"


def i11_the_parent_saw_another_end(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "child.ended" and row.body.get("status"))
    row.body_text = json.dumps(row.body | {"result": "another"})
    return row.run_id


def i11_the_parent_was_not_told(records: Records) -> str:
    # Not by the successor of the run that started the child: that one has really ended.
    row = first_row(
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
    run_id = next(r for r, kept in records.store.items() if not is_mailbox(records, r))
    records.store[run_id]["key 7"] = "there"
    return run_id


def i12_a_letter_is_counted_twice(records: Records) -> str:
    run_id = next(
        r for r, kept in records.store.items() if is_mailbox(records, r) and kept["letters"]
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


def i13_a_call_does_not_return(records: Records) -> str:
    call = _answer(records, "update")
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


def i15_an_update_was_not_handled(records: Records) -> str:
    row = _handled_update(records)
    row.name = "plain"
    return records.chains[row.run_id]


def i15_an_update_is_handled_after_a_letter_that_came_later(records: Records) -> str:
    row = _handled_update(records)
    insert(records, replace(row, seq=row.seq - 1, name="poke", input_text='{"by": "nobody"}'))
    return records.chains[row.run_id]


def i15_an_update_is_given_anothers_answer(records: Records) -> str:
    call = _answer(records, "update")
    call.detail = "0"
    return records.chains[call.run or ""]


def i16_a_query_sees_an_old_store(records: Records) -> str:
    call = _answer(records, "update")
    records.calls += _query(call, call.mono + 1, "0")
    return records.chains[call.run or ""]


def i16_a_query_sees_what_nobody_sent(records: Records) -> str:
    call = _answer(records, "update")
    records.calls += _query(call, call.mono + 1, str(10**6))
    return records.chains[call.run or ""]


def i16_a_query_sees_what_is_not_yet_there(records: Records) -> str:
    call = _answer(records, "update")
    records.calls += _query(call, call.mono - LATER.total_seconds(), call.detail)
    return records.chains[call.run or ""]


def i16_a_query_leaves_a_row(records: Records) -> str:
    row = first_row(records, lambda row: row.kind == "step.completed")
    return insert(records, replace(row, name="count"))


def _handled_update(records: Records) -> Event:
    """The end of a step that handled an update whose answer has come."""
    told = {call.id for call in records.calls if (call.what, call.phase) == ("update", "ok")}
    return first_row(
        records,
        lambda row: (
            row.name == "stamp" and row.kind == "step.completed" and digest(row.input) in told
        ),
    )


def _answer(records: Records, what: str) -> Call:
    return next(call for call in records.calls if (call.what, call.phase) == (what, "ok"))


def _query(like: Call, at: float, answer: str) -> list[Call]:
    asked = replace(like, id="query", what="query", phase="invoke", mono=at, detail="")
    return [asked, replace(asked, phase="ok", mono=at + 0.1, detail=answer)]
