"""Group commit: every run of a process records through here, and nothing is lost or doubled.

A record is a future. Writers take what has gathered, write it as one statement in one
transaction, and then wake all its waiters in one go. A run keeps to one writer while rows of it
are on their way, so they commit in order. While one batch is on its way the next one gathers;
nobody lingers.

If an answer is lost, the writer sends the same batch again: ``writers.last_batch`` tells the
database whether it has it already. If the worker was declared dead meanwhile, its writers' rows
are gone, and so everything that is still to be recorded fails with ``LeaseLostError``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, Protocol

import asyncpg

from grctl.engine.rows import Row, Transition
from grctl.errors import GrctlError, LeaseLostError
from grctl.log import get_logger
from grctl.postgres.batch import Answer, Commit, Recorder, arguments
from grctl.postgres.database import Backoff, Database, is_passing

__all__ = ["Journal", "Observer", "RecordRefusedError"]

log = get_logger("grctl.journal")

_GONE = Answer("gone")
_GONE_OR_LOST = Answer("gone", is_certain=False)


class RecordRefusedError(GrctlError):
    """The database cannot store this record, whatever is done: its run fails, nothing else."""


class Observer(Protocol):
    """Whoever counts what is recorded."""

    def committed(self, batch: Sequence[Commit], seconds: float) -> None:
        """A batch is in the database, so many seconds after it was first sent."""


class Journal:
    """The writers of one worker. Made for one registration; a new one gets a new journal."""

    def __init__(self, database: Database, worker_no: int, on_fenced: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        slots = database.settings.writers
        self._writers = [_Writer(self, database, worker_no, slot) for slot in range(slots)]
        self._on_fenced = on_fenced
        self.is_fenced = False
        self.in_flight: Callable[[], int] = lambda: 0
        self.observer: Observer | None = None

    async def until_open(self) -> None:
        """Until every writer has been answered once."""
        for writer in self._writers:
            await writer.is_open.wait()

    @property
    def waiting(self) -> int:
        """How many records wait for their batch."""
        return sum(len(writer.queue) for writer in self._writers)

    def record(
        self,
        run: Recorder,
        row: Row,
        transition: Transition | None = None,
        *,
        start: dict[str, Any] | None = None,
        message: dict[str, Any] | None = None,
    ) -> Commit:
        """Put a row, and what belongs to it, on its way into the database."""
        commit = Commit(self._loop, run, row, transition)
        commit.start = start
        commit.message = message
        if self.is_fenced:
            commit.set_exception(_fenced())
            return commit
        if not run.unwritten:
            run.slot = self._choose()
        run.unwritten += 1
        self._writers[run.slot].put(commit)
        return commit

    def _choose(self) -> int:
        """The first writer, unless whole batches wait for it already.

        One writer makes few and large batches. Rows gather only where the server is the slower
        part (large payloads, a slow disk); then the next writer overlaps with it.
        """
        if not self._writers[0].batches_waiting():
            return 0
        return min(self._writers, key=_Writer.batches_waiting).slot

    async def run(self) -> None:
        """Write until cancelled. A writer that ends ends all of them, whatever ended it: a task
        group would go on without one that somebody has cancelled, and its runs would hang.
        """
        writing = [
            asyncio.create_task(writer.run(), name=f"journal writer {writer.slot}")
            for writer in self._writers
        ]
        try:
            await asyncio.gather(*writing)
        finally:
            for each in writing:
                each.cancel()
            await asyncio.gather(*writing, return_exceptions=True)

    async def flush(self) -> None:
        """Wait until everything recorded so far is committed."""
        await asyncio.gather(*(writer.idle() for writer in self._writers))

    def fence(self) -> None:
        """The worker is dead to the database: nothing more can be recorded through it."""
        if self.is_fenced:
            return
        self.is_fenced = True
        # First the steps are stopped: none shall see an error that its code could answer with
        # another task.
        self._on_fenced()
        for writer in self._writers:
            writer.fail_all(_fenced())


def _fenced() -> LeaseLostError:
    return LeaseLostError(
        "this worker's lease ended and its runs were taken over: nothing more is written"
    )


class _Writer:
    """One connection that writes batches, one at a time."""

    def __init__(self, journal: Journal, database: Database, worker_no: int, slot: int) -> None:
        self.slot = slot
        self._journal = journal
        self._database = database
        self._worker_no = worker_no
        self._statement = database.sql("journal", "commit")
        self.queue: deque[Commit] = deque()
        self._queued_bytes = 0
        self._batch: Sequence[Commit] = ()
        # No two writers have a number in common: a run's rows of one batch are told by it.
        self._number = slot
        self._sent_again = False
        self.is_open = asyncio.Event()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._connection: asyncpg.Connection[Any] | None = None
        self._backoff = Backoff("writing a batch")

    def put(self, commit: Commit) -> None:
        if not self.queue:
            self._idle.clear()
            self._arrived.set()
        self.queue.append(commit)
        commit.size = commit.measure()
        self._queued_bytes += commit.size

    def batches_waiting(self) -> int:
        """How many whole batches have gathered: by their rows, or by what takes long to write."""
        whole = min(_LEAST_CAP, self._database.settings.batch_rows)
        return max(len(self.queue) // whole, self._queued_bytes // _HEAVY_BYTES)

    async def idle(self) -> None:
        await self._idle.wait()

    def fail_all(self, error: LeaseLostError) -> None:
        for commit in (*self._batch, *self.queue):
            if not commit.done():
                commit.set_exception(error)
        self._requeue(())
        self._idle.set()

    def _requeue(self, commits: Iterable[Commit]) -> None:
        """Keep only these."""
        self.queue = deque(commits)
        self._queued_bytes = sum(each.size for each in self.queue)

    async def run(self) -> None:
        try:
            await self._open()
            while True:
                await self._arrived.wait()
                self._batch = self._take()
                await self._commit(self._batch)
                self._batch = ()
                if not self.queue:
                    self._arrived.clear()
                    self._idle.set()
        finally:
            if self._connection is not None:
                self._connection.terminate()

    async def _open(self) -> None:
        """Write a batch of nothing. By its first batch a connection is made, learns the types, and
        has the server plan: no run shall wait for all that.
        """
        self._number += self._database.settings.writers
        answers = await self._send(self._number, ())
        if answers:  # of nothing it can only be that the worker is fenced
            self._journal.fence()
        self.is_open.set()

    def _take(self) -> list[Commit]:
        """The next batch: what is there, up to the caps. The second cap breaks the convoy: with
        all runs in one batch they would all wait together and then all run together.
        """
        settings = self._database.settings
        most = min(settings.batch_rows, max(_LEAST_CAP, self._journal.in_flight() // 4))
        queue = self.queue
        batch: list[Commit] = []
        size = 0
        while queue and len(batch) < most:
            if batch and size + queue[0].size > settings.batch_bytes:
                break
            size += queue[0].size
            batch.append(queue.popleft())
        self._queued_bytes -= size
        return batch

    async def _commit(self, batch: Sequence[Commit]) -> None:
        """Write a batch, in halves if the database refuses it, until it is in or all is lost."""
        if not batch or self._journal.is_fenced:
            return
        self._number += self._database.settings.writers
        began = monotonic()
        try:
            answers = await self._send(self._number, batch)
        except Exception as error:  # noqa: BLE001 - found in the half that cannot be written
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._commit(batch[:middle])
                await self._commit([each for each in batch[middle:] if not each.done()])
            else:
                self._refuse(batch[0], error)
            return
        if answers and answers[0]["verdict"] == "fenced":
            self._journal.fence()
            return
        self._deliver(batch, answers)
        observer = self._journal.observer
        if observer is not None and not self._journal.is_fenced:
            observer.committed(batch, monotonic() - began)

    async def _send(self, number: int, batch: Sequence[Commit]) -> list[asyncpg.Record]:
        """Send until there is an answer. The number makes it safe to send again.

        A connection that gives none is given up: it may be half open. A batch may be slow, too
        (a lock, a busy server), so that each time it gets twice as long.
        """
        patience = self._database.settings.lease_seconds
        encoded = arguments(batch)
        self._sent_again = False
        while True:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._database.connect(f"journal {self.slot}")
                answers = await self._connection.fetch(
                    self._statement,
                    self._worker_no,
                    self.slot,
                    number,
                    *encoded,
                    timeout=patience,
                )
            except Exception as error:
                if not (is_passing(error) or isinstance(error, asyncpg.SyntaxOrAccessError)):
                    raise
                self._sent_again = True
                if isinstance(error, TimeoutError):
                    patience *= 2
                    await self._database.suspect()
                if self._connection is not None and not isinstance(
                    error, asyncpg.TransactionRollbackError
                ):
                    self._connection.terminate()
                    self._connection = None
                await self._backoff.pause(error)
                if self._journal.is_fenced:
                    return []
            else:
                self._backoff.reset()
                return answers

    def _deliver(self, batch: Sequence[Commit], answers: Sequence[asyncpg.Record]) -> None:
        by_run: dict[Any, Answer] = {}
        gone = _GONE_OR_LOST if self._sent_again else _GONE
        for said in answers:
            if said["verdict"] == "refused":
                batch[said["item"] - 1].answer = Answer("refused", said["why"])
            else:
                by_run[said["run"]] = Answer(said["verdict"], said["why"])
        for commit in batch:
            if commit.done():
                continue
            commit.run.unwritten -= 1
            answer = by_run.get(commit.row.run_id) if by_run else None
            if commit.transition is not None:
                commit.answer = answer or gone
            elif answer is not None and answer.verdict == "lost":
                commit.answer = answer
            commit.run.deliver(commit)

    def _refuse(self, commit: Commit, error: Exception) -> None:
        """Fail one record, and what the same run recorded after it, which would leave a gap."""
        run = commit.run
        log.error(
            "record refused",
            run_id=str(commit.row.run_id),
            kind=commit.row.kind,
            name=commit.row.name,
            error=f"{type(error).__name__}: {error}",
        )
        refusal = RecordRefusedError(
            f"the database refused to record {commit.row.kind} {commit.row.name or ''}: "
            f"{type(error).__name__}: {error}"
        )
        for each in (commit, *self._batch, *self.queue):
            # What stands before it is committed, if perhaps held back for a replay.
            if each.run is run and each.row.seq >= commit.row.seq and not each.done():
                each.set_exception(refusal)
                run.unwritten -= 1
        run.rewind_to(commit.row.seq)
        self._requeue(each for each in self.queue if not each.done())


_LEAST_CAP = 250
_HEAVY_BYTES = 1024 * 1024
"""So much takes the server some 10 ms, ten times as long as a batch of small rows."""
