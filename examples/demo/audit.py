"""The demo's judge: compares the ledger of side effects with what history says of them.

The rule: a task call that history had recorded when the worker was killed is never made again;
bodies that ran beyond the recorded attempts are those that were running at that moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from examples.order.ledger import Entry, key_of
from examples.order.model import Order
from grctl.models import HistoryEvent
from grctl.models.history import TaskAttemptFailed, TaskCompleted, TaskFailed, TaskStarted

Call = tuple[str, str]
"""A task call: the task's name, and its inputs as JSON. In these orders no two calls are alike."""


@dataclass(frozen=True, slots=True)
class Killed:
    """The worker that was killed, and when: in seconds since the epoch."""

    pid: int
    worker_id: str
    at: float


@dataclass(slots=True)
class Audit:
    """What came out. ``wrong`` has a sentence for each call that broke the rule."""

    recorded_at_kill: int = 0
    run_again: int = 0
    cut_off: set[Call] = field(default_factory=set)
    recovery_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Recorded:
    """What history has of one call."""

    attempts_before: int = 0
    attempts_after: int = 0
    is_done: bool = False
    was_done: bool = False


def audit(
    histories: Iterable[Sequence[HistoryEvent]], ledger: Sequence[Entry], killed: Killed
) -> Audit:
    """Judge every task call of the given runs."""
    recorded: dict[Call, _Recorded] = {}
    for events in histories:
        recorded.update(_recorded_calls(events, killed))
    starts = [entry for entry in ledger if entry.mark == "start"]
    before = Counter((entry.task, entry.inputs) for entry in starts if entry.pid == killed.pid)
    after = Counter((entry.task, entry.inputs) for entry in starts if entry.pid != killed.pid)
    result = Audit()
    for call, what in recorded.items():
        _judge(result, call, what, before[call], after[call])
    for call in (before.keys() | after.keys()) - recorded.keys():
        result.wrong.append(f"{_name(call)}: begun, and not in history")
    again = [
        entry.at - killed.at
        for entry in starts
        if entry.pid != killed.pid and (entry.task, entry.inputs) in result.cut_off
    ]
    result.recovery_seconds = max(again, default=0.0)
    return result


def is_as_expected(order: Order, events: Sequence[HistoryEvent]) -> bool:
    """Whether the right tasks have succeeded, each as often as it must: no more, no less."""
    done = Counter(event.msg.task_name for event in events if isinstance(event.msg, TaskCompleted))
    items = len(order.items)
    if order.card == "expired":
        return done == {"reserve_item": items, "release_item": items}
    return done == {
        "reserve_item": items,
        "charge_card": 1,
        "book_carrier": 1,
        "ship_parcel": items,
    }


def _recorded_calls(events: Sequence[HistoryEvent], killed: Killed) -> Mapping[Call, _Recorded]:
    """Before and after are told apart by who recorded it: clocks are not that exact."""
    calls: dict[Call, _Recorded] = {}
    ids: dict[tuple[str | None, str], Call] = {}
    for event in events:
        message = event.msg
        if isinstance(message, TaskStarted):
            call = (message.task_name, key_of(message.args))
            ids[event.step_name, message.task_id] = call
            calls[call] = _Recorded()
        elif isinstance(message, TaskCompleted | TaskFailed | TaskAttemptFailed):
            found = calls[ids[event.step_name, message.task_id]]
            was_before = event.worker_id == killed.worker_id
            found.attempts_before += was_before
            found.attempts_after += not was_before
            if not isinstance(message, TaskAttemptFailed):
                found.is_done = True
                found.was_done = was_before
    return calls


def _judge(result: Audit, call: Call, what: _Recorded, before: int, after: int) -> None:
    """``before`` and ``after``: how often the call's body was begun, up to the kill and later."""
    if not what.is_done:
        result.wrong.append(f"{_name(call)}: begun, and without an outcome")
    result.recorded_at_kill += what.was_done
    if what.was_done and after:
        result.run_again += 1
        result.wrong.append(f"{_name(call)}: recorded before the kill, and run again")
    unrecorded = before - what.attempts_before
    if unrecorded == 1 and not what.was_done:
        result.cut_off.add(call)
    elif unrecorded != 0:
        result.wrong.append(
            f"{_name(call)}: begun {before} times before the kill, with {what.attempts_before} "
            "attempts recorded"
        )
    if after != what.attempts_after:
        result.wrong.append(
            f"{_name(call)}: begun {after} times after the kill, with {what.attempts_after} "
            "attempts recorded"
        )


def _name(call: Call) -> str:
    return f"{call[0]}({call[1]})"
