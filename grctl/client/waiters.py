"""Waiting on results: any number of futures of a process over one LISTEN connection.

A notification only says which runs ended; outcomes are then read, many at once. What a lost
notification would have said is found by a look at all awaited runs every ``poll_seconds``, and
when the connection was made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

from grctl.client.background import background
from grctl.client.outcomes import outcome_error, read_error
from grctl.errors import WorkflowNotFoundError
from grctl.models.run import RunStatus
from grctl.postgres.database import Backoff, Database
from grctl.postgres.listener import Listener

__all__ = ["RawOutcome", "ResultFuture", "Waiters"]

MOST_AT_ONCE = 1000


class ResultFuture(asyncio.Future[Any]):
    """The outcome of a run, to be awaited; also by ``asyncio.wait_for``.

    Completed: the result. Failed: ``WorkflowError``. Cancelled or terminated:
    ``asyncio.CancelledError``. Run timeout: ``TimeoutError``. Cancelling it lets go of it: the
    run goes on.
    """

    def __init__(self, run_id: UUID, decode: Callable[[str | None], Any]) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.run_id = run_id
        """Which run is waited for; of one that continues as new, its successor."""
        self.is_released = False
        """Whether it was let go of, rather than settled."""
        self.was_there = False
        """Whether the run is known to have been started."""
        self.number = 0
        """The how manieth future of its ``Waiters`` it is."""
        self._decode = decode

    def cancel(self, msg: Any | None = None) -> bool:
        """Let go of the future."""
        self.is_released = not self.done()
        return super().cancel(msg)

    async def stop(self) -> None:
        """Let go of the future: no warning, no task is left. The run goes on."""
        self.discard()

    def discard(self) -> None:
        """The same as ``stop``, for code that cannot await."""
        self.cancel()

    def note_gone(self) -> None:
        """There is no such run: it was deleted, unless it is just being started."""
        if self.was_there:
            self._fail(
                WorkflowNotFoundError(f"run {self.run_id} is no longer there: it was deleted")
            )

    def note_closed(self) -> None:
        """Its outcome cannot be heard any more; that is not to be taken for a cancelled run."""
        self._fail(
            RuntimeError(
                f"the connection was closed before run {self.run_id} had ended: it goes on, and "
                "another connection can wait for it"
            )
        )

    def _fail(self, error: Exception) -> None:
        if not self.done():
            self.set_exception(error)
            self.exception()  # it may be that nobody looks: no warning then

    def settle(self, status: RunStatus, result: str | None, error: str | None) -> None:
        """The run has ended so."""
        if self.done():
            return
        try:
            details, step_name = read_error(error)
            outcome = outcome_error(status, details, step_name)
            if isinstance(outcome, asyncio.CancelledError):
                super().cancel(str(outcome))
                return
            if outcome is not None:
                raise outcome
            self.set_result(self._decode(result))
        except Exception as raised:  # noqa: BLE001 - whoever awaits gets it
            self._fail(raised)


class RawOutcome(ResultFuture):
    """A run's end as it is stored: status, and the JSON texts of result and error."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id, lambda text: text)

    def settle(self, status: RunStatus, result: str | None, error: str | None) -> None:
        """The run has ended so."""
        if not self.done():
            self.set_result((status, result, error))


class AnswerWaiter:
    """Waits until an answer is said to be there, or it is time to look all the same."""

    def __init__(self, waiters: Waiters, message_id: UUID, poll: float) -> None:
        self._waiters = waiters
        self._message_id = message_id
        self._poll = poll
        self._heard = asyncio.Event()

    def hear(self) -> None:
        """The answer is there."""
        self._heard.set()

    async def wait_or_poll(self) -> bool:
        """Return when it is worth looking; whether the answer was said to be there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll):
                await self._heard.wait()
        was_heard = self._heard.is_set()
        self._heard.clear()
        return was_heard

    def discard(self) -> None:
        """No longer waited for."""
        self._waiters.forget_answer(self._message_id)


class Waiters:
    """Every future of a process that waits for a run."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._futures: dict[UUID, set[ResultFuture]] = {}
        self._answers: dict[UUID, AnswerWaiter] = {}
        self._to_check: set[UUID] = set()
        self._held: set[UUID] = set()
        self._ended_while_held: set[UUID] = set()
        self.asked = 0
        """How many futures were ever waited for. A run may be retried: an end that was there, or
        written, when there were so many is not that of a run for which another one waits.
        """
        self._called = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: Listener | None = None
        self._is_closed = False

    async def ready(self) -> None:
        """Until notifications are heard, or it is clear that they are slow to come."""
        self._start()
        assert self._listening is not None
        if not self._listening.is_connected.is_set():
            try:
                async with asyncio.timeout(self._database.settings.poll_seconds):
                    await self._listening.is_connected.wait()
            except TimeoutError:
                pass

    def wait_for(self, future: ResultFuture, *, may_have_ended: bool = True) -> None:
        """Settle ``future`` when its run ends, or at once if it has."""
        self._start()
        self._futures.setdefault(future.run_id, set()).add(future)
        future.add_done_callback(self._forget)
        future.was_there = may_have_ended
        self.asked += 1
        future.number = self.asked
        if may_have_ended:
            self._to_check.add(future.run_id)
            self._called.set()

    def hold(self, run_id: UUID) -> None:
        """A worker of this process has the run. If it commits the run's end, it says so itself by
        ``ended``: what a notification says of the run is not looked into until it lets go.
        """
        self._held.add(run_id)

    def ended(
        self, run_id: UUID, status: RunStatus, result: str | None, error: str | None, asked: int
    ) -> None:
        """A worker of this process has committed a run's end: no need to read it back. It began
        to when so many futures had been ``asked`` for; for the others it is looked up.
        """
        for future in list(self._futures.get(run_id, ())):
            if future.number <= asked:
                future.settle(status, result, error)
            else:
                self._look_at({run_id})

    def let_go(self, run_id: UUID) -> None:
        """The worker has done with the run, whether or not it has told of its end."""
        self._held.discard(run_id)
        if run_id in self._ended_while_held:
            self._ended_while_held.discard(run_id)
            self._look_at({run_id})

    def answer_of(self, message_id: UUID) -> AnswerWaiter:
        """Something that hears when a query or an update has been answered."""
        self._start()
        waiter = AnswerWaiter(self, message_id, self._database.settings.poll_seconds)
        self._answers[message_id] = waiter
        return waiter

    def forget_answer(self, message_id: UUID) -> None:
        """Nobody waits for this answer any more."""
        self._answers.pop(message_id, None)

    async def close(self) -> None:
        """End everything; whoever still waits is told so."""
        self._is_closed = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for futures in list(self._futures.values()):
            for future in list(futures):
                future.note_closed()

    def _start(self) -> None:
        if self._tasks:
            if self._tasks[0].get_loop() is not asyncio.get_running_loop():
                raise RuntimeError(
                    "this connection belongs to another event loop, where its results are heard: "
                    "make a Connection in each"
                )
            return
        if self._is_closed:
            raise RuntimeError("the connection is closed: nothing can be waited for over it")
        self._listening = Listener(
            self._database, {"done": self._notified, "answer": self._answered}, self._check_all
        )
        self._tasks = [
            background(_listen(self._listening), "grctl waiters listen"),
            background(self._settle(), "grctl waiters settle"),
        ]

    def _forget(self, future: asyncio.Future[Any]) -> None:
        assert isinstance(future, ResultFuture)
        futures = self._futures.get(future.run_id)
        if futures is not None:
            futures.discard(future)
            if not futures:
                del self._futures[future.run_id]

    def _notified(self, payload: str) -> None:
        ended = {UUID(each) for each in payload.split(",")}
        held = ended & self._held
        self._ended_while_held |= held
        self._look_at(ended - held)

    def _look_at(self, ended: set[UUID]) -> None:
        awaited = ended & self._futures.keys()
        if awaited:
            self._to_check |= awaited
            self._called.set()

    def _answered(self, payload: str) -> None:
        for each in payload.split(","):
            waiter = self._answers.get(UUID(each))
            if waiter is not None:
                waiter.hear()

    def _check_all(self) -> None:
        self._to_check |= self._futures.keys()
        self._called.set()

    async def _settle(self) -> None:
        """Read outcomes when called, and of all awaited runs every ``poll_seconds``."""
        poll = max(1.0, self._database.settings.poll_seconds)
        backoff = Backoff("reading results")
        while True:
            try:
                async with asyncio.timeout(poll):
                    await self._called.wait()
            except TimeoutError:
                self._check_all()
            self._called.clear()
            while self._to_check:
                some = [self._to_check.pop() for _ in range(min(MOST_AT_ONCE, len(self._to_check)))]
                try:
                    await self._read([run_id for run_id in some if run_id in self._futures])
                    backoff.reset()
                except Exception as error:  # noqa: BLE001 - nobody else would settle the others
                    self._to_check.update(some)
                    await backoff.pause(error)

    async def _read(self, runs: list[UUID]) -> None:
        if not runs:
            return
        asked = self.asked
        rows = await self._database.patiently(
            "reading results", lambda: self._database.fetch("runs", "outcomes", runs)
        )
        for row in rows:
            futures = list(self._futures.get(row["run_id"], ()))
            if row["successor"] is not None:
                self._follow(row["run_id"], row["successor"], futures)
                continue
            for future in futures:
                if future.number > asked:
                    continue  # it has asked for a look of its own
                if row["status"] is None:
                    future.note_gone()
                else:
                    future.settle(RunStatus(row["status"]), row["result"], row["error"])

    def _follow(self, run_id: UUID, successor: UUID, futures: list[ResultFuture]) -> None:
        """A run continued as new: its outcome is that of its successor."""
        del self._futures[run_id]
        for future in futures:
            future.run_id = successor
        self._futures.setdefault(successor, set()).update(futures)
        self._to_check.add(successor)


async def _listen(listener: Listener) -> None:
    """Listen, whatever comes between (a password that is not valid yet): a poll alone is slow."""
    backoff = Backoff("listening for results")
    while True:
        try:
            await listener.run()
        except Exception as error:  # noqa: BLE001 - it is logged, and tried again
            await backoff.pause(error)
