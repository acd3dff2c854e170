"""I14: a run's history, replayed offline, asks for the same and ends the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID

from grctl.engine.history import RunRecord
from grctl.engine.rows import Row
from grctl.errors import NonDeterminismError, WorkflowAlreadyRunningError
from grctl.models.run import RunStatus
from grctl.workflow import Workflow
from tests.chaos.invariants import Violation
from tests.chaos.records import Event, Records, Run
from tests.chaos.workload import child, load, mailbox
from tests.histories.replayed import FROM_OUTSIDE, Replayed, steps_of
from tests.histories.stored import History

WORKFLOWS: dict[str, Workflow] = {wf.workflow_type: wf for wf in (load, child, mailbox)}
PLANNED = {"PlannedError"}
"""The errors that a run of the load may fail with."""


def i14_a_replay_gives_the_same(records: Records) -> Iterator[Violation]:
    """Every step that came to its end by itself, from its recorded rows alone."""
    for run_id, run in records.runs.items():
        rows = records.events.get(run_id, [])
        if run.status == "failed" and not (
            _error_type(run) in PLANNED or _went_another_way(run, rows)
        ):
            yield Violation("I14", run_id, f"it failed with {run.error}")
            continue
        history = _history(run, rows)
        replayed = Replayed(WORKFLOWS[run.wf_type], history)
        for step in steps_of(history):
            if step.end.kind in FROM_OUTSIDE:
                continue  # where its code was then, no history tells
            try:
                replayed.again(step)
            except (AssertionError, NonDeterminismError) as error:
                text = f"step {step.end.step_no} ({step.name}): {error}"
                yield Violation("I14", run_id, text.partition("\n")[0])
                break


def _error_type(run: Run) -> str:
    """Of an uncaught exception the run's row has the step, too."""
    error = run.error or {}
    return str(error.get("error", error).get("type"))


def _went_another_way(run: Run, rows: list[Event]) -> bool:
    """Whether it failed as it may: an attempt of a step asked for a child under another key than a
    former attempt that had started it. A timeout struck in the one and not in the other. Under the
    same key it has what was recorded: to be refused there would be a bug.
    """
    if _error_type(run) != WorkflowAlreadyRunningError.__name__:
        return False
    refused = [row for row in rows if row.kind == "child.refused"][-1:]
    return any(
        row.kind == "child.started"
        and (row.step_no, row.input_text) == (last.step_no, last.input_text)
        and row.step_attempt < last.step_attempt
        and row.op != last.op
        for last in refused
        for row in rows
    )


def _history(run: Run, rows: list[Event]) -> History:
    record = RunRecord(
        run_id=UUID(run.run_id),
        wf_id=run.wf_id,
        status=RunStatus(run.status),
        created_at=run.created_at,
        cause=run.cause,
        input=json.dumps(run.input),
    )
    return History(record, [_row(run, row) for row in rows])


def _row(run: Run, row: Event) -> Row:
    return Row(
        run_id=UUID(run.run_id),
        epoch=row.epoch,
        seq=row.seq,
        step_no=row.step_no,
        step_attempt=row.step_attempt,
        kind=row.kind,
        op=row.op,
        name=row.name,
        place=row.place,
        attempt=row.attempt,
        micros=row.micros,
        input=row.input_text,
        body=row.body_text,
        batch=row.batch,
        at=row.at,
    )
