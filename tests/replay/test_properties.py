"""For every program, crashed after any batches: it goes on as if it had never stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from grctl.engine.rows import Row
from tests.replay.journal import Table
from tests.replay.lives import Life, live
from tests.replay.programs import CALM_PROGRAMS, PROGRAMS, Node

SEEDS = st.integers(0, 2**32)
CRASHES = st.lists(st.integers(1, 6), max_size=4)
CANCELS = st.one_of(st.none(), st.none(), st.sampled_from([0.0, 0.005, 0.05, 1.0]))
BROKEN = ("NonDeterminismError", "hangs", "RuntimeError", "InvalidStateError", "KeyError")


def check_life(life: Life, before: list[Row], table: Table) -> None:
    assert [_kept(row) for row in table.rows[: len(before)]] == [_kept(row) for row in before]
    assert [row.seq for row in table.rows] == list(range(1, len(table.rows) + 1))
    assert not life.world.done_again
    if life.is_over and isinstance(life.outcome, list) and life.outcome:
        assert life.outcome[0] not in BROKEN, life.outcome


def run_through(
    program: Node, seed: int, crashes: list[int], cancel_at: float | None
) -> tuple[Life, Table]:
    """Life after life, each as long as the next of ``crashes`` says, until one ends by itself."""
    table = Table()
    seen: list[Any] = []
    for number, crash_after in enumerate([*crashes, None]):
        before = list(table.rows)
        life = live(program, table, seed + number, crash_after, cancel_at)
        note(f"life {number}: {life.outcome} {life.trace}")
        check_life(life, before, table)
        known = min(len(seen), len(life.trace))
        assert life.trace[:known] == seen[:known]
        if life.is_over:
            break
        seen = max(seen, life.trace, key=len)
    return life, table


def check_replay(program: Node, life: Life, table: Table, seed: int, cancel_at: Any) -> None:
    """All of a history again: nothing is done, nothing recorded, and everything seen the same."""
    rows = [row for row in table.rows if not row.kind.startswith("step.")]
    copy = Table([replace(row) for row in rows], table.now)
    again = live(program, copy, seed, None, cancel_at)
    note(f"replay: {again.outcome} {again.trace}")
    assert again.is_over
    assert again.outcome == life.outcome
    assert again.trace == life.trace
    new = [row for row in copy.rows[len(rows) :] if not row.kind.startswith("step.")]
    known = {row.op for row in rows}
    assert not [row for row in new if row.op in known and _is_outcome(row) and _had(rows, row)]


def _is_outcome(row: Row) -> bool:
    return row.kind in ("task.completed", "task.failed", "task.cancelled", "sleep.completed")


def _had(rows: list[Row], row: Row) -> bool:
    return any(each.op == row.op and _is_outcome(each) for each in rows)


def _kept(row: Row) -> Any:
    return (row.seq, row.epoch, row.batch, row.kind, row.op, row.name, row.input, row.body)


def check(program: Node, seed: int, crashes: list[int], cancel_at: float | None) -> None:
    life, table = run_through(program, seed, crashes, cancel_at)
    for row in table.rows:
        note(str(_kept(row)))
    check_replay(program, life, table, seed + 1000, cancel_at)


@given(PROGRAMS, SEEDS, CRASHES, CANCELS)
@settings(max_examples=300)
def test_a_crashed_step_goes_on_where_it_was(
    program: Node, seed: int, crashes: list[int], cancel_at: float | None
) -> None:
    check(program, seed, crashes, cancel_at)


@pytest.mark.slow
@given(PROGRAMS, SEEDS, CRASHES, CANCELS)
@settings(max_examples=5000)
def test_a_crashed_step_goes_on_where_it_was_thoroughly(
    program: Node, seed: int, crashes: list[int], cancel_at: float | None
) -> None:
    check(program, seed, crashes, cancel_at)


def _outcomes(table: Table) -> Any:
    """What was recorded, by key, without order, time and owner."""
    return sorted(
        (row.op, row.kind, row.name, row.input or "", row.body or "")
        for row in table.rows
        if row.op and row.kind != "task.attempt_failed"
    )


@given(CALM_PROGRAMS, SEEDS, SEEDS, CRASHES)
@settings(max_examples=200)
def test_what_depends_on_no_order_is_recorded_the_same_in_every_run(
    program: Node, seed: int, other_seed: int, crashes: list[int]
) -> None:
    life, table = run_through(program, seed, [], None)
    crashed, other = run_through(program, other_seed, crashes, None)
    assert crashed.outcome == life.outcome
    assert [_stripped(each) for each in _outcomes(other)] == [
        _stripped(each) for each in _outcomes(table)
    ]


def _stripped(outcome: Any) -> Any:
    """Without the traceback's text, which shows line numbers and addresses."""
    op, kind, name, given_input, body = outcome
    return (op, kind, name, given_input, body.partition('"stack_trace"')[0])
