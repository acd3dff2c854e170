"""The runs that a worker has in flight, each in a slot, and how many slots are free.

They are the worker's, not a term's: a step that does not stop may outlive the term it began in.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from grctl.errors import LeaseLostError
from grctl.log import get_logger
from grctl.worker import branches
from grctl.worker.executor import Executor, Interrupt
from grctl.worker.suspects import Suspects

if TYPE_CHECKING:
    from grctl.client.starts import Start
    from grctl.worker.run import HeldRun
    from grctl.worker.worker import Worker

__all__ = ["Slots"]

log = get_logger("grctl.worker")


class Slots:
    """As many as the worker's ``concurrency``. A run that only sleeps takes none."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._waiters = worker.client.connection.waiters
        self.executors: dict[UUID, Executor] = {}
        self.starting: dict[UUID, Start] = {}
        """Runs that are started beside the worker, and whose insert has no answer yet."""
        self.sleeping = 0
        self.suspects = Suspects()
        self.has_runs = asyncio.Event()
        self.all_done = asyncio.Event()
        self._loose: set[asyncio.Future[Any]] = set()

    @property
    def free(self) -> int:
        """How many runs may be begun now."""
        worker = self._worker
        if worker.is_stopping or worker.journal.is_fenced or self.suspects.alone_seconds:
            return 0
        return worker.concurrency - len(self.executors) - len(self.starting) + self.sleeping

    def held(self) -> set[UUID]:
        """What is ours in the database, as far as we know."""
        return self.executors.keys() | self.starting.keys()

    def execute(self, run: HeldRun) -> None:
        """Set a claimed run going."""
        executor = Executor(self._worker, run, self._worker.workflows[run.wf_type])
        self.executors[run.run_id] = executor
        self.suspects.note(run)
        self._waiters.hold(run.run_id)
        self.has_runs.set()
        executor.task = branches.start(
            asyncio.get_running_loop(), executor.execute(), f"run {run.run_id}"
        )
        executor.task.add_done_callback(lambda task: self._ended(executor, task))

    def abandon(self, executor: Executor) -> None:
        """Go on without a step that does not stop."""
        end = executor.abandon()
        if end is None:
            self._let_go(executor)
        else:
            end.add_done_callback(lambda _: self._let_go(executor))

    def interrupt_all(self, why: Interrupt) -> None:
        """Stop every step that runs."""
        for executor in list(self.executors.values()):
            executor.interrupt(why)

    def note_sleepers(self, count: int) -> None:
        """So many of the runs only sleep: there may be room for others."""
        has_more_room = count > self.sleeping
        self.sleeping = count
        if has_more_room:
            self._worker.claims.freed()

    def exonerate(self, run_id: UUID) -> None:
        """A step has ended without a crash: if it was suspected of one, it was alone for it."""
        if self.suspects.forget(run_id):
            self._worker.claims.call()

    def give_back(self, run: HeldRun, delay: float = 0.0) -> None:
        """Make a run that is not executed due for others, after so many seconds."""
        giving = asyncio.ensure_future(self._give_back(run, delay))
        self._loose.add(giving)
        giving.add_done_callback(self._loose.discard)

    async def _give_back(self, run: HeldRun, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._worker.holdings.give_back(run)

    def _ended(self, executor: Executor, task: asyncio.Task[Any]) -> None:
        if not executor.is_abandoned:
            self._let_go(executor)
        if task.cancelled():
            # Nothing here cancels it between two steps; code that kept hold of its task may have.
            if not (self._worker.is_stopping or self._worker.journal.is_fenced):
                self.give_back(executor.run, self._worker.settings.poll_seconds)
            return
        error = task.exception()
        if error is None or isinstance(error, LeaseLostError):
            return
        if not isinstance(error, Exception):
            self._worker.crash(error)
            return
        log.error("executor failed", **executor.ids, exc_info=error)
        # Ours by a defect only. Its run must not be held for ever by a worker that lives on. Not at
        # once: what failed may fail again, and must not become a busy loop.
        self.give_back(executor.run, self._worker.settings.poll_seconds)

    def _let_go(self, executor: Executor) -> None:
        run_id = executor.run.run_id
        if self.executors.get(run_id) is executor:
            del self.executors[run_id]
            self._waiters.let_go(run_id)
        if not self.executors:
            self.has_runs.clear()
            self.all_done.set()
        self._worker.claims.freed()
        self.exonerate(run_id)
