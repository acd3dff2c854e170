"""A step's recorded past: handed out in its order and groups, and compared with what is asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from grctl.engine.codec import same_json
from grctl.engine.replay import CANCEL_ASKED, CANCEL_RECEIVED, Replay
from grctl.engine.rows import Row
from grctl.errors import NonDeterminismError

RUN_ID = UUID(int=1)


def row(kind: str, op: str | None, batch: int = 1, **more: Any) -> Row:
    given = {"epoch": 1, "seq": 1, "step_no": 1, "step_attempt": 1, "name": None, **more}
    return Row(run_id=RUN_ID, kind=kind, op=op, batch=batch, **given)


def done(op: str, batch: int = 1, name: str = "pay", input: str = "{}", **more: Any) -> Row:
    return row("task.completed", op, batch, name=name, input=input, body='"ok"', **more)


def replay_of(*rows: Row, step_attempt: int = 1) -> Replay:
    return Replay(rows, step_attempt, same_json)


def ask(replay: Replay, key: str, name: str = "pay", input: str = "{}") -> Any:
    return replay.ask(key, "task", name, input)


def keys(group: Any) -> list[str] | None:
    return None if group is None else [recorded.key for recorded in group]


def test_a_new_operation_has_no_past():
    replay = replay_of(done("1"))

    assert ask(replay, "2") is None


def test_an_outcome_is_found_by_its_key():
    replay = replay_of(done("1"), done("2", name="ship"))

    assert ask(replay, "2", "ship").outcome.name == "ship"


def test_outcomes_of_one_batch_are_handed_out_together_in_their_order():
    replay = replay_of(done("b"), done("a"), done("c", batch=2))
    for key in "abc":
        ask(replay, key)

    assert keys(replay.next_group()) == ["b", "a"]
    assert keys(replay.next_group()) == ["c"]
    assert replay.next_group() is None


def test_batches_of_two_owners_are_two_groups_though_numbered_alike():
    replay = replay_of(done("a"), done("b", epoch=2))
    ask(replay, "a")
    ask(replay, "b")

    assert keys(replay.next_group()) == ["a"]
    assert keys(replay.next_group()) == ["b"]


def test_a_group_waits_until_all_of_it_was_asked_for():
    replay = replay_of(done("a"), done("b"))
    ask(replay, "b")

    assert replay.next_group() is None
    ask(replay, "a")
    assert keys(replay.next_group()) == ["a", "b"]


def test_a_later_group_does_not_overtake_an_earlier_one():
    replay = replay_of(done("a"), done("b", batch=2))
    ask(replay, "b")

    assert replay.next_group() is None


@pytest.mark.parametrize("kind", ["task.cancelled", "sleep.completed", "child.ended"])
def test_a_cancellation_by_the_code_waits_until_the_code_asks_again(kind: str):
    operation = {"task.cancelled": "task", "sleep.completed": "sleep", "child.ended": "await_child"}
    replay = replay_of(row(kind, "a", input="{}", body=CANCEL_ASKED))
    recorded = replay.ask("a", operation[kind], None, "{}")
    assert recorded is not None
    assert replay.next_group() is None

    recorded.awaits_cancel = False

    assert keys(replay.next_group()) == ["a"]


def test_a_result_that_looks_like_a_cancellation_is_none():
    replay = replay_of(
        row("task.completed", "a", name="pay", input="{}", body=CANCEL_ASKED),
    )
    ask(replay, "a")

    assert keys(replay.next_group()) == ["a"]


def test_a_request_to_cancel_the_run_has_its_place_among_the_outcomes():
    replay = replay_of(done("a"), row(CANCEL_RECEIVED, None, 2), done("b", batch=3))
    ask(replay, "a")
    ask(replay, "b")
    assert replay.has_cancel_received

    assert keys(replay.next_group()) == ["a"]
    assert [each.kind for each in replay.next_group() or ()] == [CANCEL_RECEIVED]
    assert not replay.has_cancel_received
    assert keys(replay.next_group()) == ["b"]


def test_failed_attempts_and_a_start_are_no_outcomes_but_must_be_asked_for():
    replay = replay_of(
        row("task.started", "1", name="pay", input="{}"),
        row("task.attempt_failed", "1", name="pay", attempt=1),
        row("task.attempt_failed", "1", name="pay", attempt=2),
        row("sleep.recorded", "2", input="5"),
    )
    assert not replay.is_over

    recorded = ask(replay, "1")
    asleep = replay.ask("2", "sleep", None, "5")

    assert recorded.outcome is None
    assert [each.attempt for each in recorded.failed_attempts] == [1, 2]
    assert recorded.start.kind == "task.started"
    assert asleep is not None
    assert asleep.start is not None
    assert replay.is_over


def test_rows_that_are_no_operations_are_nothing_to_replay():
    assert replay_of(row("step.attempt_failed", None), row("event.unhandled", None)).is_empty


def test_equal_inputs_may_be_written_differently():
    replay = replay_of(done("1", input='{"a": 1, "b": [2]}'))

    assert ask(replay, "1", input='{"b":[2],"a":1}') is not None


@pytest.mark.parametrize("text", ['{"a":1.0}', '{"a":true}', '{"a":"1"}', '{"a":1,"b":2}', "{}"])
def test_another_input_is_found_out(text: str):
    replay = replay_of(done("1", input='{"a":1}'))

    with pytest.raises(NonDeterminismError):
        ask(replay, "1", input=text)


def test_the_error_says_what_history_has_what_was_asked_for_and_where():
    replay = replay_of(done("0.work#2/3", name="pay", input='{"amount":5}'))

    with pytest.raises(NonDeterminismError) as caught:
        ask(replay, "0.work#2/3", "refund", '{"amount":6}')

    text = str(caught.value)
    assert "at place 3 of branch '0.work#2'" in text
    assert "history has task 'pay' with input {\"amount\":5}" in text
    assert "the code asked for task 'refund' with input {\"amount\":6}" in text
    assert "restore the code" in text


def test_another_kind_under_the_same_key_is_found_out():
    replay = replay_of(row("uuid.recorded", "1", body='"x"'))

    with pytest.raises(NonDeterminismError, match="history has uuid4, but the code asked for now"):
        replay.ask("1", "now", None, None)


def test_a_long_input_is_shown_in_part():
    replay = replay_of(done("1", input=f'"{"x" * 10_000}"'))

    with pytest.raises(NonDeterminismError) as caught:
        ask(replay, "1")

    assert len(str(caught.value)) < 1000
    assert "10002 characters" in str(caught.value)


def test_after_the_error_nothing_more_can_be_asked_for_and_the_step_cannot_end_well():
    replay = replay_of(done("1"), done("2"))
    with pytest.raises(NonDeterminismError, match="refund"):
        ask(replay, "1", "refund")

    for key in ("2", "3"):
        with pytest.raises(NonDeterminismError, match="refund"):
            ask(replay, key)
    with pytest.raises(NonDeterminismError, match="refund"):
        replay.check_all_asked("start")


def test_a_step_that_asks_for_less_than_history_has_cannot_end_well():
    replay = replay_of(done("1"), done("2", name="ship"), done("3", name="thank"))
    ask(replay, "1")

    with pytest.raises(NonDeterminismError) as caught:
        replay.check_all_asked("order")

    assert "step 'order' ended without asking for what history has" in str(caught.value)
    assert "task 'ship' with input {} at place 2 of the step, and 1 more" in str(caught.value)


def test_a_step_that_asked_for_all_may_end():
    replay = replay_of(done("1"))
    ask(replay, "1")

    replay.check_all_asked("order")


def test_a_replay_says_what_it_waits_for():
    cancelled = row("task.cancelled", "2", 2, name="pay", input="{}", body=CANCEL_ASKED)
    replay = replay_of(done("1", name="ship"), cancelled)
    assert replay.waits_for == "a call of task 'ship' with input {} at place 1 of the step"
    ask(replay, "1", "ship")
    replay.next_group()
    ask(replay, "2")

    assert replay.waits_for == "a cancellation of task 'pay' with input {} at place 2 of the step"
    assert replay.left == 1


# --- a step that is tried again ---


def test_what_an_earlier_attempt_of_the_step_completed_answers_the_same_call():
    replay = replay_of(done("1", step_attempt=1), step_attempt=2)
    recorded = ask(replay, "1")

    assert recorded.outcome.kind == "task.completed"
    assert replay.is_carried(recorded)
    assert replay.is_over


def test_another_call_in_a_later_attempt_is_simply_new():
    replay = replay_of(done("1", step_attempt=1), step_attempt=2)

    assert ask(replay, "1", "refund") is None
    replay.check_all_asked("order")


@pytest.mark.parametrize(
    "outcome",
    [
        row("task.failed", "1", name="pay", input="{}", body="{}"),
        row("task.cancelled", "1", name="pay", input="{}", body="{}"),
    ],
)
def test_what_went_wrong_in_an_earlier_attempt_is_done_again(outcome: Row):
    assert ask(replay_of(outcome, step_attempt=2), "1") is None


def test_a_refused_start_or_a_cancelled_sleep_of_an_earlier_attempt_is_done_again():
    replay = replay_of(
        row("child.refused", "1", name="order", input="{}", body="{}"),
        row("sleep.recorded", "2", input="5"),
        row("sleep.completed", "2", body=CANCEL_ASKED),
        step_attempt=2,
    )

    assert replay.ask("1", "start_child", "order", "{}") is None
    assert replay.ask("2", "sleep", None, "5") is None


@pytest.mark.parametrize(
    ("body", "is_kept"),
    [
        ('{"status":"completed","result":1}', True),
        ('{"status":"failed","error":{}}', False),
        ('{"status":"cancelled"}', False),
        ('{"timeout":0.5}', False),
    ],
)
def test_a_child_of_an_earlier_attempt_is_waited_for_anew_unless_it_completed(
    body: str, is_kept: bool
):
    replay = replay_of(row("child.ended", "2", input="{}", body=body), step_attempt=2)

    assert (replay.ask("2", "await_child", None, "{}") is not None) is is_kept


def test_a_task_that_succeeded_at_its_second_attempt_is_kept_for_the_steps_second_attempt():
    replay = replay_of(
        row("task.attempt_failed", "1", name="pay", input="{}", attempt=1),
        row("task.completed", "1", 2, name="pay", body='"ok"', attempt=2),
        row("sleep.recorded", "2", 3, input="5"),
        row("sleep.completed", "2", 4),
        step_attempt=2,
    )

    assert ask(replay, "1").outcome.body == '"ok"'
    assert replay.ask("2", "sleep", None, "5") is not None


def test_of_several_earlier_attempts_the_last_that_went_well_counts():
    replay = replay_of(
        done("1", step_attempt=1, input="1"),
        done("1", 2, step_attempt=2, input="2"),
        row("task.failed", "1", 3, step_attempt=3, name="pay", input="3"),
        step_attempt=4,
    )

    assert ask(replay, "1", input="2") is not None
    assert ask(replay, "1", input="1") is None


def test_the_current_attempts_own_record_comes_before_an_earlier_ones():
    replay = replay_of(
        done("1", step_attempt=1, input="1"),
        done("1", 2, step_attempt=2, input="2"),
        step_attempt=2,
    )

    with pytest.raises(NonDeterminismError):
        ask(replay, "1", input="1")
