"""What there is to check: the tables, the ledger, the client's log, and what was seen meanwhile."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncpg

from tests.chaos.ledger import COLUMNS
from tests.chaos.workload import CHILD, LOAD, MAILBOX

TERMINAL = frozenset({"completed", "failed", "cancelled", "terminated", "timed_out", "continued"})
LETTERS = frozenset({"poke", "stamp"})
"""The messages that are counted: an event and an update."""
OUTCOMES = frozenset({"task.completed", "task.failed", "task.cancelled"})


@dataclass(slots=True)
class Run:
    """A row of ``runs``; times are those of the database."""

    run_id: str
    wf_id: str
    wf_type: str
    status: str
    owner: int | None
    epoch: int
    cause: str | None
    wake_at: datetime | None
    wait_until: datetime | None
    step_no: int
    next_seq: int
    inbox_head: int
    inbox_tail: int
    created_at: datetime
    ended_at: datetime | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    parent_run_id: str | None
    parent_step: str | None
    input: Any
    result: Any
    error: Any


@dataclass(slots=True)
class Event:
    """A row of ``events``; JSON is read when it is asked for."""

    run_id: str
    seq: int
    step_no: int
    step_attempt: int
    kind: str
    op: str | None
    name: str | None
    place: int | None
    attempt: int | None
    micros: int | None
    batch: int
    epoch: int
    worker_no: int | None
    at: datetime
    input_text: str | None
    body_text: str | None

    @property
    def input(self) -> Any:
        return None if self.input_text is None else json.loads(self.input_text)

    @property
    def result(self) -> Any:
        return None if self.body_text is None else json.loads(self.body_text)

    @property
    def body(self) -> dict[str, Any]:
        """What a row tells that is no task's outcome: always an object."""
        found = self.result
        return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Message:
    """A row of ``inbox``: sent, and not handled."""

    run_id: str
    no: int
    kind: str
    name: str
    payload: Any


@dataclass(slots=True)
class Body:
    """A line of the ledger about a task's body: ``start``, ``end``, ``error`` or ``cancelled``."""

    phase: str
    run: str
    step_no: int
    step_attempt: int
    step: str
    op: str
    name: str
    attempt: int
    epoch: int
    boot: str
    input: str
    result: str | None
    mono: float
    wall: float

    @property
    def operation(self) -> tuple[str, int, int, str]:
        return self.run, self.step_no, self.step_attempt, self.op


@dataclass(slots=True)
class Call:
    """What a driver asked for, and what came of it: ``invoke``, ``ok``, ``fail`` or ``unknown``."""

    id: str
    client: str
    phase: str
    what: str
    wf_id: str
    run: str | None
    detail: str
    mono: float
    wall: float


@dataclass(slots=True)
class Fault:
    """What was done to the cluster, from when until when (CLOCK_MONOTONIC)."""

    name: str
    target: str
    began: float
    ended: float


@dataclass
class Records:
    """All of one storm. ``calm_seconds``: from the last fault until nothing was left to do."""

    lease: float
    poll: float
    calm_seconds: float
    checked_at: datetime
    runs: dict[str, Run] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    inbox: list[Message] = field(default_factory=list)
    store: dict[str, dict[str, Any]] = field(default_factory=dict)
    live_workers: set[int] = field(default_factory=set)
    bodies: list[Body] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    sightings: dict[tuple[str, int], str] = field(default_factory=dict)
    """Rows of history as they were seen during the storm: (run, seq) -> hash of the row."""
    digests: dict[tuple[str, int], str] = field(default_factory=dict)
    """The same rows, at the end."""

    @cached_property
    def clock_was_set(self) -> bool:
        """Whether the server's clock was set meanwhile: its times then say nothing of the order."""
        return any(fault.name == "clock set" for fault in self.faults)

    @cached_property
    def successors(self) -> dict[str, str]:
        """Of a run that continued as new: the next one."""
        return {
            row.run_id: row.body["run_id"]
            for rows in self.events.values()
            for row in rows[-1:]
            if row.kind == "step.completed" and row.body.get("next") == "continue_as_new"
        }

    @cached_property
    def predecessors(self) -> dict[str, str]:
        """The other way round."""
        return {new: old for old, new in self.successors.items()}

    @cached_property
    def starts(self) -> dict[tuple[str, int, int, str], list[Body]]:
        """Bodies that began, by operation, in order of time."""
        found = defaultdict(list)
        for body in self.bodies:
            if body.phase == "start":
                found[body.operation].append(body)
        for each in found.values():
            each.sort(key=lambda body: body.mono)
        return dict(found)

    @cached_property
    def starts_of_run(self) -> dict[str, list[Body]]:
        """The same, by run."""
        found = defaultdict(list)
        for each in self.starts.values():
            found[each[0].run] += each
        return dict(found)

    @cached_property
    def chains(self) -> dict[str, str]:
        """Of each run: the first of its chain of continue_as_new."""
        firsts = {}
        for run_id in self.runs:
            first = run_id
            while first in self.predecessors:
                first = self.predecessors[first]
            firsts[run_id] = first
        return firsts

    @cached_property
    def wall_minus_mono(self) -> float:
        """What turns a time of the ledger into one of the time of day."""
        return next((each.wall - each.mono for each in (*self.bodies, *self.calls)), 0.0)

    def operations(self, run_id: str) -> dict[tuple[int, int, str], list[Event]]:
        """A run's rows about tasks, by step, attempt of the step, and key."""
        found = defaultdict(list)
        for row in self.events.get(run_id, ()):
            if row.op is not None and row.kind.startswith("task."):
                found[row.step_no, row.step_attempt, row.op].append(row)
        return found

    def calls_by_id(self) -> Iterator[tuple[Call, str]]:
        """Each call's first line, and its phase in the end."""
        first: dict[str, Call] = {}
        phases: dict[str, str] = {}
        for call in self.calls:
            if call.phase == "invoke":
                first[call.id] = call
            else:
                phases[call.id] = call.phase
        for call_id, call in first.items():
            yield call, phases.get(call_id, "unknown")


async def read_tables(records: Records, dsn: str) -> None:
    """All tables, in one snapshot; the types of other workflows are left out."""
    connection = await asyncpg.connect(dsn, command_timeout=600)
    ours = [LOAD, CHILD, MAILBOX]
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            columns = ", ".join(f"r.{name}" for name in Run.__slots__)
            async for row in connection.cursor(
                f"select {columns} from grctl.runs r where r.wf_type = any($1)", ours
            ):
                run = _run(row)
                records.runs[run.run_id] = run
            columns = ", ".join(f"e.{n.removesuffix('_text')}" for n in Event.__slots__)
            async for row in connection.cursor(
                f"select {columns} from grctl.events e order by e.run_id, e.seq", prefetch=5000
            ):
                event = Event(str(row[0]), *row[1:])
                if event.run_id in records.runs:
                    records.events.setdefault(event.run_id, []).append(event)
            for row in await connection.fetch(
                "select run_id, no, kind, name, payload from grctl.inbox order by run_id, no"
            ):
                payload = None if row["payload"] is None else json.loads(row["payload"])
                message = Message(str(row[0]), row[1], row[2], row[3], payload)
                records.inbox.append(message)
            for row in await connection.fetch("select run_id, key, value from grctl.store"):
                records.store.setdefault(str(row[0]), {})[row[1]] = json.loads(row[2])
            for row in await connection.fetch(
                "select worker_no from grctl.workers where ended_at is null"
            ):
                records.live_workers.add(row[0])
    finally:
        await connection.close()


def _run(row: Any) -> Run:
    given = dict(row)
    given["run_id"] = str(given["run_id"])
    if given["parent_run_id"] is not None:
        given["parent_run_id"] = str(given["parent_run_id"])
    for name in ("input", "result", "error"):
        given[name] = None if given[name] is None else json.loads(given[name])
    return Run(**given)


def read_ledger(records: Records, file: Path) -> None:
    """Everything that was noted."""
    sql = sqlite3.connect(file)
    kinds: tuple[tuple[str, Any, list[Any]], ...] = (
        ("bodies", Body, records.bodies),
        ("calls", Call, records.calls),
        ("faults", Fault, records.faults),
    )
    for table, kind, into in kinds:
        columns = ", ".join(COLUMNS[table])
        rows = sql.execute(f"select {columns} from {table} order by rowid")
        into.extend(kind(*row) for row in rows)
    sql.close()
