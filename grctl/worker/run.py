"""A run while this worker holds it: who it is, where it stands, and its next row number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from grctl.engine.rows import Row, Transition
from grctl.engine.transitions import Wake
from grctl.ids import new_run_id
from grctl.postgres.batch import Commit
from grctl.postgres.journal import Journal
from grctl.worker.scope import Scope, settle

__all__ = ["HeldRun", "Message", "run_after"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the inbox."""

    no: int
    kind: str
    name: str
    payload: str | None
    message_id: UUID | None
    trace: str | None = None


class HeldRun:
    """The state of a claimed run. This worker alone writes its row and its history."""

    def __init__(self, row: Mapping[str, Any], journal: Journal) -> None:
        self.run_id: UUID = row["run_id"]
        self.wf_id: str = row["wf_id"]
        self.wf_type: str = row["wf_type"]
        self.epoch: int = row["epoch"]
        self.wake = Wake(row["cause"])
        self.step_no: int = row["step_no"]
        self.next_step: str | None = row["step_name"]
        self.step_attempt: int = row["step_attempt"]
        self.crashes: int = row["crashes"]
        self.read: int = row["inbox_head"]
        self.wait_step: str | None = row["wait_step"]
        self.input: str | None = row["input"]
        self.created_at: datetime = row["created_at"]
        self.seconds_left: float | None = row["seconds_left"]
        self.cancel_reason: str | None = row["cancel_reason"]
        self.cancel_requested: bool = row["cancel_requested"]
        self.parent_run_id: UUID | None = row["parent_run_id"]
        self.parent_wf_id: str | None = row["parent_wf_id"]
        self.parent_wf_type: str | None = row["parent_wf_type"]
        self.parent_step: str | None = row["parent_step"]
        self.trace: str | None = row["trace"]
        self.step_name = ""
        self.message: Message | None = None
        self.recorded: list[Row] = []
        """History of the current step, where an earlier owner left some."""
        self.scope: Scope | None = None
        self.on_lost: Callable[[], None] = _nothing
        self._journal = journal
        self.slot = 0
        self.unwritten = 0
        self._next_seq: int = row["next_seq"]

    @property
    def last_seq(self) -> int:
        """The seq of the last row that was put on its way."""
        return self._next_seq - 1

    @property
    def is_fenced(self) -> bool:
        """Whether its worker's lease is lost: nothing more can be recorded."""
        return self._journal.is_fenced

    def resume_after(self, seq: int) -> None:
        """History ends with ``seq``: rows after the run's last transition count too."""
        self._next_seq = max(self._next_seq, seq + 1)

    def rewind_to(self, seq: int) -> None:
        """The row ``seq`` was refused, and none after it is written: the next one takes it."""
        self._next_seq = seq

    def record(
        self,
        kind: str,
        *,
        op: str | None = None,
        name: str | None = None,
        place: int | None = None,
        attempt: int | None = None,
        micros: int | None = None,
        input: str | None = None,
        body: str | None = None,
        start: dict[str, Any] | None = None,
        message: dict[str, Any] | None = None,
        transition: Transition | None = None,
    ) -> Commit:
        """Put a row of history on its way into the database."""
        seq = self._next_seq
        self._next_seq = seq + 1
        row = Row(
            self.run_id,
            self.epoch,
            seq,
            self.step_no,
            self.step_attempt,
            kind,
            op,
            name,
            None if place == seq - 1 else place,
            attempt,
            micros,
            input,
            body,
        )
        return self._journal.record(self, row, transition, start=start, message=message)

    def deliver(self, commit: Commit) -> None:
        """A row is committed; or it was not, because the run is not ours any more."""
        if commit.answer is not None and commit.answer.verdict == "lost":
            self.on_lost()
        if self.scope is None:
            settle(commit)
        else:
            self.scope.deliver(commit)

    def advance(self, wake: Wake, transition: Transition) -> None:
        """The worker keeps the run, for ``wake``: what the database made of its row."""
        again = transition.go == "retry" and wake is not Wake.CANCEL
        self.wake = wake
        self.step_no += 0 if again else 1
        self.step_attempt = transition.attempt if again else 1
        self.next_step = transition.step_name
        self.wait_step = transition.wait_step
        self.read = transition.read
        self.crashes = 0
        self.message = None
        self.recorded = []


def _nothing() -> None:
    """Nobody executes the run yet."""


def run_after(run: HeldRun, input_text: str) -> dict[str, Any]:
    """The start that follows ``run`` by continue_as_new, as ``start_runs`` takes it."""
    return {
        "run_id": str(new_run_id()),
        "wf_id": run.wf_id,
        "wf_type": run.wf_type,
        "input": input_text,
        "timeout_ms": None,
        "parent": str(run.run_id),
    }
