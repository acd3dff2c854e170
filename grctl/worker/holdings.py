"""What a worker asks of the database about the runs it holds, besides recording their history."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from grctl.log import get_logger
from grctl.postgres.database import Database
from grctl.worker.run import HeldRun, Message

__all__ = ["Holdings"]

log = get_logger("grctl.worker")


class Holdings:
    """The runs of one registration, ``worker_no``. Waits out an outage of the database."""

    def __init__(self, database: Database, worker_no: int) -> None:
        self._database = database
        self._worker_no = worker_no

    async def overlooked(self, held: Callable[[], set[UUID]]) -> list[UUID]:
        """Which of those that are ``held`` are to be cancelled.

        And what is ours in the table but not held (the answer to its claim was lost) is made due
        for others.
        """
        rows = await self._database.patiently(
            "looking for cancels",
            lambda: self._database.fetch("runs", "overlooked", self._worker_no, list(held())),
        )
        # What was started meanwhile was not known when we asked, and is now.
        known = held()
        unheld = [row for row in rows if row["is_unheld"] and row["run_id"] not in known]
        if unheld:
            log.warning(
                "claimed runs given back",
                worker_no=self._worker_no,
                runs=[str(row["run_id"]) for row in unheld[:10]],
                count=len(unheld),
            )
            await self._release([row["run_id"] for row in unheld], [row["epoch"] for row in unheld])
        return [row["run_id"] for row in rows if not row["is_unheld"]]

    async def give_back(self, run: HeldRun) -> None:
        """Make a held run due for others."""
        await self._release([run.run_id], [run.epoch])

    async def fail(self, run: HeldRun, error: str) -> None:
        """End a held run whose end cannot be recorded by the journal."""
        await self._database.patiently(
            "failing a run",
            lambda: self._database.fetchval(
                "runs", "fail", self._worker_no, run.run_id, run.epoch, error
            ),
        )

    async def load_messages(self, runs: list[HeldRun]) -> None:
        """Read the oldest message of each run's inbox."""
        rows = await self._database.patiently(
            "reading inboxes",
            lambda: self._database.fetch(
                "inbox", "oldest", [r.run_id for r in runs], [r.read for r in runs]
            ),
        )
        by_run = {row["run_id"]: row for row in rows}
        for run in runs:
            row = by_run[run.run_id]
            run.message = Message(
                row["no"], row["kind"], row["name"], row["payload"], row["message_id"], row["trace"]
            )

    async def _release(self, run_ids: list[UUID], epochs: list[int]) -> None:
        await self._database.patiently(
            "giving a run back",
            lambda: self._database.fetch("runs", "release", self._worker_no, run_ids, epochs),
        )

    async def load_store(self, run_id: UUID) -> dict[str, str]:
        """A run's store, as JSON texts."""
        rows = await self._database.patiently(
            "reading a store", lambda: self._database.fetch("store", "all", run_id)
        )
        return {row["key"]: row["value"] for row in rows}
