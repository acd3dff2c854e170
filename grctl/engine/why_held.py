"""Of a run that a worker holds: which one, and what it does there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from grctl.models.activity import RunningTask
from grctl.models.why import Child, Facts, Holder, Operation, Reason, ReasonKind

__all__ = ["held"]


def held(facts: Facts) -> Iterator[Reason]:
    """What the step is at, as far as is known; then the worker that executes it."""
    holder = facts.holder
    if holder is None or holder.lease_until < facts.now:
        yield _silent(facts)
        return
    if holder.stalled_since is not None:
        yield _loop_blocked(holder, facts)
    found = [_operation(each, facts) for each in facts.operations]
    if facts.activity is not None:
        # What the worker says of its tasks is more than what the tables have.
        found = [each for each in found if each.kind is not ReasonKind.TASK_RUNS]
        found += [_task(each, facts) for each in facts.activity.tasks]
    yield from sorted(found, key=lambda reason: _ORDER.index(reason.kind))
    yield from (_child_open(child) for child in facts.children if child.step is None)
    yield _worker_holds(holder, facts)


_TASK_ADVICE: Final = (
    "what does it wait for? A task without a timeout ends with its step's timeout at the latest"
)

_ORDER: Final = (ReasonKind.TASK_RUNS, ReasonKind.TASK_BACKOFF, ReasonKind.SLEEPS)


def _loop_blocked(holder: Holder, facts: Facts) -> Reason:
    return Reason(
        kind=ReasonKind.LOOP_BLOCKED,
        text=(
            f"code blocks the event loop of worker {holder.worker_id}: none of its runs moves, "
            "whichever of them it is of"
        ),
        advice=(
            "make what the stack shows a plain def task, which gets a thread, or await something "
            "in it. The worker ends itself at GRCTL_MAX_LOOP_STALL_SECONDS"
        ),
        since=holder.stalled_since,
        details={
            "worker": holder.worker_id,
            "step": facts.step_name,
            "stack": list(holder.stalled_in),
        },
    )


def _worker_holds(holder: Holder, facts: Facts) -> Reason:
    attempt = f", attempt {facts.step_attempt}" if facts.step_attempt > 1 else ""
    details: dict[str, Any] = {
        "worker": holder.worker_id,
        "step": facts.step_name,
        "attempt": facts.step_attempt,
        "cause": facts.cause,
        "operations_open": facts.operations_open,
    }
    if facts.activity is not None:
        advice = ""
        details["stack"] = list(facts.activity.stack)
        details["branches"] = [list(each) for each in facts.activity.branches]
    elif holder.stalled_since is not None:
        advice = ""  # it cannot answer, and the reason before this one says why
    elif facts.was_asked:
        advice = (
            "it was asked what it does there, and did not answer in time: its event loop is busy, "
            "or it does not reach the database. Look in its log and at its CPU"
        )
    else:
        advice = (
            "tasks are shown here once they have run for a second; code that is no task is not. "
            "`grctl why` asks the worker, where it may write to the database"
        )
    return Reason(
        kind=ReasonKind.WORKER_HOLDS,
        text=f"worker {holder.worker_id} executes step {facts.step_name!r}{attempt}",
        advice=advice,
        since=_began(facts),
        details=details,
    )


def _began(facts: Facts) -> datetime | None:
    """At the claim, or where the step before it ended and the worker went straight on."""
    moments = [facts.claimed_at, facts.ending.at if facts.ending is not None else None]
    return max((moment for moment in moments if moment is not None), default=None)


def _silent(facts: Facts) -> Reason:
    holder = facts.holder
    worker = "that is not known any more" if holder is None else holder.worker_id
    if facts.others_up:
        advice = "another worker takes its runs over, within a third of its own lease"
    else:
        advice = "no other worker is up to take its runs over: start one"
    return Reason(
        kind=ReasonKind.WORKER_SILENT,
        text=f"a worker holds the run whose lease is over: {worker}",
        advice=advice,
        since=None if holder is None else holder.lease_until,
        details={"worker": worker, "step": facts.step_name, "others_up": facts.others_up},
    )


def _operation(operation: Operation, facts: Facts) -> Reason:
    if operation.kind == "sleep.recorded":
        return Reason(
            kind=ReasonKind.SLEEPS,
            text=f"step {facts.step_name!r} sleeps (ctx.sleep)",
            since=operation.at,
            until=_after(operation),
        )
    if operation.kind == "task.attempt_failed":
        return _task_backoff(operation)
    text = f"task {operation.name!r} runs"
    if operation.epoch < facts.epoch:
        text = f"task {operation.name!r} ran when the worker before was lost, and is called again"
    return Reason(
        kind=ReasonKind.TASK_RUNS,
        text=text,
        advice=_TASK_ADVICE,
        since=operation.at,
        details={"task": operation.name, "attempt": operation.attempt},
    )


def _task(task: RunningTask, facts: Facts) -> Reason:
    attempt = f", attempt {task.attempt}" if task.attempt > 1 else ""
    return Reason(
        kind=ReasonKind.TASK_RUNS,
        text=f"task {task.name!r} runs{attempt}",
        advice=_TASK_ADVICE,
        since=facts.now - timedelta(seconds=task.seconds),
        details={"task": task.name, "attempt": task.attempt, "stack": list(task.stack)},
    )


def _task_backoff(operation: Operation) -> Reason:
    return Reason(
        kind=ReasonKind.TASK_BACKOFF,
        text=(
            f"attempt {operation.attempt} of {operation.max_attempts} of task {operation.name!r} "
            f"failed: {operation.error}"
        ),
        advice="the next attempt follows by itself; put right what the error names",
        since=operation.at,
        until=_after(operation),
        details={
            "task": operation.name,
            "attempt": operation.attempt,
            "max_attempts": operation.max_attempts,
            "error": None if operation.error is None else operation.error.to_dict(),
        },
    )


def _after(operation: Operation) -> datetime:
    return operation.at + timedelta(milliseconds=operation.delay_ms or 0)


def _child_open(child: Child) -> Reason:
    return Reason(
        kind=ReasonKind.CHILD_OPEN,
        text=f"its child {child.wf_id!r} is {child.status}: run_child waits for its end",
        advice=f"`grctl why` says what holds the child up: {child.wf_id}",
        since=child.created_at,
        details={"child": child.wf_id, "type": child.wf_type, "status": child.status.value},
    )
