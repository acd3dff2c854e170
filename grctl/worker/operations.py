"""What a step asks of the outside world besides tasks: time, dice, sleep.

Each is an operation with a key, and its value is committed before the step sees it: a uuid that
was handed to a payment provider must be the same one after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

from grctl.engine.identity import Branch
from grctl.engine.transitions import milliseconds
from grctl.worker.branches import current_branch, tell_owed_cancel
from grctl.worker.scope import CANCEL_ASKED, Scope, wait_for

__all__ = ["branch_of_step", "record_cancelled", "recorded_value", "sleep"]

T = TypeVar("T")


def branch_of_step(what: str) -> Branch:
    """The running branch. RuntimeError inside a task's body, or outside the step."""
    branch = current_branch()
    if branch is None:
        raise RuntimeError(
            f"{what} is for a step's own code. Inside a @task nothing is recorded: pass the value "
            "in as an argument, or call it in the step"
        )
    return branch


async def recorded_value(
    branch: Branch, key: str, kind: str, row_kind: str, make: Callable[[], T], annotation: Any
) -> T:
    """A value that is made once and recorded."""
    scope = cast("Scope", branch.scope)
    recorded = scope.ask(key, kind, None, None)
    if recorded is not None and recorded.outcome is not None:
        await scope.turn(recorded)
        return cast("T", scope.codec.decode(recorded.outcome.body or "null", annotation))
    body = scope.codec.encode(make(), what=kind)
    await wait_for(scope.run.record(row_kind, op=key, body=body), scope)
    # Read back, as in a replay: a time's zone is pydantic's UTC, which is equal but not the same.
    return cast("T", scope.codec.decode(body, annotation))


async def sleep(branch: Branch, key: str, duration: timedelta) -> None:
    """Sleep, counted from the first call: after a crash only the rest is slept."""
    scope = cast("Scope", branch.scope)
    duration_ms = milliseconds(duration)
    recorded = scope.ask(key, "sleep", None, str(duration_ms))
    if recorded is not None and recorded.outcome is not None:
        await scope.turn(recorded)
        return
    place = scope.run.last_seq
    left = duration_ms / 1000
    if recorded is not None and recorded.start is not None:
        left -= recorded.start.age
    else:
        await wait_for(scope.run.record("sleep.recorded", op=key, input=str(duration_ms)), scope)
    scope.sleepers += 1
    try:
        await tell_owed_cancel()
        await scope.pause(left)
    except asyncio.CancelledError:
        await record_cancelled(scope, "sleep.completed", key, place)
        raise
    finally:
        scope.sleepers -= 1
    if scope.is_closed:
        raise asyncio.CancelledError
    await wait_for(scope.run.record("sleep.completed", op=key, place=place), scope)


async def record_cancelled(
    scope: Scope, kind: str, key: str, place: int, text: str | None = None
) -> None:
    """Record that the step's own code cancelled what it waited for."""
    if scope.is_closed:
        return
    commit = scope.run.record(kind, op=key, place=place, input=text, body=CANCEL_ASKED)
    await wait_for(commit, scope, owing=False)
