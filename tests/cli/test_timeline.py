"""A history as lines for people."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from grctl.cli.timeline import render
from grctl.cli.words import duration
from grctl.models import ErrorDetails, HistoryEvent, HistoryKind
from grctl.models import history as h
from grctl.models.history import KIND_OF, MESSAGE_CLASSES

RUN_ID = UUID("01890000-0000-7000-8000-000000000001")
T0 = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
SAMPLES: dict[str, Any] = {
    "UUID": RUN_ID,
    "datetime": T0,
    "ErrorDetails": ErrorDetails("ValueError", "no"),
    "int": 1500,
    "int | None": None,
    "str": "x",
    "str | None": None,
    "float": 0.5,
}


def event(msg: h.HistoryMessage, ms: int = 0) -> HistoryEvent:
    at = T0 + timedelta(milliseconds=ms)
    return HistoryEvent("order-7", RUN_ID, 1, at, KIND_OF[type(msg)], msg)


def test_a_timeline_says_when_what_and_how_long():
    error = ErrorDetails("ValueError", "n\n  o")
    events = [
        event(h.RunScheduled()),
        event(h.RunStarted({"n": 1}), 4),
        event(h.StepStarted("start"), 5),
        event(h.TaskStarted("1:1", "charge", {"amount": 3}, "start"), 6),
        event(h.TaskAttemptFailed("1:1", "charge", "start", 1, 3, error, 9, 7), 13),
        event(h.TaskCompleted("1:1", "charge", {"result": "ok"}, "start", 90), 203),
        event(h.StepCompleted("start", 198), 204),
        event(h.RunCompleted(None, 204), 204),
    ]
    assert render(events, color=False).splitlines() == [
        "order-7  (run 01890000-0000-7000-8000-000000000001)",
        "   +0.000 s  ○ run scheduled",
        "   +0.004 s  ● run started  n=1",
        "   +0.005 s    ▶ step start",
        "   +0.006 s      · charge(amount=3)",
        "   +0.013 s      ↻ charge attempt 1 of 3 failed after 7 ms, next in 9 ms: ValueError: n o",
        '   +0.203 s      ✔ charge  90 ms  → "ok"',
        "   +0.204 s    ✔ step start done in 198 ms",
        "   +0.204 s  ✔ run completed in 204 ms",
    ]


@pytest.mark.parametrize("kind", HistoryKind)
def test_every_kind_has_its_line(kind):
    cls = MESSAGE_CLASSES[kind]
    values = {f.name: SAMPLES.get(str(f.type), {"result": "v"}) for f in fields(cls)}
    (_, line) = render([event(cls(**values))], color=False).splitlines()
    assert line.startswith("   +0.000 s  ")
    assert "\x1b" not in line
    assert "\x1b[2m   +0.000 s  \x1b[0m" in render([event(cls(**values))], color=True)


def test_a_line_is_cut_to_its_width():
    long = event(h.TaskStarted("1:1", "charge", {"text": "x" * 500}, "start"))
    line = render([long], color=False, width=60).splitlines()[1]
    assert len(line) == 60
    assert line.endswith("…")
    assert "x" * 500 in render([long], color=False, width=1000)


def test_nothing_in_it_steers_a_terminal():
    evil = "\x1b[31m\x07\u202e\ud800\n\r\x9b1m"
    events = [
        event(h.TaskStarted(evil, evil, {evil: evil}, evil)),
        event(h.RunFailed(ErrorDetails(evil, evil), 1)),
        event(h.EventReceived(evil, evil)),
    ]
    text = render(events, color=False)
    assert len(text.splitlines()) == 4
    assert all(line.isprintable() for line in text.splitlines())


def test_a_run_of_hours_has_hours():
    line = render([event(h.RunScheduled()), event(h.RunTimeout(9_000_000), 9_000_000)], color=False)
    assert "+2:30:00 h  ✘ run timed out after 2 h 30 min" in line


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1250, "1.25 s"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
    ],
)
def test_durations_read_as_people_say_them(milliseconds, text):
    assert duration(milliseconds) == text


def test_no_events_are_no_error():
    assert render([], color=False) == "no history"
