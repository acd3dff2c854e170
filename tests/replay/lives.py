"""A program's lives: run until it ends or its worker dies, then again from what was committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast
from uuid import UUID

from grctl.engine.codec import Codec
from grctl.engine.replay import CANCEL_RECEIVED
from grctl.errors import NonDeterminismError
from grctl.worker import branches
from grctl.worker.context import Context, RunView
from grctl.worker.run import HeldRun
from grctl.worker.scope import Scope
from grctl.workflow.workflow import Workflow
from tests.replay.clock import run_virtually
from tests.replay.journal import MemoryJournal, Table
from tests.replay.programs import Node, Seen, describe, perform
from tests.replay.world import World, enter

RUN_ID = UUID("018f0000-0000-7000-8000-000000000001")
STEP_TIMEOUT = 3600.0
HANGS = ["hangs"]
BEGAN = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


@dataclass
class Life:
    """What was seen of one life; of its outcome nothing unless it ``is_over``."""

    is_over: bool
    outcome: Any
    trace: list[Any]
    world: World


Program = Node | Callable[[Seen], Coroutine[Any, Any, Any]]
"""What is run as a step: a generated program, or a test's own coroutine function."""


def live(
    program: Program,
    table: Table,
    seed: int,
    crash_after: int | None = None,
    cancel_at: float | None = None,
) -> Life:
    """Run ``program`` on what ``table`` has, until its end or the batch ``crash_after``."""
    main = _live(program, table, Random(seed), crash_after, cancel_at)
    return run_virtually(main, start_at=table.now + Random(seed).choice((0.0, 0.01, 5.0)))


async def _live(
    program: Program, table: Table, dice: Random, crash_after: int | None, cancel_at: float | None
) -> Life:
    loop = asyncio.get_running_loop()
    branches.install(loop)
    journal = MemoryJournal(table, dice, crash_after)
    run = HeldRun(_claimed(table, cancel_at, loop.time()), cast("Any", journal))
    run.recorded = table.read(loop.time())
    for row in table.rows:
        run.resume_after(row.seq)
    scope = run.scope = Scope(run, Codec(), run.recorded, 1)
    if run.cancel_requested and not scope.has_cancel_received:
        run.record(CANCEL_RECEIVED)
    elif cancel_at is not None:
        loop.call_at(cancel_at, _request_cancel, run)
    world = World(table, dice)
    enter(world)
    seen = Seen(_context(run, scope))
    root = branches.start(loop, _step(program, seen, scope), "step")
    root.branch = scope.root
    writer = loop.create_task(journal.write())
    waited_for = {root, journal.crashed}
    await asyncio.wait(waited_for, return_when="FIRST_COMPLETED", timeout=STEP_TIMEOUT)
    outcome: Any = None
    trace = list(seen.trace)
    has_ended = root.done()
    if has_ended:
        outcome = root.result()
        await asyncio.wait(
            {run.record("step.completed"), journal.crashed}, return_when="FIRST_COMPLETED"
        )
    elif not journal.crashed.done():
        outcome = _timed_out(scope)
    writer.cancel()
    scope.close()
    journal.fence()
    await _bury(root)
    ended = any(row.kind == "step.completed" for row in table.rows)
    is_over = ended or not (has_ended or journal.crashed.done())
    return Life(is_over, outcome, trace, world)


def _claimed(table: Table, cancel_at: float | None, now: float) -> dict[str, Any]:
    """The run's row, as a claim gives it."""
    given: dict[str, Any] = dict.fromkeys(
        ("wait_step", "input", "seconds_left", "cancel_reason", "parent_run_id", "parent_wf_id",
         "parent_wf_type", "parent_step", "trace")
    )  # fmt: skip
    return given | {
        "run_id": RUN_ID,
        "wf_id": "w",
        "wf_type": "program",
        "epoch": 1 + max((row.epoch for row in table.rows), default=0),
        "cause": "start",
        "step_no": 1,
        "step_name": "start",
        "step_attempt": 1,
        "crashes": 0,
        "inbox_head": 0,
        "created_at": BEGAN,
        "cancel_requested": cancel_at is not None and cancel_at <= now,
        "next_seq": 1,
    }


def _request_cancel(run: HeldRun) -> None:
    if run.scope is not None and not run.scope.is_closed:
        run.cancel_requested = True
        run.record(CANCEL_RECEIVED)


def _context(run: HeldRun, scope: Scope) -> Context:
    view = RunView(RUN_ID, "w", "program", "running", 1, BEGAN, "start")
    loop = asyncio.get_running_loop()
    none = cast("Any", None)
    return Context(
        view,
        Workflow("program"),
        none,
        scope,
        none,
        lambda: BEGAN + timedelta(seconds=loop.time()),
        none,
    )


async def _step(program: Program, seen: Seen, scope: Scope) -> Any:
    """The step, as the executor ends it."""
    try:
        if isinstance(program, Node):
            result = await perform(program, "p", seen)
        else:
            result = await program(seen)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it ends the step
        result = describe(error)
    try:
        scope.check_all_asked()
    except Exception as error:  # noqa: BLE001 - and so does this
        result = describe(error)
    scope.close()
    return result


def _timed_out(scope: Scope) -> Any:
    """A step that its timeout stops: why, if its replay was not over."""
    try:
        scope.check_all_asked()
    except NonDeterminismError as error:
        return describe(error)
    return HANGS


async def _bury(root: asyncio.Task[Any]) -> None:
    """End what is left of a dead worker; nothing of it can be recorded."""
    for _ in range(100):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=1)
    raise AssertionError("something does not end")
