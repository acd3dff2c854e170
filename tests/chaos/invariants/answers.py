"""I15, I16: what a mailbox answered, against the letters that it really had.

A mailbox counts its letters, events and updates alike. An update's answer is the letter's number, a
query's is how many there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.invariants import Violation
from tests.chaos.invariants.letters import handled
from tests.chaos.records import Call, Records
from tests.chaos.workload import count


@dataclass(frozen=True)
class Talk:
    """An update or a query that was answered: from when to when, and with which number."""

    call: Call
    ended: float
    number: int


def i15_an_update_is_answered_as_it_was_handled(records: Records) -> Iterator[Violation]:
    """The answer is the place among the handled letters: its effect, and that of all before it."""
    came = handled(records)
    for target, talks in _answered(records, "update").items():
        places = {letter: place for place, letter in enumerate(came[target], 1)}
        for talk in talks:
            place = places.get(talk.call.id)
            if place != talk.number:
                text = f"an update was answered {talk.number}, and is letter {place}"
                yield Violation("I15", target, text)


def i16_a_query_sees_what_was_there(records: Records) -> Iterator[Violation]:
    """Not less than was answered before it was asked, nor more than was sent when it was answered,
    nor than came after it; and it leaves no trace in history.
    """
    sent = defaultdict(list)
    for call, _ in records.calls_by_id():
        if call.what in ("send", "update") and call.run in records.chains:
            sent[records.chains[call.run]].append(call.mono)
    updates, queries = _answered(records, "update"), _answered(records, "query")
    for target, talks in queries.items():
        known = updates[target]
        for talk in talks:
            asked, told = talk.call.mono, talk.ended
            least = max((u.number for u in (*known, *talks) if u.ended < asked), default=0)
            most = min((u.number - 1 for u in known if u.call.mono > told), default=talk.number)
            most = min(most, sum(at < told for at in sent[target]))
            if not least <= talk.number <= most:
                text = f"a query was answered {talk.number}, and not {least} to {most}"
                yield Violation("I16", target, text)
    for run_id, rows in records.events.items():
        if any(row.name == count.__name__ for row in rows):
            yield Violation("I16", run_id, "a query is in its history")


def _answered(records: Records, what: str) -> dict[str, list[Talk]]:
    """By chain of runs; a query that came before the first step had ended was told None."""
    invoked = {call.id: call for call in records.calls if call.phase == "invoke"}
    found: dict[str, list[Talk]] = defaultdict(list)
    for call in records.calls:
        is_answered = (call.what, call.phase) == (what, "ok") and call.detail != "None"
        if is_answered and call.run in records.chains:
            talk = Talk(invoked[call.id], call.mono, int(call.detail))
            found[records.chains[call.run]].append(talk)
    return found
