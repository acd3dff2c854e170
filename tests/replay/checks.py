"""What must hold of every life of a step, and of its history read again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from grctl.engine.rows import Row
from tests.replay.journal import Table
from tests.replay.lives import HANGS, Life, Program, live

BROKEN = ("NonDeterminismError", *HANGS, "RuntimeError", "InvalidStateError", "KeyError")
"""Outcomes that no program here has by itself."""
OUTCOMES = ("task.completed", "task.failed", "task.cancelled", "sleep.completed")


def run_through(
    program: Program, seed: int, crashes: list[int], cancel_at: float | None = None
) -> tuple[Life, Table]:
    """Life after life, each as long as the next of ``crashes`` says, until one ends by itself."""
    table = Table()
    seen: list[Any] = []
    for number, crash_after in enumerate([*crashes, None]):
        before = list(table.rows)
        life = live(program, table, seed + number, crash_after, cancel_at)
        _check_life(life, before, table)
        known = min(len(seen), len(life.trace))
        assert life.trace[:known] == seen[:known], "what was seen before a crash is seen again"
        if life.is_over:
            break
        seen = max(seen, life.trace, key=len)
    return life, table


def check_replay(
    program: Program, life: Life, table: Table, seed: int, cancel_at: float | None = None
) -> None:
    """All of a history again: nothing is done, nothing recorded, and everything seen the same."""
    rows = [row for row in table.rows if row.kind != "step.completed"]
    copy = Table([replace(row) for row in rows], table.now)
    again = live(program, copy, seed, None, cancel_at)
    _check_life(again, rows, copy)
    assert again.is_over
    assert again.outcome == life.outcome
    assert again.trace == life.trace


def _check_life(life: Life, before: list[Row], table: Table) -> None:
    rows = table.rows
    assert [known(row) for row in rows[: len(before)]] == [known(row) for row in before]
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert not life.world.done_again, "a task was begun whose outcome was committed"
    ends = [row.op for row in rows if row.kind in OUTCOMES]
    assert len(set(ends)) == len(ends), "an operation has one outcome"
    assert "helper" not in {row.name for row in rows}, "a body's calls are not the step's"
    if life.is_over and isinstance(life.outcome, list) and life.outcome:
        assert life.outcome[0] not in BROKEN, life.outcome


def known(row: Row) -> Any:
    """What a later life knows of a row."""
    return (row.seq, row.epoch, row.batch, row.kind, row.op, row.name, row.input, row.body)


def outcomes(table: Table) -> Any:
    """What was recorded, by key, without order, time, owner and the text of tracebacks."""
    return sorted(
        (row.op, row.kind, row.name or "", row.input or "", _without_traceback(row.body or ""))
        for row in table.rows
        if row.op and row.kind != "task.attempt_failed"
    )


def _without_traceback(body: str) -> str:
    before, _, after = body.partition('"stack_trace":"')
    return before + after.partition('","')[2]
