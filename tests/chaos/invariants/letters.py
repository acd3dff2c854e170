"""I9: what was sent is handled or in the inbox, once, and in order for each sender."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.invariants import Violation
from tests.chaos.notes import digest
from tests.chaos.records import LETTERS, Records


@dataclass(frozen=True)
class Letter:
    """A sent message: its sender, its place among the sender's, and whose inbox it is for."""

    id: str
    sender: str
    place: float
    target: str
    phase: str


def i9_a_letter_is_handled_once(records: Records) -> Iterator[Violation]:
    """Each sending: acknowledged, once handled or there; unknown, at most; refused, never.

    A step that is tried again and takes another way may send the same once more.
    """
    sent: dict[str, list[Letter]] = defaultdict(list)
    for letter in (*_of_drivers(records), *_of_runs(records)):
        sent[letter.id].append(letter)
    found: dict[str, int] = defaultdict(int)
    for target, ids in arrivals(records).items():
        last: dict[str, Letter] = {}
        for letter_id in ids:
            found[letter_id] += 1
            if letter_id not in sent:
                yield Violation("I9", target, f"a letter that nobody sent ({letter_id})")
                continue
            letter, *others = sent[letter_id]
            if letter.target != target:
                yield Violation("I9", target, f"a letter from {letter.sender} for {letter.target}")
            if letter.phase != "ok" or others:
                continue  # it may have been committed late; or which of them is it?
            former = last.get(letter.sender)
            if former is not None and former.place > letter.place:
                yield Violation("I9", target, f"letters of {letter.sender} out of order")
            last[letter.sender] = letter
    for letter_id, letters in sent.items():
        phases = Counter(letter.phase for letter in letters)
        if not phases["ok"] <= found[letter_id] <= phases["ok"] + phases["unknown"]:
            told = f"a letter of {letters[0].sender} ({letter_id}), sent {dict(phases)}"
            yield Violation("I9", letters[0].target, f"{told}, came {found[letter_id]} times")


def handled(records: Records) -> dict[str, list[str]]:
    """Of each chain of runs: the letters it has handled, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for run_id in sorted(records.events):  # run ids are ordered in time
        for row in records.events[run_id]:
            if row.name in LETTERS and row.kind in ("step.completed", "event.unhandled"):
                found[records.chains[run_id]].append(digest(row.input))
    return found


def arrivals(records: Records) -> dict[str, list[str]]:
    """The same, then those in its inbox."""
    found = handled(records)
    for message in records.inbox:
        if message.name in LETTERS and message.run_id in records.chains:
            found[records.chains[message.run_id]].append(digest(message.payload))
    return found


def _of_drivers(records: Records) -> Iterator[Letter]:
    for call, phase in records.calls_by_id():
        if call.what in ("send", "update") and call.run in records.chains:
            target = records.chains[call.run]
            yield Letter(call.id, call.detail, call.mono, target, phase)


def _of_runs(records: Records) -> Iterator[Letter]:
    for run_id, rows in records.events.items():
        for row in rows:
            kind, _, what = row.kind.partition(".")
            if kind not in ("message", "parent"):
                continue
            told = row.input
            to = records.runs[run_id].parent_run_id if kind == "parent" else run_id
            if to not in records.chains:
                continue
            phase = "fail" if what == "refused" else "ok"
            letter_id = digest(told["payload"])
            yield Letter(letter_id, run_id, row.seq, records.chains[to], phase)
