"""What a step does to other runs: starts children, waits for them, sends messages.

Each is an operation. The child's row, or the message in another run's inbox, is written in the
same transaction as the record that it was done: there is never the one without the other.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from grctl.client.outcomes import outcome_error, read_error
from grctl.client.waiters import RawOutcome, Waiters
from grctl.engine.codec import Codec
from grctl.engine.identity import Branch
from grctl.engine.transitions import milliseconds
from grctl.errors import WorkflowAlreadyRunningError, WorkflowError, WorkflowTypeNotRegisteredError
from grctl.ids import new_run_id
from grctl.models.directive import check_timeout
from grctl.models.run import RunStatus
from grctl.models.text import is_text
from grctl.worker.branches import tell_owed_cancel
from grctl.worker.operations import record_cancelled
from grctl.worker.scope import Scope, recorded_as, wait_for

__all__ = ["ChildStart", "await_child", "send", "send_to_parent", "start_child"]

POLICIES = ("abandon", "cancel", "terminate")


@dataclass(frozen=True, slots=True)
class ChildStart:
    """A child to be started. ValueError for what cannot be, TypeError for another timeout."""

    wf_type: str
    wf_id: str
    value: Any
    timeout: timedelta | None
    on_completed: str | None
    policy: str

    def __post_init__(self) -> None:
        if not isinstance(self.wf_id, str) or not 0 < len(self.wf_id) <= 255:
            raise ValueError(
                f"a workflow id must be a string of 1 to 255 characters, not {self.wf_id!r:.80}"
            )
        if self.policy not in POLICIES:
            raise ValueError(
                f"parent_close_policy must be one of {', '.join(POLICIES)}, not {self.policy!r}"
            )
        for what, name in (("id", self.wf_id), ("type", self.wf_type)):
            if not is_text(name):
                raise ValueError(
                    f"a workflow {what} must be a string without NUL and lone surrogates, "
                    f"not {name!r:.80}"
                )
        check_timeout("a child's timeout", self.timeout)


async def start_child(branch: Branch, key: str, child: ChildStart, epoch: int) -> UUID:
    """Start a child; its run id. The errors of a start are the caller's, on every replay too."""
    scope = cast("Scope", branch.scope)
    codec = scope.codec
    value = None if child.value is None else codec.encode(child.value, what="child's input")
    timeout_ms = None if child.timeout is None else milliseconds(child.timeout)
    text = recorded_as(
        wf_type=codec.encode(child.wf_type),
        wf_id=codec.encode(child.wf_id),
        input=value or "null",
        timeout_ms=codec.encode(timeout_ms),
        on_completed_step=codec.encode(child.on_completed),
        parent_close_policy=codec.encode(child.policy),
    )
    recorded = scope.ask(key, "start_child", child.wf_type, text)
    if recorded is not None and recorded.outcome is not None:
        await scope.turn(recorded)
        told = json.loads(recorded.outcome.body or "{}")
        if recorded.outcome.kind == "child.refused":
            raise _refused_start(child, told["refused"])
        return UUID(told["run_id"])
    run_id = new_run_id()
    commit = scope.run.record(
        "child.started",
        op=key,
        name=child.wf_type,
        input=text,
        body=f'{{"run_id":"{run_id}"}}',
        start={
            "run_id": str(run_id),
            "wf_id": child.wf_id,
            "wf_type": child.wf_type,
            "input": value,
            "timeout_ms": timeout_ms,
            "parent": str(scope.run.run_id),
            "parent_epoch": epoch,
            "parent_step": child.on_completed,
            "policy": child.policy,
            "trace": None if scope.tracing is None else scope.tracing.traceparent(),
        },
    )
    answer = await wait_for(commit, scope)
    if answer.verdict == "refused":
        raise _refused_start(child, answer.why)
    return run_id


def _refused_start(child: ChildStart, why: str | None) -> WorkflowError:
    if why == "unregistered":
        return WorkflowTypeNotRegisteredError(
            f"no worker has ever registered the workflow type {child.wf_type!r}"
        )
    return WorkflowAlreadyRunningError(f"workflow id {child.wf_id!r} has a run that is not over")


async def await_child(
    branch: Branch,
    key: str,
    run_id: UUID,
    waiters: Waiters,
    timeout: float | None,
    return_type: Any,
) -> Any:
    """Wait for a child's end and record it. Like a sleep, it holds no slot of the worker."""
    scope = cast("Scope", branch.scope)
    text = f'{{"run_id":"{run_id}"}}'
    recorded = scope.ask(key, "await_child", None, text)
    if recorded is not None and recorded.outcome is not None:
        await scope.turn(recorded)
        return _child_result(scope.codec, recorded.outcome.body or "{}", return_type)
    place = scope.run.last_seq
    try:
        await tell_owed_cancel()
        body = await _ended(scope, run_id, waiters, timeout)
    except asyncio.CancelledError:
        await record_cancelled(scope, "child.ended", key, place, text)
        raise
    await wait_for(
        scope.run.record("child.ended", op=key, place=place, input=text, body=body), scope
    )
    return _child_result(scope.codec, body, return_type)


async def _ended(
    scope: Scope,
    run_id: UUID,
    waiters: Waiters,
    timeout: float | None,
) -> str:
    future = RawOutcome(run_id)
    waiters.wait_for(future)
    scope.sleepers += 1
    try:
        async with asyncio.timeout(timeout) as limit:
            status, result, error = await future
    except TimeoutError:
        if not limit.expired():
            raise
        return f'{{"timeout":{timeout}}}'
    finally:
        scope.sleepers -= 1
        future.discard()
    if scope.is_closed:
        raise asyncio.CancelledError
    return recorded_as(status=f'"{status}"', result=result, error=error)


def _child_result(codec: Codec, body: str, return_type: Any) -> Any:
    told = json.loads(body)
    if "timeout" in told:
        raise TimeoutError(f"the child workflow has not ended within {told['timeout']} s")
    error = told.get("error")
    details, step = read_error(None if error is None else json.dumps(error))
    outcome = outcome_error(RunStatus(told["status"]), details, step)
    if outcome is not None:
        raise outcome
    result = codec.encode(told.get("result"))
    return codec.decode(result) if return_type is None else codec.decode(result, return_type)


async def send(branch: Branch, key: str, wf_id: str, name: str, payload: Any, epoch: int) -> None:
    """Put an event into the inbox of a workflow id's open run."""
    if not is_text(wf_id):
        raise WorkflowError(f"workflow {wf_id!r:.80} has no open run: it takes no events")
    await _message(
        branch,
        key,
        ("send", "message.sent"),
        {"wf_id": wf_id, "event_name": name, "payload": payload},
        {"wf_id": wf_id},
        epoch,
    )


async def send_to_parent(
    branch: Branch, key: str, parent: dict[str, Any], name: str, payload: Any, epoch: int
) -> None:
    """Put an event into the parent's inbox."""
    described = {"event_name": name, "payload": payload}
    described |= {"parent_wf_type": parent["wf_type"], "parent_wf_id": parent["wf_id"]}
    await _message(
        branch,
        key,
        ("send_to_parent", "parent.event_sent"),
        described,
        {"to_run": str(parent["run_id"])},
        epoch,
    )


async def _message(
    branch: Branch,
    key: str,
    kinds: tuple[str, str],
    described: dict[str, Any],
    address: dict[str, Any],
    epoch: int,
) -> None:
    scope = cast("Scope", branch.scope)
    kind, row_kind = kinds
    name, payload = described["event_name"], described["payload"]
    if not name or not is_text(name):
        raise ValueError(
            "an event's name must be a non-empty string without NUL and lone surrogates, "
            f"not {name!r:.80}"
        )
    text = scope.codec.encode(described, what=f"event {name!r}")
    recorded = scope.ask(key, kind, name, text)
    if recorded is not None and recorded.outcome is not None:
        await scope.turn(recorded)
        why = None
        if recorded.outcome.kind.endswith(".refused"):
            why = json.loads(recorded.outcome.body or "{}")["refused"]
    else:
        commit = scope.run.record(
            row_kind,
            op=key,
            name=name,
            input=text,
            message={
                **address,
                "from_run": str(scope.run.run_id),
                "from_epoch": epoch,
                "kind": "event",
                "name": name,
                "payload": None if payload is None else scope.codec.encode(payload),
                "message_id": str(uuid4()),
            },
        )
        answer = await wait_for(commit, scope)
        why = answer.why if answer.verdict == "refused" else None
    if why is not None:
        raise _refused_message(described, why)


def _refused_message(described: dict[str, Any], why: str) -> WorkflowError:
    to = described.get("wf_id") or described.get("parent_wf_id")
    if why == "unknown":
        return WorkflowError(f"workflow {to!r} handles no event {described['event_name']!r}")
    return WorkflowError(f"workflow {to!r} has no open run: it takes no events")
