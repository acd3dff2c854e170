"""For every program, crashed after any batches: it goes on as if it had never stopped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replay.checks import check_replay, outcomes, run_through
from tests.replay.journal import Table
from tests.replay.lives import live
from tests.replay.programs import CALM_PROGRAMS, PROGRAMS, Node, changed

SEEDS = st.integers(0, 2**32)
CRASHES = st.lists(st.integers(1, 6), max_size=4)
CANCELS = st.one_of(st.none(), st.none(), st.sampled_from([0.0, 0.005, 0.05, 1.0]))


def check(program: Node, seed: int, crashes: list[int], cancel_at: float | None) -> None:
    life, table = run_through(program, seed, crashes, cancel_at)
    check_replay(program, life, table, seed + 1000, cancel_at)


@given(PROGRAMS, SEEDS, CRASHES, CANCELS)
@settings(max_examples=300)
def test_a_crashed_step_goes_on_where_it_was(
    program: Node, seed: int, crashes: list[int], cancel_at: float | None
):
    check(program, seed, crashes, cancel_at)


@pytest.mark.chaos
@given(PROGRAMS, SEEDS, CRASHES, CANCELS)
@settings(max_examples=5000)
def test_a_crashed_step_goes_on_where_it_was_in_thousands_of_programs(
    program: Node, seed: int, crashes: list[int], cancel_at: float | None
):
    check(program, seed, crashes, cancel_at)


@given(CALM_PROGRAMS, SEEDS, SEEDS, CRASHES)
@settings(max_examples=200)
def test_what_depends_on_no_order_is_recorded_the_same_in_every_run(
    program: Node, seed: int, other_seed: int, crashes: list[int]
):
    life, table = run_through(program, seed, [])
    crashed, other = run_through(program, other_seed, crashes)

    assert crashed.outcome == life.outcome
    assert outcomes(other) == outcomes(table)


@given(st.data(), PROGRAMS, SEEDS, st.integers(1, 8))
@settings(max_examples=300)
def test_changed_code_is_found_out_or_makes_no_difference(
    data: st.DataObject, program: Node, seed: int, crash_after: int
):
    table = Table()
    live(program, table, seed, crash_after)
    known_ops = {row.op for row in table.rows}
    rows = len(table.rows)
    life = live(data.draw(changed(program)), table, seed + 1)

    found_out = _is_error(life.outcome, "NonDeterminismError") or life.outcome == ["hangs"]
    if not found_out:
        assert not life.world.done_again, "done twice, in silence"
    again = [row.op for row in table.rows[rows:] if row.op in known_ops and row.input is not None]
    assert not again, "what has a record is not recorded anew"


def _is_error(outcome: Any, name: str) -> bool:
    return isinstance(outcome, list) and outcome[:1] == [name]
