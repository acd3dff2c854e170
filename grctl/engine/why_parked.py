"""Of a run that no worker holds: what it waits for, or why nobody claims it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, Final

from grctl.models.run import RunStatus
from grctl.models.why import Facts, Reason, ReasonKind

__all__ = ["SUSPECT_AFTER_CRASHES", "parked"]

SUSPECT_AFTER_CRASHES: Final = 3
"""A step that ran at so many crashes may have caused them. The SQL of claim and release_worker
has the same number."""
_MOST_NAMED: Final = 8


def parked(facts: Facts) -> Iterator[Reason]:
    """What is missing for its next step; and that nobody would claim it, if so."""
    if facts.is_due:
        yield _due(facts) if facts.servers else _no_worker(facts)
        return
    if facts.status is RunStatus.WAITING:
        if any(child.step for child in facts.children):
            yield _children(facts)
        yield _event(facts)
        if facts.wait_until is not None:
            yield _timer(facts)
    else:
        yield _delay(facts)
    if not facts.servers:
        yield _no_worker(facts)


def _due(facts: Facts) -> Reason:
    """Due, and workers of its type are up."""
    slots = sum(server.concurrency for server in facts.servers)
    details: dict[str, Any] = {
        "for": _what_for(facts),
        "ahead": facts.ahead,
        "workers": len(facts.servers),
        "slots": slots,
    }
    if all(server.held >= server.concurrency for server in facts.servers):
        return Reason(
            kind=ReasonKind.NO_FREE_SLOT,
            text=(
                f"{_what_for(facts)}, and of all workers of its type ({len(facts.servers)}) all "
                f"slots ({slots}) are taken; due runs of the type before it: {_count(facts.ahead)}"
            ),
            advice="start more workers, or raise GRCTL_CONCURRENCY",
            since=facts.wake_at,
            details=details,
        )
    suspect = facts.crashes >= SUSPECT_AFTER_CRASHES
    return Reason(
        kind=ReasonKind.DUE,
        text=f"{_what_for(facts)}; a worker with a free slot claims it next",
        advice=(
            "a step that ran at three crashes begins alone: nothing else beside it for five seconds"
            if suspect
            else "if it stays so, a transaction holds its row (`grctl doctor`), or its workers hang"
        ),
        since=facts.wake_at,
        details=details,
    )


def _what_for(facts: Facts) -> str:
    """What the run is due for."""
    match facts.status:
        case RunStatus.SCHEDULED:
            return "the run is to start"
        case RunStatus.RUNNING:
            return f"step {facts.step_name!r} is to go on: the worker that had it is gone"
        case RunStatus.DELAYED:
            return f"step {facts.step_name!r} is to begin: its delay is over"
    if facts.message is not None:
        return f"the {facts.message.kind} {facts.message.name!r} is to be handled"
    return "the timer of its wait is due"


def _no_worker(facts: Facts) -> Reason:
    last = facts.last_server
    text = f"no worker that serves {facts.wf_type!r} is up"
    since = None
    if last is not None:
        what = {"lost": "was lost", "stopped": "was stopped", None: "is silent: its lease is over"}
        text += f"; the last, {last.worker_id}, {what[last.end_reason]}"
        since = last.ended_at or last.lease_until
    return Reason(
        kind=ReasonKind.NO_WORKER,
        text=text,
        advice="start one that has this workflow: `grctl worker MODULE`",
        since=since,
        details={
            "type": facts.wf_type,
            "for": _what_for(facts) if facts.is_due else None,
            "last_worker": None if last is None else last.worker_id,
        },
    )


def _children(facts: Facts) -> Reason:
    awaited = [child for child in facts.children if child.step]
    ids = [child.wf_id for child in awaited[:_MOST_NAMED]]
    more = ", …" if len(awaited) > len(ids) else ""
    some = "a child" if facts.children_open == 1 else f"{_count(facts.children_open)} children"
    return Reason(
        kind=ReasonKind.AWAITS_CHILDREN,
        text=f"the run waits for {some} to end: {', '.join(map(repr, ids))}{more}",
        advice=f"`grctl why` says what holds a child up: {ids[0]}",
        since=facts.waits_since,
        details={"children": ids, "open": facts.children_open},
    )


def _event(facts: Facts) -> Reason:
    names = [*facts.event_names, *facts.update_names]
    waits_for_children = any(child.step for child in facts.children)
    if names:
        text = f"the run waits for an event ({_listed(facts.event_names, facts.update_names)})"
        advice = _how_to_wake(facts)
    else:
        text = f"the run waits for an event, and {facts.wf_type!r} handles none"
        advice = ""
        if facts.wait_until is None and not waits_for_children:
            advice = "nothing can wake it: end it (`grctl cancel`), and give its wait a timeout"
    return Reason(
        kind=ReasonKind.AWAITS_EVENT,
        text=text,
        advice=advice,
        since=facts.waits_since,
        until=facts.wait_until,
        details={"events": list(facts.event_names), "updates": list(facts.update_names)},
    )


def _how_to_wake(facts: Facts) -> str:
    """The command for it. Of several events it names none: one of them may end the run."""
    command, name = ("send", "EVENT") if facts.event_names else ("update", "NAME")
    names = facts.event_names or facts.update_names
    which = "it" if len(names) == 1 else "one of them"
    words = [facts.wf_id, names[0] if len(names) == 1 else name]
    if any(word.startswith("-") for word in words):
        words = ["--", *words]
    advice = f"send {which}: `grctl {command} {shlex.join(words)}`"
    if facts.servers:
        return advice
    return (
        f"start a worker that serves {facts.wf_type!r}: none is up, and an event would lie in the "
        f"inbox; then {advice}"
    )


def _listed(events: tuple[str, ...], updates: tuple[str, ...]) -> str:
    names = [*events, *(f"update {name}" for name in updates)]
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def _timer(facts: Facts) -> Reason:
    then = f"step {facts.wait_step!r} runs" if facts.wait_step else "the run fails"
    return Reason(
        kind=ReasonKind.TIMER,
        text=f"the wait has a timer: when it is due, {then}",
        until=facts.wait_until,
        details={"step": facts.wait_step},
    )


def _delay(facts: Facts) -> Reason:
    ending = facts.ending
    if ending is None or ending.kind != "step.attempt_failed":
        return Reason(
            kind=ReasonKind.DELAY,
            text=f"step {facts.step_name!r} begins when its delay is over",
            since=None if ending is None else ending.at,
            until=facts.wake_at,
            details={"step": facts.step_name},
        )
    return Reason(
        kind=ReasonKind.BACKOFF,
        text=(
            f"attempt {ending.attempt} of {ending.max_attempts} of step {facts.step_name!r} "
            f"failed: {ending.error}"
        ),
        advice="the next attempt follows by itself; put right what the error names",
        since=ending.at,
        until=facts.wake_at,
        details={
            "step": facts.step_name,
            "attempt": ending.attempt,
            "max_attempts": ending.max_attempts,
            "error": None if ending.error is None else ending.error.to_dict(),
        },
    )


def _count(number: int) -> str:
    """A number that was counted up to a bound."""
    return f"more than {MOST_COUNTED}" if number > MOST_COUNTED else str(number)


MOST_COUNTED: Final = 10_000
"""How far a backlog is counted."""
