"""What the worker is told by notifications: work to claim, cancels and terminates of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from grctl.postgres.listener import Listener
from grctl.worker.executor import Interrupt

if TYPE_CHECKING:
    from grctl.worker.worker import Worker

__all__ = ["Signals"]


class Signals:
    """The worker's ears. A missed notification is made up for by the polls of ``Claims``."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._listener = Listener(
            worker.database,
            {"wake": self._woken, "worker": self._addressed, "query": self._asked},
            worker.claims.call,
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._listener.run()

    async def until_listening(self) -> None:
        """Until the worker hears."""
        await self._listener.is_connected.wait()

    def _woken(self, payload: str) -> None:
        if payload == "*" or not self._worker.workflows.keys().isdisjoint(payload.split("\n")):
            self._worker.claims.call()
        if payload == "*":
            self._worker.chores.call()

    def _asked(self, payload: str) -> None:
        if payload in self._worker.workflows:
            self._worker.chores.call()

    def _addressed(self, payload: str) -> None:
        number, verb, run_id = payload.split(" ")
        if int(number) not in (0, self._worker.worker_no):
            return
        executor = self._worker.slots.executors.get(UUID(run_id))
        if verb == "ask":
            self._worker.chores.call()
        if executor is None:
            return
        if verb == "cancel":
            executor.request_cancel()
        elif verb == "terminate":
            executor.interrupt(Interrupt.TERMINATED)
