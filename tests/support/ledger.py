"""What the bodies of tasks really did, told apart from what history says: a SQLite file.

It survives SIGKILL, is shared by worker processes, and has gates: a task body that stands before
one stands there until the test opens it, so that a test kills a worker at a place, not at a time.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CHAOS_LEDGER"


@dataclass(frozen=True)
class Entry:
    """A line of the ledger; ``at`` is in seconds since 1970."""

    what: str
    run: str
    key: str
    value: str
    pid: int
    at: float


class Ledger:
    """The ledger at ``path``; every call is a transaction of its own."""

    def __init__(self, path: Path | str) -> None:
        self._sql = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._sql.execute("pragma journal_mode = wal")
        self._sql.execute("pragma synchronous = off")
        self._sql.execute("create table if not exists ledger (what, run, key, value, pid, at)")
        self._sql.execute("create table if not exists gates (name primary key)")

    def note(self, what: str, run: str, key: str, value: object = "") -> None:
        self._sql.execute(
            "insert into ledger values (?, ?, ?, ?, ?, ?)",
            (what, run, key, str(value), os.getpid(), time.time()),
        )

    def entries(
        self, what: str | None = None, run: str | None = None, key: str | None = None
    ) -> list[Entry]:
        """In the order in which they were written."""
        rows = self._sql.execute(
            "select what, run, key, value, pid, at from ledger where what = coalesce(?, what) "
            "and run = coalesce(?, run) and key = coalesce(?, key) order by rowid",
            (what, run, key),
        )
        return [Entry(*row) for row in rows]

    def count(self, what: str, run: str | None = None, key: str | None = None) -> int:
        return len(self.entries(what, run, key))

    def open_gate(self, name: str) -> None:
        self._sql.execute("insert or ignore into gates values (?)", (name,))

    def is_open(self, name: str) -> bool:
        return bool(
            self._sql.execute("select count(*) from gates where name = ?", (name,)).fetchone()[0]
        )

    async def pass_gate(self, name: str) -> None:
        while not self.is_open(name):  # noqa: ASYNC110  another process opens it
            await asyncio.sleep(0.02)

    def close(self) -> None:
        self._sql.close()


def ledger() -> Ledger:
    """The ledger of this process: the file that ``CHAOS_LEDGER`` names."""
    global _ledger  # noqa: PLW0603 - one connection a process
    if _ledger is None:
        _ledger = Ledger(os.environ[VARIABLE])
    return _ledger


_ledger: Ledger | None = None
