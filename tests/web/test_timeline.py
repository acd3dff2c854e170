"""The picture of a run, on the golden histories and on long ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from grctl.engine.history import expand
from grctl.models.history import KIND_OF, HistoryEvent
from grctl.models.messages import (
    RunScheduled,
    RunStarted,
    StepCompleted,
    StepStarted,
    TaskCompleted,
    TaskStarted,
    WaitStarted,
)
from grctl.web.timeline.picture import OPENED_ROWS, PARTS, ROWS, Picture, draw
from grctl.web.timeline.story import Look, Part
from grctl.web.timeline.telling import tell
from tests.histories.stored import HERE, read

NAMES = sorted(path.stem for path in HERE.glob("*.json"))
T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


def told(name: str) -> list[Part]:
    history, _ = read(name)
    return tell(expand(history.rows, history.record))


def drawn(parts: list[Part], now: datetime, **more: object) -> Picture:
    picture = draw(parts, now, is_open=False, **more)
    assert picture is not None
    return picture


def event(message: object, seconds: float, op: str | None = None) -> HistoryEvent:
    at = T0 + timedelta(seconds=seconds)
    return HistoryEvent("w", UUID(int=1), 0, at, KIND_OF[type(message)], message, op)


def many_tasks(count: int) -> list[HistoryEvent]:
    events = [event(RunScheduled(), 0), event(RunStarted(None), 0), event(StepStarted("s"), 0)]
    for n in range(count):
        events.append(event(TaskStarted(f"1:{n}", "add", {"n": n}, "s"), n, str(n)))
        done = TaskCompleted(f"1:{n}", "add", {"result": n}, "s", 500)
        events.append(event(done, n + 0.5, str(n)))
    return [*events, event(StepCompleted("s", count * 1000), count)]


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_drawn_is_in_the_picture(name: str):
    parts = told(name)
    end = max(part.span.end or part.span.start for part in parts)
    picture = drawn(parts, end)
    places = [band.bar for band in picture.bands]
    places += [bar for band in picture.bands for row in band.rows for bar in row.bars]
    assert places
    assert all(0 <= bar.x <= 100 and bar.width > 0 and bar.x + bar.width < 100.5 for bar in places)
    xs = [band.bar.x for band in picture.bands]
    assert xs == sorted(xs)


@pytest.mark.parametrize("name", NAMES)
def test_every_event_of_a_history_belongs_to_a_part(name: str):
    history, public = read(name)
    parts = tell(expand(history.rows, history.record))
    seen = sorted(each.seq for part in parts for each in part.events)
    assert seen == [each["seq"] for each in public]


def test_attempts_and_backoffs_of_a_task_are_in_one_line():
    _, step = told("task_retried")
    (line,) = step.lines
    looks = [span.look for span in line.spans]
    failed = [Look.FAILED, Look.BACKOFF]
    assert looks == [*failed, *failed, Look.DONE]
    assert line.look is Look.DONE
    (row,) = drawn(told("task_retried"), T0).bands[-1].rows
    assert row.attempts == 3


def test_a_step_that_is_tried_again_is_two_parts_with_a_backoff_between():
    parts = [part for part in told("step_retried") if part.name in ("stubborn", "backoff")]
    assert [(part.look, part.attempt) for part in parts] == [
        (Look.FAILED, 1),
        (Look.BACKOFF, 1),
        (Look.DONE, 2),
    ]


def test_parallel_calls_lie_side_by_side():
    events = many_tasks(0)[:-1]
    for op in ("1", "2"):
        events.append(event(TaskStarted(f"1:{op}", "add", {}, "s"), 0.1, op))
    for op in ("1", "2"):
        events.append(event(TaskCompleted(f"1:{op}", "add", {}, "s", 900), 1, op))
    picture = drawn(tell(events), T0 + timedelta(seconds=2))
    first, second = picture.bands[-1].rows
    assert (first.bars[0].x, first.bars[0].width) == (second.bars[0].x, second.bars[0].width)


def test_what_runs_now_grows_to_the_present():
    events = many_tasks(0)[:-1]
    events.append(event(TaskStarted("1:1", "add", {}, "s"), 1, "1"))
    picture = draw(tell(events), T0 + timedelta(seconds=4), is_open=True)
    (bar,) = picture.bands[-1].rows[0].bars
    assert bar.is_open
    assert (bar.x, bar.x + bar.width) == (25, 100)
    assert picture.now == 100


def test_days_of_waiting_do_not_press_the_work_together():
    events = [*many_tasks(2), event(WaitStarted(None, None), 2)]
    picture = draw(tell(events), T0 + timedelta(days=3), is_open=True)
    (cut,) = picture.cuts
    assert cut.words == "2 d 23 h"
    assert cut.width < 10
    assert picture.bands[1].bar.width > 85


def test_ten_thousand_events_make_a_small_picture():
    picture = drawn(tell(many_tasks(5_000)), T0 + timedelta(seconds=5_000))
    step = picture.bands[-1]
    assert [row.folded for row in step.rows] == [5_000]
    assert len(step.rows[0].bars) <= ROWS * 10
    opened = drawn(tell(many_tasks(5_000)), T0, opened=step.number, page=2)
    assert len(opened.bands[0].rows) == OPENED_ROWS
    assert (opened.page.number, opened.page.count) == (2, 25)


def test_many_steps_come_in_pages_and_an_open_run_shows_its_last():
    events = [event(RunScheduled(), 0)]
    for n in range(150):
        events += [event(StepStarted(f"s{n}"), n), event(StepCompleted(f"s{n}", 1000), n + 1)]
    parts = tell(events)
    first = drawn(parts, T0 + timedelta(seconds=150))
    last = draw(parts, T0 + timedelta(seconds=150), is_open=True)
    assert len(first.bands) == PARTS
    assert last.bands[-1].name == "s149"
