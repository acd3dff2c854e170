"""Ages, and which ended run is kept how long."""

from __future__ import annotations

from datetime import timedelta

import pytest

from grctl.ages import ENDED_STATUSES, OTHER_ROWS, parse_age, parse_retention
from grctl.models.run import RunStatus


def test_the_statuses_are_those_of_runs_that_are_over():
    assert set(ENDED_STATUSES) == {status.value for status in RunStatus if status.is_ended}


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        (" 15m ", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("8w", timedelta(weeks=8)),
        ("0s", timedelta(0)),
    ],
)
def test_an_age(text: str, age: timedelta):
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "30 days", "1y"])
def test_what_is_no_age(text: str):
    with pytest.raises(ValueError, match="such as 30d"):
        parse_age(text)


def test_a_retention_names_statuses_and_all_stands_for_the_others():
    assert parse_retention("completed=30d, failed=90d") == {
        "completed": timedelta(days=30),
        "failed": timedelta(days=90),
    }
    ages = parse_retention("all=7d,failed=90d")
    assert ages.keys() == set(ENDED_STATUSES)
    assert ages["failed"] == timedelta(days=90)
    assert ages["continued"] == timedelta(days=7)
    assert parse_retention("") == {}


def test_workers_and_audit_are_kept_unless_they_are_named():
    assert not set(OTHER_ROWS) & parse_retention("all=7d").keys()
    assert parse_retention("workers=1d,audit=8w") == {
        "workers": timedelta(days=1),
        "audit": timedelta(weeks=8),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("completed", "STATUS=AGE"),
        ("waiting=1d", "'waiting' is none of completed"),
        ("completed=1d,completed=2d", "completed is there twice"),
        ("completed=soon", "such as 30d"),
    ],
)
def test_what_is_no_retention(text: str, said: str):
    with pytest.raises(ValueError, match=said):
        parse_retention(text)
