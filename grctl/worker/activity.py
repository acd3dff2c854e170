"""What this worker does in a run just now, for who asks why it does not move."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from grctl.models.activity import Activity, RunningTask
from grctl.worker import stacks

if TYPE_CHECKING:
    from grctl.worker.executor import Executor
    from grctl.worker.scope import ActiveCall

__all__ = ["activity_of"]

MOST_TOLD = 20
"""Tasks, and branches; the others are not told."""


def activity_of(executor: Executor | None) -> Activity:
    """Of the run that the executor has; None: of one that is not held (any more)."""
    scope = None if executor is None else executor.run.scope
    if executor is None or scope is None:
        return Activity(is_held=executor is not None)
    calls = list(scope.active.values())
    busy = {call.task for call in calls}
    waiting = [task for task in scope.spawned_tasks() if task not in busy]
    return Activity(
        is_held=True,
        seconds=monotonic() - executor.began,
        stack=tuple(stacks.of_task(executor.task)),
        tasks=tuple(_running(call) for call in calls[:MOST_TOLD]),
        branches=tuple(tuple(stacks.of_task(task)) for task in waiting[:MOST_TOLD]),
    )


def _running(call: ActiveCall) -> RunningTask:
    spec = call.spec
    stack = [] if call.task is None else stacks.of_task(call.task)
    if not spec.is_async:
        stack = stacks.of_function(spec.fn) or stack
    return RunningTask(
        name=spec.name,
        attempt=call.attempt,
        seconds=monotonic() - call.began,
        stack=tuple(stack),
    )
