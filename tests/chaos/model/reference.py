"""What the tables must hold, in plain Python: one thing at a time, in hours, without a database.

It says what ``docs/how-it-works.md`` says, and knows nothing of SQL, locks or batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from grctl.engine.rows import Transition

SUSPECT_AFTER = 3
LEASE = 1.5
"""Hours. Clocks move by whole ones: a lease is never just about to end."""


@dataclass
class Run:
    """A row of ``runs``, and all that hangs on it. Times are hours; ``due`` is its wake-up."""

    run_id: UUID
    wf_id: str
    timeout: int | None = None
    deadline: int | None = None
    parent: UUID | None = None
    parent_step: str | None = None
    policy: str | None = None
    status: str = "scheduled"
    owner: int | None = None
    epoch: int = 0
    due: int | None = 0
    claimed: tuple[int, int] = (0, 0)
    cause: str | None = None
    step_no: int = 1
    step_name: str | None = None
    step_attempt: int = 1
    crashes: int = 0
    wait_until: int | None = None
    wait_step: str | None = None
    head: int = 0
    tail: int = 0
    cancel: bool = False
    inbox: list[str] = field(default_factory=list)
    store: dict[str, str] = field(default_factory=dict)
    history: list[tuple[str, int]] = field(default_factory=list)
    """Kind and epoch of each row."""

    @property
    def is_open(self) -> bool:
        return self.status in ("scheduled", "running", "waiting", "delayed")


@dataclass
class Worker:
    number: int
    lease: float
    is_over: bool = False


class Reference:
    """The state that the database must be in."""

    def __init__(self) -> None:
        self.now = 0
        self.runs: dict[UUID, Run] = {}
        self.workers: dict[int, Worker] = {}
        self.closings: dict[UUID, str] = {}
        self._claims = 0

    # --- clients ------------------------------------------------------------------------------

    def start(self, run: Run) -> str | None:
        if run.run_id in self.runs:
            return None
        if any(each.wf_id == run.wf_id and each.is_open for each in self.runs.values()):
            return "running"
        self._begin(run)
        return None

    def _begin(self, run: Run) -> None:
        run.due = self.now
        run.deadline = None if run.timeout is None else self.now + run.timeout
        self.runs[run.run_id] = run

    def send(self, run: Run, message: str) -> bool:
        if not run.is_open:
            return False
        run.tail += 1
        run.inbox.append(message)
        if run.owner is None and run.status == "waiting":
            run.due = self.now if run.due is None else min(run.due, self.now)
        return True

    def cancel(self, run: Run) -> str:
        if not run.is_open:
            return "ended"
        run.cancel = True
        if run.status == "running":
            return "requested"
        self._end(run, "cancelled", "run.cancelled")
        return "cancelled"

    def terminate(self, run: Run) -> str:
        if not run.is_open:
            return "ended"
        run.epoch += 1
        self._end(run, "terminated", "run.terminated")
        return "terminated"

    def retry(self, run: Run) -> str:
        if run.status != "failed":
            return "not_failed"
        if any(each.wf_id == run.wf_id and each.is_open for each in self.runs.values()):
            return "running"
        run.history.append(("run.retried", run.epoch))
        run.status, run.due, run.crashes, run.cancel = "delayed", self.now, 0, False
        run.step_attempt += 1
        return "retried"

    # --- workers ------------------------------------------------------------------------------

    def register(self, number: int) -> None:
        self.workers[number] = Worker(number, self.now + LEASE)

    def renew(self, number: int) -> bool:
        worker = self.workers[number]
        if not worker.is_over:
            worker.lease = self.now + LEASE
        return not worker.is_over

    def claimable(self) -> tuple[list[Run], list[Run]]:
        """What is due: the good, and the suspects, of which a claim takes one, alone."""
        due = [each for each in self.runs.values() if each.due is not None and each.due <= self.now]
        return (
            [each for each in due if each.crashes < SUSPECT_AFTER],
            [each for each in due if each.crashes >= SUSPECT_AFTER],
        )

    def claim(self, number: int, runs: list[Run]) -> None:
        self._claims += 1
        for run in runs:
            run.cause = self._cause(run)
            run.owner, run.status, run.due = number, "running", None
            run.epoch += 1
            run.claimed = (self._claims, run.run_id.int)

    def _cause(self, run: Run) -> str | None:
        if run.deadline is not None and run.deadline <= self.now:
            return "run_timeout"
        if run.status != "running" and run.cancel:
            return "cancel"
        if run.status == "scheduled":
            return "start"
        if run.status in ("running", "delayed"):
            return run.cause
        return "event" if run.tail > run.head else "timeout"

    def record(self, number: int, run: Run, epoch: int, kinds: list[str]) -> bool:
        """Whether the rows count."""
        if self.workers[number].is_over or run.epoch != epoch:
            return False
        run.history += [(kind, epoch) for kind in kinds]
        return True

    def give_back(self, number: int, run: Run, epoch: int) -> None:
        if run.owner == number and run.epoch == epoch:
            run.owner, run.due = None, self.now

    def take_over(self) -> int:
        lost = [w for w in self.workers.values() if not w.is_over and w.lease < self.now]
        for worker in lost:
            self.release(worker.number, crashed=True)
        return len(lost)

    def release(self, number: int, *, crashed: bool) -> None:
        worker = self.workers[number]
        if worker.is_over:
            return
        worker.is_over = True
        held = [each for each in self.runs.values() if each.owner == number]
        blamed = _blamed(held)
        for run in held:
            run.owner, run.due = None, self.now
            run.crashes += crashed and run in blamed

    # --- the end of a step --------------------------------------------------------------------

    def finish(
        self, run: Run, kind: str, transition: Transition, successor: Run | None
    ) -> tuple[str, str | None]:
        """The verdict on a step's end that counts, and why the worker keeps the run."""
        run.history.append((kind, run.epoch))
        go = transition.go
        halted = run.cancel and go != "stop"
        unread = go in ("wait", "rewait") and run.tail > transition.read
        self._handle(run, transition)
        if go in ("end", "stop") and not halted:
            run.status = transition.status
            self._close(run)
            if successor is not None:
                self._continue(run, successor)
            self._after_end(run)
            return "gone", None
        again = go == "retry" and not halted
        run.wait_until, was_until = None, run.wait_until
        if go == "wait" and transition.delay_ms is not None:
            run.wait_until = self.now + _hours(transition.delay_ms)
        elif go == "rewait":
            run.wait_until = was_until
        if go == "wait":
            run.wait_step = transition.wait_step
        elif go != "rewait" and not again:
            run.wait_step = None
        if again:
            run.step_attempt = transition.attempt
        else:
            run.step_no, run.step_attempt = run.step_no + 1, 1
            run.step_name = transition.step_name
        return self._go_on(run, transition, halted=halted, unread=unread)

    def _go_on(
        self, run: Run, transition: Transition, *, halted: bool, unread: bool
    ) -> tuple[str, str | None]:
        go = transition.go
        if halted or unread or go == "step":
            run.cause = "cancel" if halted else "event" if unread else "step"
            return "kept", run.cause
        if go == "delay":
            run.cause = "step"
        elif go != "retry":
            run.cause = None
        due = run.wait_until if go == "rewait" else None
        if transition.delay_ms is not None:
            due = self.now + _hours(transition.delay_ms)
        run.status, run.owner = transition.status, None
        run.due = min((t for t in (due, run.deadline) if t is not None), default=None)
        return "gone", None

    def _handle(self, run: Run, transition: Transition) -> None:
        del run.inbox[: transition.read - run.head]
        run.head = transition.read
        run.crashes = 0
        for write in transition.writes:
            if write.value is None:
                run.store.pop(write.key, None)
            else:
                run.store[write.key] = write.value

    def _end(self, run: Run, status: str, kind: str) -> None:
        run.history.append((kind, run.epoch))
        run.status = status
        self._close(run)
        self._after_end(run)

    def _close(self, run: Run) -> None:
        run.owner = run.due = None

    def _continue(self, run: Run, successor: Run) -> None:
        successor.parent, successor.parent_step = run.parent, run.parent_step
        successor.policy, successor.timeout = run.policy, run.timeout
        self._begin(successor)
        # What was not handled is the successor's; the old row keeps its numbers.
        successor.inbox, run.inbox = run.inbox, []
        successor.tail = len(successor.inbox)

    def _after_end(self, run: Run) -> None:
        parent = self.runs.get(run.parent) if run.parent else None
        if parent is not None and run.parent_step is not None and run.status != "continued":
            self.send(parent, str(run.run_id))
        for child in self.runs.values():
            if child.parent == run.run_id and child.is_open and child.policy != "abandon":
                self.closings[child.run_id] = str(child.policy)

    def close_child(self, run: Run) -> None:
        how = self.closings.pop(run.run_id)
        self.cancel(run) if how == "cancel" else self.terminate(run)


def _hours(ms: int) -> int:
    return ms // 3_600_000


def _blamed(held: list[Run]) -> list[Run]:
    """Against which runs of a worker its crash counts."""
    suspects = [each for each in held if each.crashes >= SUSPECT_AFTER]
    if not suspects:
        return held
    suspect = max(suspects, key=lambda each: each.claimed)
    beside = [e for e in held if e.crashes < SUSPECT_AFTER and e.claimed[0] >= suspect.claimed[0]]
    return beside if any(each.crashes for each in beside) else [suspect, *beside]
