"""Anything that clients, workers and the clock can do, in any order, against the reference.

A worker here is a hand that claims, records and ends steps by the statements that the real one
uses, with the real one's ``HeldRun``; it may forget that it is dead. After each rule the tables
must hold what the reference says, and the invariants of the simulation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from grctl.engine.rows import StoreWrite, Transition
from grctl.engine.transitions import Cause, Wake, after_directive, retried, still_waiting, stopped
from grctl.ids import new_run_id
from grctl.models.directive import Complete, ContinueAsNew, NextStep, Wait
from grctl.worker.run import HeldRun, run_after
from tests.chaos.model.database import HOUR, WF_TYPE, Desk, Shifted
from tests.chaos.model.reference import Reference, Run
from tests.chaos.model.state import STATE, as_expected, as_stored, differences
from tests.chaos.simulation.invariants import ALWAYS, violations

IDS = st.sampled_from(["a", "b", "c"])


def holding(machine: Machine) -> bool:
    return any(desk.held for desk in machine.desks)


def started(machine: Machine) -> bool:
    return bool(machine.model.runs)


PICK = st.integers(0, 1000)
ENDS = [
    "step", "delay", "wait", "wait", "wait for ever", "rewait", "retry", "complete", "again",
    "fail",
]  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Rules are what may happen; ``PICK`` chooses among the runs and workers that there are."""

    database: Shifted

    @initialize()
    def begin(self) -> None:
        self.database.begin()
        self.model = Reference()
        self.desks: list[Desk] = []
        self.messages = 0
        self.given_back: set[tuple[UUID, int]] = set()
        self.register()
        self.register()
        self.start("a", None, 1)
        self.start("b", None, 1)
        self.claim(0, 1)

    # --- clients ------------------------------------------------------------------------------

    @rule(wf_id=IDS, hours=st.sampled_from([None, None, 1, 3]), times=st.integers(1, 2))
    def start(self, wf_id: str, hours: int | None, times: int) -> None:
        """Perhaps sent twice, as after a lost answer."""
        run = Run(new_run_id(), wf_id, hours)
        for _ in range(times):
            assert self.database.start(run.run_id, wf_id, hours) == self.model.start(run)

    @rule(pick=PICK)
    def send(self, pick: int) -> None:
        if run := self._run(pick):
            self._send_to(run)

    def _send_to(self, run: Run) -> None:
        self.messages += 1
        text = f"message {self.messages}"
        [answer] = self.database.fetch(
            "inbox", "send", run.run_id, "event", "poke", json.dumps(text), uuid4(), None
        )
        assert answer["delivered"] == self.model.send(run, text)

    @rule(pick=PICK, how=st.sampled_from(["cancel", "cancel", "terminate"]))
    def end(self, pick: int, how: str) -> None:
        if run := self._run(pick):
            answer = self.database.value("runs", how, run.run_id, "enough")
            assert answer == (self.model.cancel if how == "cancel" else self.model.terminate)(run)

    @rule(pick=PICK)
    @precondition(lambda self: any(run.status == "failed" for run in self.model.runs.values()))
    def retry(self, pick: int) -> None:
        if run := self._run(pick, lambda each: each.status == "failed"):
            assert self.database.value("runs", "retry", run.run_id) == self.model.retry(run)

    @rule(pick=PICK, is_answered=st.booleans())
    def query(self, pick: int, is_answered: bool) -> None:
        """A question changes nothing, whether it is answered or not."""
        if run := self._run(pick):
            query_id = uuid4()
            self.database.fetch("queries", "ask", query_id, run.run_id, WF_TYPE, "ask", None, 60.0)
            taken = self.database.fetch("queries", "take", [WF_TYPE], 100, None)
            assert query_id in {row["query_id"] for row in taken}
            if is_answered:
                self.database.fetch("queries", "answer", query_id, '"yes"', None)
                answers = self.database.fetch("queries", "read", query_id)
                assert [row["answer"] for row in answers if row["query_id"] == query_id] == [
                    '"yes"'
                ]
            self.database.fetch("queries", "forget", query_id)

    @rule(hours=st.sampled_from([1, 1, 2, 4]))
    def time_passes(self, hours: int) -> None:
        self.model.now += hours
        self.database.shift(self.model.now)

    @rule()
    def vacuum(self) -> None:
        """Rows that come in no order may come in another."""
        self.database.tidy()

    # --- workers ------------------------------------------------------------------------------

    @rule()
    @precondition(lambda self: len(self.desks) < 5)
    def register(self) -> None:
        desk = Desk(self.database, self.database.register())
        self.model.register(desk.worker)
        self.desks.append(desk)

    @rule(pick=PICK)
    def heartbeat(self, pick: int) -> None:
        desk = self._desk(pick)
        renewed = bool(self.database.fetch("leases", "renew", desk.worker, None, None))
        assert renewed == self.model.renew(desk.worker)

    @rule(pick=PICK, most=st.sampled_from([1, 2, 100, 100]))
    def claim(self, pick: int, most: int) -> None:
        desk = self._desk(pick)
        rows = self.database.claim(desk.worker, most)
        claimed = [self.model.runs[row["run_id"]] for row in rows]
        good, bad = self.model.claimable()
        if self.model.workers[desk.worker].is_over:
            assert not rows
        elif any(each in bad for each in claimed):
            assert len(claimed) == 1
        elif most == 100:
            assert [each.run_id for each in good if each not in claimed] == []
            assert good or not bad
        assert all(each in good or each in bad for each in claimed)
        assert len(rows) <= most
        self.model.claim(desk.worker, claimed)
        for row in rows:
            held = HeldRun(row, desk)  # type: ignore[arg-type]  # a journal in all it is asked for
            for (seq,) in self.database.look(
                f"select seq from grctl.events where run_id = '{row['run_id']}' and seq >= "
                f"{row['step_seq']} order by seq"
            ):
                held.resume_after(seq)
            desk.held[held.run_id, held.epoch] = held

    @rule(pick=PICK, tasks=st.integers(1, 3), is_lost=st.booleans())
    @precondition(holding)
    def run_to_an_await(self, pick: int, tasks: int, is_lost: bool) -> None:
        """Some outcomes of the step that runs, each a row."""
        if found := self._held(pick):
            desk, held, run = found
            for number in range(tasks):
                held.record("task.completed", op=f"{held.last_seq}.{number}", name="act", body="1")
            answers = desk.commit(answer_is_lost=is_lost)
            if self.model.record(desk.worker, run, held.epoch, ["task.completed"] * tasks):
                assert not answers
            elif self.model.workers[desk.worker].is_over:
                assert answers[None][0] == "fenced"
                desk.held.clear()
            else:
                assert is_lost or answers[run.run_id][0] == "lost"
                del desk.held[held.run_id, held.epoch]

    @rule(
        pick=PICK,
        how=st.sampled_from(ENDS),
        hours=st.integers(1, 3),
        reads=st.booleans(),
        key=st.sampled_from(["x", "y"]),
        is_lost=st.booleans(),
    )
    @precondition(holding)
    def end_step(
        self, pick: int, how: str, hours: int, reads: bool, key: str, is_lost: bool
    ) -> None:
        if found := self._held(pick):
            desk, held, run = found
            kind, transition = _end_of(held, how, hours)
            transition.read = held.read
            if reads and held.wake is Wake.EVENT and run.inbox:
                transition.read += 1
            value = None if hours == 1 else str(hours)
            transition.writes = [StoreWrite(key, value)]
            successor = None
            if how == "again":
                transition.successor = run_after(held, "null")
                successor = Run(UUID(transition.successor["run_id"]), run.wf_id)
            if transition.go in ("end", "stop") and run.parent_step is not None:
                transition.parent_run = run.parent
            held.record(kind, transition=transition, body=_body(how, hours, held, successor))
            answers = desk.commit(answer_is_lost=is_lost)
            self._check_verdict(desk, held, run, (kind, transition, successor), answers)

    def _check_verdict(
        self, desk: Desk, held: HeldRun, run: Run, end: tuple[str, Transition, Run | None],
        answers: dict[UUID | None, tuple[str, str | None]],
    ) -> None:  # fmt: skip
        kind, transition, successor = end
        if self.model.workers[desk.worker].is_over:
            assert answers == {None: ("fenced", None)}
            desk.held.clear()
        elif run.epoch != held.epoch or run.owner != desk.worker:
            assert answers.get(run.run_id, PARKED)[0] in ("lost", "gone")
            del desk.held[held.run_id, held.epoch]
        else:
            verdict, why = self.model.finish(run, kind, transition, successor)
            assert answers.get(run.run_id, PARKED) == (verdict, why)
            if verdict == "kept":
                held.advance(Wake(why or "step"), transition)
            else:
                del desk.held[held.run_id, held.epoch]

    @rule(
        pick=PICK,
        how=st.sampled_from(["wait", "wait for ever"]),
        reads=st.booleans(),
        is_late=st.booleans(),
    )
    @precondition(holding)
    def meet(self, pick: int, how: str, reads: bool, is_late: bool) -> None:
        """A message comes just before a step waits, or just after; the next step may read it."""
        if found := self._held(pick):
            if not is_late:
                self._send_to(found[2])
            self.end_step(pick, how, 1, reads=False, key="x", is_lost=False)
            if is_late:
                self._send_to(found[2])
            elif self._held(pick) == found:
                self.end_step(pick, "step", 2, reads=reads, key="x", is_lost=False)

    @rule(pick=PICK, by=st.sampled_from(["cancel", "terminate"]), how=st.sampled_from(ENDS))
    @precondition(holding)
    def end_under_way(self, pick: int, by: str, how: str) -> None:
        """A cancel or a terminate comes just before the step's end, which writes to the store."""
        if found := self._held(pick):
            run = found[2]
            answer = self.database.value("runs", by, run.run_id, "enough")
            assert answer == (self.model.cancel if by == "cancel" else self.model.terminate)(run)
            self.end_step(pick, how, 2, reads=False, key="y", is_lost=False)

    @rule(pick=PICK, step=st.sampled_from([None, "joined"]), is_lost=st.booleans(), wf_id=IDS,
          policy=st.sampled_from(["abandon", "cancel", "terminate"]))  # fmt: skip
    @precondition(holding)
    def start_child(
        self, pick: int, step: str | None, policy: str, is_lost: bool, wf_id: str
    ) -> None:
        if found := self._held(pick):
            desk, held, run = found
            child = Run(new_run_id(), f"{wf_id} child", None, None, run.run_id, step, policy)
            start = {
                "run_id": str(child.run_id), "wf_id": child.wf_id, "wf_type": WF_TYPE,
                "input": None, "timeout_ms": None, "parent": str(run.run_id),
                "parent_epoch": held.epoch, "parent_step": step, "policy": policy,
            }  # fmt: skip
            body = json.dumps({"run_id": str(child.run_id)})
            held.record("child.started", op=f"child {held.last_seq}", body=body, start=start)
            answers = desk.commit(answer_is_lost=is_lost)
            self._check_child(desk, held, run, child, answers)

    def _check_child(
        self, desk: Desk, held: HeldRun, run: Run, child: Run,
        answers: dict[UUID | None, tuple[str, str | None]],
    ) -> None:  # fmt: skip
        if self.model.workers[desk.worker].is_over:
            assert answers == {None: ("fenced", None)}
            desk.held.clear()
        elif run.epoch != held.epoch:
            del desk.held[held.run_id, held.epoch]
        else:
            refused = self.model.start(child)
            kind = "child.refused" if refused else "child.started"
            self.model.record(desk.worker, run, held.epoch, [kind])
            assert (run.run_id in answers) == bool(refused)
            if refused:
                assert answers[run.run_id] == ("refused", refused)

    @rule(pick=PICK)
    @precondition(holding)
    def leave_an_orphan(self, pick: int) -> None:
        """A child ends after the parent that it would have told."""
        if found := self._held(pick):
            before = set(self.model.runs)
            self.start_child(pick, "joined", "abandon", is_lost=False, wf_id="a")
            for run_id in (found[2].run_id, *(self.model.runs.keys() - before)):
                run = self.model.runs[run_id]
                answer = self.database.value("runs", "terminate", run_id, "enough")
                assert answer == self.model.terminate(run)

    @rule(pick=PICK, is_forgotten=st.booleans())
    @precondition(holding)
    def give_back(self, pick: int, is_forgotten: bool) -> None:
        """The hand may come back to it late, when it has been claimed again."""
        if found := self._held(pick):
            desk, held, run = found
            self.database.fetch("runs", "release", desk.worker, [run.run_id], [held.epoch])
            self.model.give_back(desk.worker, run, held.epoch)
            if is_forgotten:
                del desk.held[held.run_id, held.epoch]
            self.given_back.add((held.run_id, held.epoch))

    @rule(times=st.integers(1, 4))
    @precondition(lambda self: len(self.desks) < 12)
    def crash(self, times: int) -> None:
        """One worker after another has everything, and dies of it."""
        for _ in range(times):
            self.time_passes(2)
            self.take_over()
            self.register()
            self.claim(len(self.desks) - 1, 100)

    @rule()
    def take_over(self) -> None:
        taken = 0
        while self.database.fetch("leases", "take_over"):  # one worker at a time
            taken += 1
        assert taken == self.model.take_over()

    @rule(pick=PICK)
    def stop(self, pick: int) -> None:
        """It signs off; its hand may go on like a zombie's."""
        desk = self._desk(pick)
        self.database.value("leases", "stop", desk.worker)
        self.model.release(desk.worker, crashed=False)

    @rule(pick=PICK)
    @precondition(holding)
    def forget(self, pick: int) -> None:
        """Its process is killed: the hand is gone, the registration is not."""
        self._desk(pick).held.clear()

    @rule()
    @precondition(lambda self: bool(self.model.closings))
    def close_child(self) -> None:
        first = min(self.model.closings, default=None)
        assert self.database.value("runs", "close_child") == (first is not None)
        if first is not None:
            self.model.close_child(self.model.runs[first])

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def the_tables_hold_what_the_reference_says(self) -> None:
        tables = {row["run_id"]: as_stored(row) for row in self.database.look(STATE)}
        assert tables.keys() == self.model.runs.keys()
        for run_id, run in self.model.runs.items():
            found = differences(tables[run_id], as_expected(run))
            assert not found, f"{found} of {run}, in the {self.model.now}th hour"

    def teardown(self) -> None:
        """At the end: the slower looks."""
        relevant = {name: query for name, query in ALWAYS.items() if name not in NOT_OF_A_HAND}
        assert violations(self.database.look, relevant) == []

    # --- picking ------------------------------------------------------------------------------

    def _run(self, pick: int, fits: Callable[[Run], bool] = lambda _: True) -> Run | None:
        """Of the open ones, and of the one that ended last."""
        fitting = [run for run in self.model.runs.values() if fits(run)]
        ended = [run for run in fitting if not run.is_open]
        runs = [run for run in fitting if run.is_open] + ended[-1:]
        return runs[pick % len(runs)] if runs else None

    def _desk(self, pick: int) -> Desk:
        return self.desks[pick % len(self.desks)]

    def _held(self, pick: int) -> tuple[Desk, HeldRun, Run] | None:
        held = [
            (desk, each)
            for desk in self.desks
            for key, each in desk.held.items()
            if key not in self.given_back or self.model.runs[each.run_id].epoch > each.epoch
        ]
        if not held:
            return None
        desk, each = held[pick % len(held)]
        return desk, each, self.model.runs[each.run_id]


PARKED = ("gone", None)
"""What no answer says of the end of a step: the run was parked or ended, as was asked for."""

NOT_OF_A_HAND = {
    # A hand ends its steps as it likes, whatever it was awake for.
    "a run's last row says what its status says",
    "nothing comes after a run's end",
    "a timer does not go off early",
    "steps follow each other",
    "a child's end is told to its parent once",
}


def _end_of(held: HeldRun, how: str, hours: int) -> tuple[str, Transition]:
    if how == "delay":
        transition = after_directive(NextStep("next"))
        transition.go, transition.status = "delay", "delayed"
        transition.delay_ms = hours * HOUR
        return "step.completed", transition
    if how == "wait":
        transition = after_directive(Wait(on_timeout="late"))
        transition.delay_ms = hours * HOUR
        return "step.completed", transition
    if how == "retry":
        return "step.attempt_failed", retried(held.step_attempt + 1, hours * HOUR)
    if how == "rewait" and held.wake in (Wake.EVENT, Wake.TIMEOUT):
        return "event.unhandled", still_waiting()
    if how == "fail":
        return "step.failed", stopped(Cause.STEP_FAILED)
    directive = {
        "wait for ever": Wait(),
        "complete": Complete("done"),
        "again": ContinueAsNew({}),
    }.get(how, NextStep("next"))
    return "step.completed", after_directive(directive)


def _body(how: str, hours: int, held: HeldRun, successor: Run | None) -> str:
    told: dict[str, Any] = {"next": how, "cause": str(held.wake)}
    if successor is not None:
        told |= {"next": "continue_as_new", "run_id": str(successor.run_id)}
    return json.dumps(told)
