"""Runs that a client starts over the worker's own connection: the worker's from the first moment.

The insert says whose they are, so that they need no claim: a round trip and an update less. What
is started in bulk, or beyond the free slots, or while older runs wait, is for any worker to claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from asyncpg import Record

from grctl.client.starts import Start
from grctl.worker.run import HeldRun

if TYPE_CHECKING:
    from grctl.worker.worker import Worker

__all__ = ["OwnStarts"]


class OwnStarts:
    """Those of one registration. A ``Taker`` of the client's starts."""

    def __init__(self, worker: Worker, worker_no: int) -> None:
        self.worker_no = worker_no
        self._worker = worker
        self._slots = worker.slots
        self._claims = worker.claims
        self._journal = worker.journal

    def begin(self, starts: Sequence[Start]) -> bool:
        """Whether the worker takes these starts; then ``take`` or ``give_up`` follows."""
        if self._claims.has_backlog or len(starts) > self._slots.free:
            return False
        if any(start.wf_type not in self._worker.workflows for start in starts):
            return False
        self._slots.starting.update((start.run_id, start) for start in starts)
        return True

    def take(self, starts: Sequence[Start], answers: Sequence[Record]) -> None:
        """They were sent: execute those that are ours now. Those of a term that is over have been
        made due for others by whatever ended it.
        """
        if len(answers) < len(starts):  # neither held nor refused: they were sent twice
            self._claims.is_in_doubt = True
        sent = {start.run_id: self._slots.starting.pop(start.run_id) for start in starts}
        claimed = [
            _as_claimed(sent[each["run"]], each["created_at"])
            for each in answers
            if each["why"] == "held"
        ]
        if not claimed or self._journal.is_fenced:
            return
        worker = self._worker
        worker.clock.set(claimed[0]["now"])
        if worker.metrics is not None:
            worker.metrics.claimed(claimed)
        for row in claimed:
            run = HeldRun(row, self._journal)
            if worker.is_stopping:
                self._slots.give_back(run)
            else:
                self._slots.execute(run)

    def give_up(self, starts: Sequence[Start]) -> None:
        """There was no answer. What is ours all the same is found by a poll, and given back."""
        for start in starts:
            self._slots.starting.pop(start.run_id, None)
        self._claims.is_in_doubt = True


def _as_claimed(start: Start, now: datetime) -> dict[str, Any]:
    """A new run as a claim would give it."""
    return {
        "run_id": start.run_id,
        "wf_id": start.wf_id,
        "wf_type": start.wf_type,
        "epoch": 1,
        "was": "scheduled",
        "cause": "start",
        "step_no": 1,
        "step_name": None,
        "step_attempt": 1,
        "next_seq": 1,
        "crashes": 0,
        "inbox_head": 0,
        "wait_step": None,
        "input": start.input,
        "created_at": now,
        "seconds_left": None if start.timeout_ms is None else start.timeout_ms / 1000,
        "cancel_requested": False,
        "cancel_reason": None,
        "parent_run_id": None,
        "parent_wf_id": None,
        "parent_wf_type": None,
        "parent_step": None,
        "trace": start.trace,
        "now": now,
    }
