"""A stored history through the code of its workflow: step by step, from the rows alone.

Each step is given its recorded rows, and the store as the steps before left it. Nothing may be
recorded: whatever the code asks for, history must have; and the step must end as it did.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from grctl.engine.codec import Codec
from grctl.engine.exceptions import capture
from grctl.engine.history_ends import END_KINDS
from grctl.engine.rows import Row
from grctl.engine.transitions import after_directive
from grctl.models.directive import Complete, ContinueAsNew, Directive, Fail
from grctl.postgres.batch import Commit
from grctl.worker import branches
from grctl.worker.context import Context, RunView
from grctl.worker.run import HeldRun, Message
from grctl.worker.scope import Scope
from grctl.worker.steps import call_for
from grctl.worker.store import Store
from grctl.workflow.workflow import Workflow
from tests.histories.stored import History
from tests.replay.clock import run_virtually

FROM_OUTSIDE = ("run.timeout", "run.terminated", "run.cancelled", "step.timeout")
"""Ends that are not the code's: after its last recorded row it went on, and was stopped."""
FIELDS = (
    "seconds_left", "cancel_reason", "parent_step", "parent_run_id", "parent_wf_id",
    "parent_wf_type", "trace",
)  # fmt: skip


@dataclass
class Step:
    """One attempt of a step: all recorded rows of the step until its end, and how it came about."""

    rows: list[Row]
    end: Row
    cause: str
    name: str

    @property
    def attempt(self) -> int:
        return self.end.step_attempt


def steps_of(history: History) -> Iterator[Step]:
    """The steps that ran, in order."""
    seen: list[Row] = []
    fresh = False
    for row in history.rows:
        if row.kind not in END_KINDS:
            seen.append(row)
            fresh = True
            continue
        if fresh or row.kind.startswith("step."):
            body = json.loads(row.body or "{}")
            record = history.record
            cause = body.get("cause") or record.cause or ""
            name = row.name or (record.message_name if cause == "event" else record.step_name) or ""
            rows = [each for each in seen if each.step_no == row.step_no]
            yield Step(rows, row, cause, name)
        fresh = False


class NothingToRecord:
    """A journal in which nothing may be written; what was asked of it is kept."""

    def __init__(self) -> None:
        self.refused: list[Row] = []

    def record(self, run: HeldRun, row: Row, *_: Any, **_more: Any) -> Commit:
        self.refused.append(row)
        return Commit(asyncio.get_running_loop(), run, row, None)  # it never comes


class Replayed:
    """A history's steps, one after the other; ``store`` is what those before have put."""

    def __init__(self, workflow: Workflow, history: History) -> None:
        self.workflow = workflow
        self.history = history
        self.store: dict[str, str] = {}

    def again(self, step: Step) -> None:
        """The next step. AssertionError where it goes another way than it was recorded."""
        main = _replay(self.workflow, self.history, step, dict(self.store))
        writes = run_virtually(main)
        if step.end.kind == "step.completed":
            for key, value in writes.items():
                if value is None:
                    self.store.pop(key, None)
                else:
                    self.store[key] = value


def check_replay(workflow: Workflow, history: History) -> set[tuple[int, str]]:
    """Every step of a history again. The operations that were asked for again, by step and key."""
    replayed = Replayed(workflow, history)
    asked: set[tuple[int, str]] = set()
    for step in steps_of(history):
        replayed.again(step)
        asked |= {(row.step_no, row.op) for row in step.rows if row.op is not None}
    return asked


async def _replay(
    workflow: Workflow, history: History, step: Step, saved: dict[str, str]
) -> dict[str, str | None]:
    """One step; what it wrote into the store."""
    loop = asyncio.get_running_loop()
    branches.install(loop)
    codec, journal = Codec(), NothingToRecord()
    run = _held(workflow, history, step, journal)
    call = call_for(workflow, run)
    assert call.handler is not None
    run.step_name = call.name

    async def load() -> dict[str, str]:
        return saved

    store = Store(codec, load)
    scope = run.scope = Scope(run, codec, step.rows, step.attempt)
    context = _context(workflow, run, scope, store)
    root = branches.start(loop, call.handler.fn(context, **call.arguments(codec)), "step")
    root.branch = scope.root
    await asyncio.wait({root}, timeout=60)
    scope.check_all_asked()
    assert root.done() or not scope.is_replaying, f"the replay of step {step.name!r} stands still"
    assert journal.refused == [], f"step {step.name!r} asks for more than its history has"
    scope.close()
    if step.end.kind in FROM_OUTSIDE:
        assert not root.done() or root.cancelled()
        root.cancel()
        await asyncio.wait({root}, timeout=60)
        return {}
    assert root.done(), f"step {step.name!r} does not end"
    _check_end(step, root)
    return {write.key: write.value for write in store.take_writes()}


def _held(workflow: Workflow, history: History, step: Step, journal: NothingToRecord) -> HeldRun:
    """The run as it was claimed for this step."""
    record, end = history.record, step.end
    given = dict.fromkeys(FIELDS)
    row = given | {
        "run_id": record.run_id,
        "wf_id": record.wf_id,
        "wf_type": workflow.workflow_type,
        "epoch": end.epoch,
        "cause": step.cause,
        "step_no": end.step_no,
        "step_name": step.name,
        "step_attempt": step.attempt,
        "crashes": 0,
        "inbox_head": 0,
        "wait_step": step.name if step.cause == "timeout" else None,
        "input": record.input,
        "created_at": record.created_at,
        "cancel_requested": False,
        "next_seq": end.seq,
        **_parent(step.rows),
    }
    run = HeldRun(row, cast("Any", journal))
    if step.cause == "event":
        kinds = {"update": workflow.updates, "event": workflow.events}
        kind = next((kind for kind, named in kinds.items() if step.name in named), "child")
        payload = end.input if end.name else record.message_payload
        run.message = Message(1, kind, step.name, payload, None)
    return run


def _parent(rows: list[Row]) -> dict[str, Any]:
    """The parent, of which only what was sent to it tells."""
    for row in rows:
        if row.kind.startswith("parent."):
            told = json.loads(row.input or "{}")
            names = {name: told[name] for name in ("parent_wf_type", "parent_wf_id")}
            return {"parent_run_id": row.run_id, **names}
    return {}


def _context(workflow: Workflow, run: HeldRun, scope: Scope, store: Store) -> Context:
    view = RunView(
        run.run_id,
        run.wf_id,
        run.wf_type,
        "running",
        run.step_attempt,
        run.created_at,
        run.step_name,
        run.parent_run_id,
        run.parent_wf_id,
        run.parent_wf_type,
    )
    # No operation gets as far as a database: that would be more than history has.
    client = SimpleNamespace(
        connection=SimpleNamespace(waiters=None), handle_of=lambda *given: given
    )
    relatives = SimpleNamespace(client=client, epoch=run.epoch)
    nothing = cast("Any", None)
    return Context(view, workflow, store, scope, nothing, nothing, cast("Any", relatives))


def _check_end(step: Step, root: asyncio.Task[Any]) -> None:
    """The step ended as it did when it was recorded."""
    body = json.loads(step.end.body or "{}")
    error = root.exception()
    if error is not None:
        found = capture(error)
        assert (found.type, found.message) == (body["error"]["type"], body["error"]["message"])
        assert step.end.kind in ("step.failed", "step.attempt_failed")
        return
    returned = root.result()
    directive, answer = returned if isinstance(returned, tuple) else (returned, None)
    assert step.end.kind == "step.completed"
    assert _next(directive) == body["next"]
    assert answer == body.get("answer")
    if body["next"] in ("step", "delay", "wait"):
        transition = after_directive(directive)
        assert (transition.step_name or transition.wait_step) == body.get("step")
        assert transition.delay_ms == body.get("delay_ms")


def _next(directive: Directive) -> str:
    names = {Complete: "complete", Fail: "fail", ContinueAsNew: "continue_as_new"}
    return names.get(type(directive)) or after_directive(directive).go
