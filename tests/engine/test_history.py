"""From golden rows to the history that users read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grctl.engine.history import RunRecord, expand
from grctl.engine.rows import Row
from grctl.models import ErrorDetails, HistoryEvent, HistoryKind, RunStatus
from grctl.models import history as h

RUN_ID = UUID("01890000-0000-7000-8000-000000000001")
CHILD_ID = UUID("01890000-0000-7000-8000-000000000002")
T0 = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
NO = {"type": "ValueError", "message": "no"}


def at(ms: float) -> datetime:
    return T0 + timedelta(milliseconds=ms)


def run(status: str = "completed", **more: Any) -> RunRecord:
    return RunRecord(
        **{
            "run_id": RUN_ID,
            "wf_id": "order-7",
            "status": RunStatus(status),
            "created_at": T0,
            "started_at": at(5),
            "cause": "start",
            "step_name": "start",
            "input": '{"n":1}',
            **more,
        }
    )


class Rows:
    """Rows one after the other, ten milliseconds apart, of one step after the other."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.step_no = 1
        self.step_attempt = 1
        self.epoch = 1

    def add(self, kind: str, **fields: Any) -> Rows:
        seq = len(self.rows) + 1
        body = fields.pop("body", None)
        if body is not None and not isinstance(body, str):
            body = json.dumps(body)
        row = Row(RUN_ID, self.epoch, seq, self.step_no, self.step_attempt, kind, body=body)
        row.at, row.worker_id = at(100 + 10 * seq), "w.1@host"
        for name, value in fields.items():
            setattr(row, name, value)
        self.rows.append(row)
        return self

    def task(self, op: str, kind: str = "completed", name: str = "charge", **fields: Any) -> Rows:
        given = {"input": '{"a":1}', "body": "6", "micros": 4000, "attempt": 1, **fields}
        return self.add(f"task.{kind}", op=op, name=name, **given)

    def end(self, name: str, next: str, cause: str = "start", **fields: Any) -> Rows:
        body = {"next": next, "cause": cause, **fields.pop("body", {})}
        self.add("step.completed", name=name, body=body, **{"micros": 8000, **fields})
        self.step_no += 1
        return self


def story(rows: Rows, record: RunRecord) -> list[HistoryEvent]:
    events = list(expand(rows.rows, record))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    times = [event.timestamp for event in events]
    assert times == sorted(times)
    return events


def kinds(events: list[HistoryEvent]) -> list[str]:
    """Kinds, and with a task's or an operation's the call."""
    return [
        event.kind.value + (f" {event.operation_id}" if event.operation_id else "")
        for event in events
    ]


BEGIN = ["run.scheduled", "run.started", "step.started"]


def test_a_run_of_one_task_reads_as_the_contract_says():
    rows = Rows().task("1").end("start", "complete")
    events = story(rows, run(result='{"v":6}'))
    assert [event.kind.value for event in events] == [
        "run.scheduled", "run.started", "step.started", "task.started", "task.completed",
        "step.completed", "run.completed",
    ]  # fmt: skip
    assert [event.msg for event in events] == [
        h.RunScheduled(),
        h.RunStarted({"n": 1}),
        h.StepStarted("start"),
        h.TaskStarted("1:1", "charge", {"a": 1}, "start"),
        h.TaskCompleted("1:1", "charge", {"result": 6}, "start", 4),
        h.StepCompleted("start", 8),
        h.RunCompleted({"v": 6}, 120),
    ]
    assert {event.wf_id for event in events} == {"order-7"}
    assert {event.run_id for event in events} == {RUN_ID}
    assert [event.worker_id for event in events] == [None, *["w.1@host"] * 6]
    assert [event.step_name for event in events] == [None, None, *["start"] * 4, None]
    assert events[3].operation_id == events[4].operation_id == "1"
    assert events[3].timestamp == events[4].timestamp - timedelta(milliseconds=4)


def test_parallel_tasks_show_their_starts_where_they_started():
    rows = Rows()
    rows.task("1")
    rows.task("3", place=1)
    rows.task("2", place=1)
    rows.task("4", place=2)
    rows.end("start", "complete")
    assert kinds(story(rows, run()))[3:-2] == [
        "task.started 1", "task.completed 1",
        "task.started 2", "task.started 3", "task.completed 3",
        "task.started 4", "task.completed 2", "task.completed 4",
    ]  # fmt: skip


def test_calls_of_one_place_are_in_the_order_of_their_branches():
    keys = ["2", "10", "2.a#1/1", "2.a#2/1", "2.a#1/2"]
    rows = Rows()
    for key in reversed(keys):
        rows.task(key, place=0)
    starts = [k for k in kinds(story(rows.end("start", "complete"), run())) if "task.started" in k]
    order = ["2", "2.a#1/1", "2.a#1/2", "2.a#2/1", "10"]
    assert starts == [f"task.started {key}" for key in order]


def test_attempts_follow_one_start():
    failed = {"error": NO, "next_retry_delay_ms": 10, "max_attempts": 3}
    rows = Rows().task("1", "attempt_failed", body=failed)
    rows.task("1", "attempt_failed", body=failed, attempt=2, input=None)
    rows.task("1", "failed", body=NO, attempt=3, input=None)
    rows.end("start", "complete")
    events = story(rows, run())
    assert kinds(events)[3:-2] == [
        "task.started 1", "task.attempt_failed 1", "task.attempt_failed 1", "task.failed 1",
    ]  # fmt: skip
    assert events[5].msg == h.TaskAttemptFailed(
        "1:1", "charge", "start", 2, 3, ErrorDetails("ValueError", "no"), 10, 4
    )
    assert events[6].msg == h.TaskFailed(
        "1:1", "charge", "start", ErrorDetails("ValueError", "no"), 4
    )


def test_a_noted_start_is_the_start_and_not_a_second_one():
    rows = Rows().task("1", "started", place=0, body=None, micros=None)
    rows.task("2").task("1", place=0, input=None).task("1", "started", body=None, micros=None)
    assert kinds(story(rows.end("start", "complete"), run()))[3:-2] == [
        "task.started 1", "task.started 2", "task.completed 2", "task.completed 1",
    ]  # fmt: skip


def test_a_cancelled_task_says_so():
    rows = Rows().task("1", "cancelled", body='{"asked":true}').end("start", "complete")
    assert story(rows, run())[4].msg == h.TaskCancelled("1:1", "charge", "start", 4)


def test_steps_follow_each_other():
    rows = Rows().end("start", "step", body={"step": "ship"})
    rows.end("ship", "delay", cause="step", body={"step": "bill", "delay_ms": 5})
    rows.end("bill", "complete", cause="step")
    assert kinds(story(rows, run())) == [
        *BEGIN, "step.completed", "step.started", "step.completed",
        "step.started", "step.completed", "run.completed",
    ]  # fmt: skip


def test_a_wait_then_its_event_then_the_handler_as_a_step():
    rows = Rows().end("start", "wait", body={"step": "late", "delay_ms": 60_000})
    rows.end("paid", "complete", cause="event", input='{"amount":3}')
    events = story(rows, run())
    assert kinds(events) == [
        *BEGIN, "step.completed", "wait.started", "event.received",
        "step.started", "step.completed", "run.completed",
    ]  # fmt: skip
    assert events[4].msg == h.WaitStarted(60_000, "late")
    assert events[5].msg == h.EventReceived("paid", {"amount": 3})
    assert events[6].msg == h.StepStarted("paid")


def test_a_wait_that_times_out_goes_on_with_its_step():
    rows = Rows().end("start", "wait", body={"step": "late", "delay_ms": 5})
    rows.end("late", "complete", cause="timeout")
    events = story(rows, run())
    assert kinds(events)[4:7] == ["wait.started", "wait.timed_out", "step.started"]
    assert events[5].msg == h.WaitTimedOut("late")


def test_a_wait_that_times_out_without_a_step_fails_the_run():
    rows = Rows().end("start", "wait", body={"delay_ms": 5})
    rows.add("wait.timed_out", name="wait", body={"error": NO, "cause": "timeout"})
    events = story(rows, run("failed"))
    assert kinds(events)[4:] == ["wait.started", "wait.timed_out", "run.failed"]
    assert events[5].msg == h.WaitTimedOut(None)
    assert events[6].msg == h.RunFailed(ErrorDetails("ValueError", "no"), 120)


def test_an_unhandled_event_leaves_the_wait_as_it_was():
    rows = Rows().end("start", "wait")
    rows.add("event.unhandled", name="what", input="1", body={"cause": "event"})
    rows.step_no += 1
    rows.end("paid", "complete", cause="event", input="2")
    events = story(rows, run())
    assert kinds(events)[4:7] == ["wait.started", "event.unhandled", "event.received"]
    assert events[5].msg == h.EventUnhandled("what", 1)


def test_an_update_is_received_and_answered():
    rows = Rows().end("start", "wait")
    rows.end("add", "wait", cause="event", input="2", body={"answer": [5]})
    events = story(rows, run("waiting", cause=None))
    assert kinds(events)[5:] == [
        "update.received", "step.started", "step.completed", "update.answered", "wait.started",
    ]  # fmt: skip
    assert (events[5].msg, events[8].msg) == (
        h.UpdateReceived("add", 2),
        h.UpdateAnswered("add", [5]),
    )


def test_a_step_that_fails_fails_the_run():
    rows = Rows().task("1").add("step.failed", name="start", micros=9000, body={"error": NO})
    events = story(rows, run("failed"))
    assert kinds(events)[-2:] == ["step.failed", "run.failed"]
    error = ErrorDetails("ValueError", "no")
    assert events[-2].msg == h.StepFailed("start", error, 9)
    assert events[-1].msg == h.RunFailed(error, 120)


def test_ctx_next_fail_fails_the_run_and_not_the_step():
    rows = Rows().end("start", "fail", body={"error": NO})
    events = story(rows, run("failed"))
    assert kinds(events)[-2:] == ["step.completed", "run.failed"]
    assert events[-1].msg == h.RunFailed(ErrorDetails("ValueError", "no"), 110)


def test_a_retried_step_starts_once_for_each_attempt():
    failed = {"error": NO, "next_retry_delay_ms": 10, "max_attempts": 2, "cause": "event"}
    rows = Rows().end("start", "wait")
    rows.task("1").add("step.attempt_failed", name="paid", attempt=1, body=failed, input="3")
    rows.step_attempt = 2
    rows.task("2").end("paid", "complete", cause="event", input="3")
    assert kinds(story(rows, run()))[5:] == [
        "event.received",
        "step.started", "task.started 1", "task.completed 1", "step.attempt_failed",
        "step.started", "task.started 2", "task.completed 2", "step.completed", "run.completed",
    ]  # fmt: skip


def test_a_failed_run_that_was_opened_again_goes_on_at_its_step():
    rows = Rows().add("step.failed", name="start", body={"error": NO, "cause": "start"})
    rows.add("run.retried")
    rows.step_attempt = 2
    rows.end("start", "complete")
    assert kinds(story(rows, run())) == [
        *BEGIN, "step.failed", "run.failed", "run.retried",
        "step.started", "step.completed", "run.completed",
    ]  # fmt: skip


def test_a_step_that_timed_out_says_so_twice():
    rows = Rows().task("1", "started", body=None)
    rows.add("step.timeout", name="start", micros=5000, body={"cause": "start"})
    events = story(rows, run("failed"))
    assert kinds(events)[3:] == ["task.started 1", "step.timeout", "run.failed"]
    assert events[-2].msg == h.StepTimeout("start", 5)
    error = ErrorDetails(type="TimeoutError", message="step start timed out")
    assert events[-1].msg == h.RunFailed(error, 120)


def test_continue_as_new_names_the_run_that_goes_on():
    rows = Rows().end("start", "continue_as_new", body={"run_id": str(CHILD_ID)})
    assert story(rows, run("continued"))[-1].msg == h.RunContinued(CHILD_ID, 110)


# --- cancel, terminate, run timeout -------------------------------------------------------------


def test_a_cancel_takes_the_place_of_what_the_step_asked_for():
    rows = Rows().task("1").add("run.cancel_received").end("start", "wait")
    rows.add("run.cancelled", name="", body={"reason": "why", "cause": "cancel"})
    events = story(rows, run("cancelled"))
    assert kinds(events)[3:] == [
        "task.started 1", "task.completed 1", "run.cancel_received", "step.completed",
        "run.cancelled",
    ]  # fmt: skip
    assert events[-1].msg == h.RunCancelled("why", 140)


def test_a_cancel_that_the_step_did_not_see_is_received_before_its_end():
    rows = Rows().end("start", "complete")
    record = run("running", cause="cancel", cancel_requested_at=at(104))
    assert kinds(story(rows, record))[3:] == ["run.cancel_received", "step.completed"]
    rows.add("run.cancelled", name="", body={"cause": "cancel"})
    assert kinds(story(rows, run("cancelled", cancel_requested_at=at(104))))[3:] == [
        "run.cancel_received", "step.completed", "run.cancelled",
    ]  # fmt: skip


def test_a_cancel_of_a_run_that_waits_follows_its_wait():
    rows = Rows().end("start", "wait").add("run.cancelled", body={"reason": None})
    events = story(rows, run("cancelled", cause=None))
    assert kinds(events)[3:] == ["step.completed", "wait.started", "run.cancelled"]


def test_a_cancel_before_the_start_is_all_there_is():
    rows = Rows().add("run.cancelled", body={"reason": "why"})
    record = run("cancelled", started_at=None, cause=None)
    assert kinds(story(rows, record)) == ["run.scheduled", "run.cancelled"]


def test_a_run_that_timed_out_in_a_step_shows_the_step_stopped():
    rows = Rows().task("1").add("run.timeout", name="start", micros=9000, body={"cause": "start"})
    events = story(rows, run("timed_out"))
    assert kinds(events)[-2:] == ["step.cancelled", "run.timeout"]
    assert events[-1].msg == h.RunTimeout(120)


def test_a_run_that_timed_out_before_its_start_never_started():
    rows = Rows().add("run.timeout", name="", body={"cause": "run_timeout"})
    assert kinds(story(rows, run("timed_out"))) == ["run.scheduled", "run.timeout"]


def test_a_run_that_timed_out_while_it_waited_shows_no_step():
    rows = Rows().end("start", "wait").add("run.timeout", name="", body={"cause": "run_timeout"})
    assert kinds(story(rows, run("timed_out")))[-2:] == ["wait.started", "run.timeout"]


TERMINATED = {"body": {"reason": "why"}, "epoch": 2}


def test_a_terminate_in_the_first_step_shows_it_stopped():
    rows = Rows().add("run.terminated", **TERMINATED)
    events = story(rows, run("terminated"))
    assert kinds(events) == [*BEGIN, "step.cancelled", "run.terminated"]
    assert events[-1].msg == h.RunTerminated("why", 110)


def test_a_terminate_before_the_start_shows_no_step():
    rows = Rows().add("run.terminated", body={"reason": None}, epoch=1)
    record = run("terminated", started_at=None, cause=None)
    assert kinds(story(rows, record)) == ["run.scheduled", "run.terminated"]


def test_a_terminate_of_a_wait_shows_no_step():
    rows = Rows().end("start", "wait").add("run.terminated", **TERMINATED)
    record = run("terminated", cause=None, step_name=None)
    assert kinds(story(rows, record))[-2:] == ["wait.started", "run.terminated"]


@pytest.mark.parametrize(("epoch", "ran"), [(2, False), (3, True)])
def test_a_terminate_after_a_delay_shows_the_step_if_it_was_claimed(epoch, ran):
    rows = Rows().end("start", "delay", body={"step": "ship", "delay_ms": 1000})
    rows.add("run.terminated", body={"reason": None}, epoch=epoch)
    found = kinds(story(rows, run("terminated", cause="step", step_name="ship")))
    expected = ["step.started", "step.cancelled"] if ran else []
    assert found[3:] == ["step.completed", *expected, "run.terminated"]


def test_a_terminate_in_an_events_handler_shows_the_event():
    rows = Rows().end("start", "wait").task("1", epoch=2)
    rows.add("run.terminated", body={"reason": None}, epoch=3)
    record = run("terminated", cause="event", step_name=None, message_name="paid")
    assert kinds(story(rows, record))[4:] == [
        "wait.started", "event.received", "step.started", "task.started 1", "task.completed 1",
        "step.cancelled", "run.terminated",
    ]  # fmt: skip


# --- what is going on ---------------------------------------------------------------------------


def test_a_scheduled_run_has_one_event():
    record = run("scheduled", started_at=None, cause=None)
    assert kinds(story(Rows(), record)) == ["run.scheduled"]


def test_a_step_that_runs_shows_its_start_and_what_is_recorded():
    assert kinds(story(Rows(), run("running"))) == BEGIN
    rows = Rows().task("1").task("2", "started", body=None)
    events = story(rows, run("running", worker_id="w.2@host"))
    assert kinds(events)[3:] == ["task.started 1", "task.completed 1", "task.started 2"]


def test_an_event_whose_handler_runs_is_received():
    rows = Rows().end("start", "wait")
    record = run(
        "running",
        cause="event",
        step_name=None,
        message_kind="update",
        message_name="add",
        message_payload="[1]",
        message_at=at(500),
    )
    events = story(rows, record)
    assert kinds(events)[4:] == ["wait.started", "update.received", "step.started"]
    assert events[5].msg == h.UpdateReceived("add", [1])
    assert events[5].timestamp == at(500)


def test_a_timers_step_that_runs_is_named():
    rows = Rows().end("start", "wait", body={"delay_ms": 100, "step": "late"})
    events = story(rows, run("running", cause="timeout", step_name=None, wait_step="late"))
    assert events[-1].msg == h.StepStarted("late")
    assert events[-1].timestamp == at(210)


def test_a_run_that_waits_or_is_delayed_shows_no_step():
    rows = Rows().end("start", "wait")
    assert kinds(story(rows, run("waiting", cause=None)))[-1] == "wait.started"
    rows = Rows().end("start", "delay", body={"step": "ship"})
    assert kinds(story(rows, run("delayed", cause="step")))[-1] == "step.completed"


# --- other operations ---------------------------------------------------------------------------


def test_values_come_back_in_their_types():
    rows = Rows()
    rows.add("timestamp.recorded", op="1", body='"2024-05-01T12:00:00Z"')
    rows.add("random.recorded", op="2", body="0.5")
    rows.add("uuid.recorded", op="3", body=f'"{CHILD_ID}"')
    rows.add("sleep.recorded", op="4", input="1500")
    rows.add("sleep.completed", op="4")
    child = {"wf_type": "ship", "wf_id": "s-1", "input": {"a": 1}, "timeout_ms": None}
    rows.add("child.started", op="5", input=json.dumps(child), body={"run_id": str(CHILD_ID)})
    parent = {"event_name": "e", "payload": 1, "parent_wf_type": "t", "parent_wf_id": "p-1"}
    rows.add("parent.event_sent", op="6", input=json.dumps(parent))
    rows.add("message.sent", op="7", input='{"wf_id":"o-1","event_name":"e","payload":[2]}')
    rows.add("child.refused", op="8", input=json.dumps(child), body={"refused": "running"})
    rows.add("parent.refused", op="9", input=json.dumps(parent), body={"refused": "ended"})
    other = '{"wf_id":"o-1","event_name":"e","payload":[2]}'
    rows.add("message.refused", op="10", input=other, body={"refused": "unknown"})
    awaited = json.dumps({"run_id": str(CHILD_ID)})
    details = {"type": "ValueError", "message": "no"}
    for number, ending in enumerate(
        [
            {"status": "completed", "result": [1]},
            {"status": "failed", "error": {"step": "start", "error": details}},
            {"status": "failed", "error": details},
            {"timeout": 1.5},
            {"asked": True},
        ]
    ):
        rows.add("child.ended", op=str(11 + number), input=awaited, body=ending)
    rows.end("start", "complete")
    failed = h.ChildWorkflowEnded(CHILD_ID, "failed", None, ErrorDetails("ValueError", "no"))
    assert [event.msg for event in story(rows, run())][3:-2] == [
        h.TimestampRecorded(T0),
        h.RandomRecorded(0.5),
        h.UuidRecorded(CHILD_ID),
        h.SleepRecorded(1500),
        h.SleepCompleted(),
        h.ChildWorkflowStarted(CHILD_ID, "ship", "s-1", {"a": 1}),
        h.ParentEventSent("e", 1, "t", "p-1"),
        h.MessageSent("o-1", "e", [2]),
        h.ChildWorkflowRefused("ship", "s-1", "running"),
        h.ParentEventRefused("e", "t", "p-1", "ended"),
        h.MessageRefused("o-1", "e", "unknown"),
        h.ChildWorkflowEnded(CHILD_ID, "completed", [1]),
        failed,
        failed,
        h.ChildWorkflowEnded(CHILD_ID, "open", None),
        h.ChildWorkflowEnded(CHILD_ID, "open", None),
    ]


def test_rows_of_unknown_kinds_are_passed_over():
    rows = Rows().add("quark.seen", op="1", body={"a": 1}).add("child.adopted", op="2")
    rows.add("update.received", body={"what": "is this"}).end("start", "complete")
    assert kinds(story(rows, run())) == [*BEGIN, "step.completed", "run.completed"]


def test_a_step_taken_over_started_before_what_its_first_owner_recorded():
    rows = Rows().task("1")
    rows.epoch = 2
    rows.task("2", at=at(60_000)).end("start", "complete", at=at(60_010), micros=9000)
    events = story(rows, run())
    assert kinds(events)[2:] == [
        "step.started", "task.started 1", "task.completed 1", "task.started 2",
        "task.completed 2", "step.completed", "run.completed",
    ]  # fmt: skip
    assert events[2].timestamp <= events[3].timestamp == at(106)
    assert events[5].timestamp == at(59_996)


def test_a_clock_that_went_back_does_not_take_the_history_with_it():
    rows = Rows().task("1", at=at(200)).task("2", at=at(150)).end("start", "complete", at=at(90))
    assert [e.timestamp for e in story(rows, run())][-4:] == [at(200)] * 4


# --- whatever the order -------------------------------------------------------------------------


@st.composite
def parallel_calls(draw: st.DrawFn) -> list[tuple[str, str]]:
    """An interleaving of calls: ("start", key) and ("end", key), each start before its end."""
    count = draw(st.integers(1, 8))
    pending = [str(n) for n in range(1, count + 1)]
    running: list[str] = []
    steps: list[tuple[str, str]] = []
    while pending or running:
        if pending and (not running or draw(st.booleans())):
            running.append(pending.pop(0))
            steps.append(("start", running[-1]))
        else:
            steps.append(("end", running.pop(draw(st.integers(0, len(running) - 1)))))
    return steps


@given(parallel_calls(), st.data())
def test_every_interleaving_of_calls_is_told_as_it_was(steps, data):
    rows = Rows()
    places: dict[str, int] = {}
    for what, key in steps:
        seq = len(rows.rows)
        if what == "start":
            places[key] = seq
        else:
            place = None if places[key] == seq else places[key]
            duration = data.draw(st.integers(0, 10**7))
            rows.task(key, place=place, micros=duration, body=key)
    rows.end("start", "complete")
    events = story(rows, run())
    told = kinds(events)[3:-2]
    words = {"start": "task.started", "end": "task.completed"}
    assert told == [f"{words[what]} {key}" for what, key in steps]


OPERATIONS = st.sampled_from(
    ["task.completed", "task.failed", "task.cancelled", "sleep.recorded", "random.recorded"]
)
ENDS = st.sampled_from(["step", "wait", "delay"])


@given(st.lists(st.tuples(st.lists(OPERATIONS, max_size=5), ENDS), min_size=1, max_size=6))
def test_every_outcome_appears_once_and_starts_come_before_ends(steps):
    rows = Rows()
    causes = {"step": "step", "wait": "event", "delay": "step"}
    cause = "start"
    for number, (operations, end) in enumerate(steps):
        for place, kind in enumerate(operations, 1):
            body = "0.5" if kind == "random.recorded" else "{}"
            name = "t" if kind.startswith("task.") else None
            text = "7" if kind == "sleep.recorded" else "{}"
            rows.add(kind, op=str(place), name=name, body=body, input=text)
        rows.end(f"s{number}", end, cause=cause)
        cause = causes[end]
    rows.end("last", "complete", cause=cause)
    events = story(rows, run())
    stored = [row.kind for row in rows.rows]
    assert [e.kind.value for e in events if e.kind.value in set(stored)] == stored
    open_tasks: set[str] = set()
    for event in events:
        match event.kind:
            case HistoryKind.TASK_STARTED:
                open_tasks.add(event.msg.task_id)
            case HistoryKind.TASK_COMPLETED | HistoryKind.TASK_FAILED | HistoryKind.TASK_CANCELLED:
                open_tasks.remove(event.msg.task_id)
    assert not open_tasks
    step_kinds = [e.kind.value for e in events if e.kind.value.startswith("step.")]
    assert step_kinds == ["step.started", "step.completed"] * (len(steps) + 1)
