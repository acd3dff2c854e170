"""What a soak says of growth; ``make soak`` is the soak."""

from __future__ import annotations

from tests.chaos.soak import MOST_GROWTH, growth


def test_what_grew_is_named_with_its_figures() -> None:
    before = dict.fromkeys(MOST_GROWTH, 100)

    assert growth({"quarter 3": before, "quarter 4": before}) == []
    assert growth({"quarter 3": before, "quarter 4": {**before, "worker MiB": 111}}) == [
        "worker MiB grew from 100 to 111"
    ]


def test_a_soak_that_is_too_short_says_so() -> None:
    assert growth({}) == ["too short to tell what grows: it needs 20 s, four looks at the gauges"]
