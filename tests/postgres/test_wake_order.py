"""Where two causes meet, the database decides, and it decides as the engine's tables say.

Every combination of what a run can be in is put into the tables, the statement is run, and what
it made of each row is compared with ``WAKE_ORDER`` and ``NEXT``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest_asyncio

from grctl.engine.rows import Row, Transition
from grctl.engine.transitions import (
    WAKE_ORDER,
    Cause,
    Wake,
    after_directive,
    next_status,
    retried,
    still_waiting,
    stopped,
)
from grctl.ids import new_run_id
from grctl.models.directive import Complete, ContinueAsNew, Fail, NextStep, Wait
from grctl.models.run import RunStatus
from grctl.postgres.batch import Commit
from grctl.postgres.database import Database as Pool
from grctl.postgres.journal import Journal
from grctl.settings import Settings
from tests.support import Database

WF_TYPE = "order"
LATER = "grctl.now() + interval '1 hour'"
BEFORE = "grctl.now() - interval '1 second'"


@pytest_asyncio.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    pool = Pool(settings)
    await pool.open()
    yield pool
    await pool.close()


@pytest_asyncio.fixture
async def worker_no(pool: Pool) -> int:
    number = await pool.fetchval(
        "leases", "register", "w", "w", [WF_TYPE], 1000, 60.0, pool.settings.writers
    )
    return int(number)


@dataclass(frozen=True)
class Due:
    """A run that can be claimed, and what else is the case with it."""

    status: RunStatus
    recorded: Wake | None = None
    cancel: bool = False
    deadline: bool = False
    unread: bool = False
    wait_due: bool = False
    run_id: UUID = field(default_factory=new_run_id)


OPEN = [
    (RunStatus.SCHEDULED, None),
    (RunStatus.DELAYED, Wake.STEP),
    (RunStatus.DELAYED, Wake.EVENT),
    (RunStatus.WAITING, None),
    *((RunStatus.RUNNING, wake) for wake in Wake),
]

HOLDS: dict[Wake, Callable[[Due], bool]] = {
    Wake.RUN_TIMEOUT: lambda due: due.deadline,
    Wake.CANCEL: lambda due: due.cancel and due.status is not RunStatus.RUNNING,
    Wake.START: lambda due: due.status is RunStatus.SCHEDULED,
    Wake.STEP: lambda due: due.status in (RunStatus.RUNNING, RunStatus.DELAYED),
    Wake.EVENT: lambda due: due.status is RunStatus.WAITING and due.unread,
    Wake.TIMEOUT: lambda due: due.status is RunStatus.WAITING and due.wait_due,
}
"""What the words in WAKE_ORDER mean."""


def expected_wake(due: Due) -> Wake:
    """The first reason of WAKE_ORDER that holds; for a step, the cause that it was begun for."""
    found = next(wake for wake, _ in WAKE_ORDER if HOLDS[wake](due))
    return due.recorded if found is Wake.STEP and due.recorded is not None else found


def all_due() -> list[Due]:
    flags = list(product((False, True), repeat=4))
    runs = [Due(status, recorded, *each) for status, recorded in OPEN for each in flags]
    # A waiting run comes to be due by one of these alone.
    return [
        due
        for due in runs
        if due.status is not RunStatus.WAITING
        or due.cancel
        or due.deadline
        or due.unread
        or due.wait_due
    ]


async def test_a_claim_wakes_each_run_for_the_first_reason_that_holds(
    database: Database, pool: Pool, worker_no: int
):
    runs = all_due()
    for due in runs:
        await database.execute(
            f"""
            insert into grctl.runs (run_id, wf_id, wf_type, status, cause, wake_at, deadline_at,
                cancel_requested_at, inbox_head, inbox_tail, wait_until)
            values ($1::uuid, $1::uuid::text, '{WF_TYPE}', $2, $3, {BEFORE},
                {BEFORE if due.deadline else LATER},
                {BEFORE if due.cancel else "null"}, 3, {4 if due.unread else 3},
                {BEFORE if due.wait_due else LATER})
            """,
            due.run_id,
            due.status,
            due.recorded,
        )

    claimed = await pool.fetch("runs", "claim", worker_no, [WF_TYPE], 1000, None)

    assert len(claimed) == len(runs)
    by_run = {row["run_id"]: row for row in claimed}
    assert {due: Wake(by_run[due.run_id]["cause"]) for due in runs} == {
        due: expected_wake(due) for due in runs
    }
    for due in runs:
        row = by_run[due.run_id]
        assert next_status(due.status, Cause.CLAIM) is RunStatus.RUNNING
        assert (row["was"], row["epoch"]) == (due.status, 1)
        assert row["cancel_requested"] is due.cancel
    owners = await database.fetch("select distinct owner, status, wake_at from grctl.runs")
    assert [tuple(row) for row in owners] == [(worker_no, "running", None)]


async def test_a_claim_leaves_what_is_not_due_owned_or_ended(
    database: Database, pool: Pool, worker_no: int
):
    for status in RunStatus:
        for wake_at in ("null", LATER):
            if status.is_ended and wake_at != "null":
                continue
            await database.execute(
                f"""
                insert into grctl.runs (run_id, wf_id, wf_type, status, wake_at, ended_at)
                values ($1::uuid, $1::uuid::text, '{WF_TYPE}', $2, {wake_at},
                    {"grctl.now()" if status.is_ended else "null"})
                """,
                new_run_id(),
                status,
            )

    assert not await pool.fetch("runs", "claim", worker_no, [WF_TYPE], 1000, None)


@dataclass
class Held:
    """A run in a step, held by the worker, and the end that its step comes to."""

    name: str
    transition: Transition
    cancel: bool
    unread: bool
    deadline: bool
    run_id: UUID = field(default_factory=new_run_id)
    epoch: int = 1
    slot: int = 0
    unwritten: int = 0

    def deliver(self, commit: Commit) -> None:
        commit.set_result(commit.answer)  # type: ignore[arg-type]  # None says: committed

    def rewind_to(self, seq: int) -> None:
        raise AssertionError("nothing here is refused")

    @property
    def expected(self) -> tuple[str, str | None, RunStatus]:
        """The verdict and its reason, and the status."""
        t = self.transition
        running = RunStatus.RUNNING
        if self.cancel and t.go != "stop":
            return ("kept", Wake.CANCEL, next_status(running, Cause.CANCEL))
        if t.go in ("wait", "rewait") and self.unread:
            return ("kept", Wake.EVENT, next_status(RunStatus.WAITING, Cause.CLAIM))
        if t.go == "step":
            return ("kept", Wake.STEP, next_status(running, Cause.STEP))
        return ("gone", None, RunStatus(t.status))


ENDS: dict[str, Callable[[], Transition]] = {
    "step": lambda: after_directive(NextStep("next")),
    "delayed step": lambda: after_directive(NextStep("next", timedelta(minutes=1))),
    "wait": lambda: after_directive(Wait()),
    "wait with a timer": lambda: after_directive(Wait(timedelta(minutes=1), "late")),
    "message that nobody handles": still_waiting,
    "complete": lambda: after_directive(Complete(1)),
    "fail": lambda: after_directive(Fail()),
    "continue_as_new": lambda: after_directive(ContinueAsNew()),
    "step to be retried": lambda: retried(2, 60_000),
    **{
        cause.value: lambda cause=cause: stopped(cause)  # type: ignore[misc]
        for cause in (
            Cause.STEP_FAILED,
            Cause.STEP_TIMED_OUT,
            Cause.POISONED,
            Cause.WAIT_TIMED_OUT,
            Cause.CANCEL_TAKES_EFFECT,
            Cause.RUN_TIMEOUT,
        )
    },
}


async def test_a_steps_end_becomes_what_the_table_says_or_gives_way_to_a_cancel_or_a_message(
    database: Database, pool: Pool, worker_no: int
):
    runs = [
        Held(name, make(), *flags)
        for name, make in ENDS.items()
        for flags in product((False, True), repeat=3)
    ]
    await _hold(database, worker_no, runs)

    answers = await _commit(pool, worker_no, runs)

    rows = {row["run_id"]: row for row in await database.fetch("select * from grctl.runs")}
    for run, answer in zip(runs, answers, strict=True):
        row = rows[run.run_id]
        verdict, why, status = run.expected
        assert (answer.verdict, row["status"]) == (verdict, status), run
        if verdict == "kept":
            assert (answer.why, row["cause"], row["owner"]) == (why, why, worker_no), run
            assert row["wake_at"] is None, run
        else:
            assert row["owner"] is None, run
            assert (row["ended_at"] is not None) is status.is_ended, run
            assert (row["wake_at"] is None) is status.is_ended, run
            if run.deadline and not status.is_ended:
                assert row["wake_at"] == row["deadline_at"], run


async def test_a_parked_run_whose_deadline_has_passed_is_claimed_for_that(
    database: Database, pool: Pool, worker_no: int
):
    runs = [
        Held(name, make(), cancel=False, unread=False, deadline=True) for name, make in ENDS.items()
    ]
    await _hold(database, worker_no, runs)
    await _commit(pool, worker_no, runs)

    claimed = await pool.fetch("runs", "claim", worker_no, [WF_TYPE], 1000, None)

    parked = {run.run_id for run in runs if run.expected[2] in ("waiting", "delayed")}
    assert {(row["run_id"], row["cause"]) for row in claimed} == {
        (run_id, Wake.RUN_TIMEOUT) for run_id in parked
    }


async def _hold(database: Database, worker_no: int, runs: list[Held]) -> None:
    """Put runs into the tables as the worker has them in a step; message 3 is the last it read."""
    for run in runs:
        await database.execute(
            f"""
            insert into grctl.runs (run_id, wf_id, wf_type, status, cause, owner, epoch,
                deadline_at, cancel_requested_at, inbox_head, inbox_tail, wait_until)
            values ($1::uuid, $1::uuid::text, '{WF_TYPE}', 'running', 'start', $2, 1,
                {BEFORE if run.deadline else LATER},
                {BEFORE if run.cancel else "null"}, 3, {4 if run.unread else 3}, {LATER})
            """,
            run.run_id,
            worker_no,
        )
        run.transition.read = 3


async def _commit(pool: Pool, worker_no: int, runs: list[Held]) -> list[Any]:
    journal = Journal(pool, worker_no, lambda: None)
    writing = asyncio.create_task(journal.run())
    commits = [
        journal.record(
            run,
            Row(run.run_id, 1, 1, 1, 1, "step.completed", name="start", body="{}"),
            run.transition,
        )
        for run in runs
    ]
    answers = await asyncio.gather(*commits)
    writing.cancel()
    await asyncio.wait({writing})
    return answers
