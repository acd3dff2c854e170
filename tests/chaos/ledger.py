"""The ledger: what really happened, written down outside the cluster that is being crashed.

``python -m tests.chaos.ledger SOCKET FILE`` is a process of its own. Whoever has something to note
connects to the socket and sends a line of JSON; the answer to it comes when it is in the SQLite
file and the file is synced. Notes that arrive together are one transaction.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

COLUMNS = {
    "bodies": (
        "phase", "run", "step_no", "step_attempt", "step", "op", "name", "attempt", "epoch",
        "boot", "input", "result", "mono", "wall",
    ),
    "calls": ("id", "client", "phase", "what", "wf_id", "run", "detail", "mono", "wall"),
    "faults": ("name", "target", "began", "ended"),
}  # fmt: skip
"""``mono`` is CLOCK_MONOTONIC, which all processes of a machine share; ``wall`` the time of day."""


class LedgerServer:
    """Takes notes, and answers when they are safe."""

    def __init__(self, file: Path) -> None:
        self._sql = sqlite3.connect(file, isolation_level=None)
        self._sql.execute("pragma journal_mode = wal")
        self._sql.execute("pragma synchronous = full")
        for table, columns in COLUMNS.items():
            self._sql.execute(f"create table if not exists {table} ({', '.join(columns)})")
        self._arrived = asyncio.Event()
        self._notes: list[tuple[asyncio.StreamWriter, str, list[Any]]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it is gone."""
        try:
            while line := await reader.readline():
                if not line.endswith(b"\n"):
                    return  # the client was killed in the middle of a line
                table, row = json.loads(line)
                self._notes.append((writer, table, row))
                self._arrived.set()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def write(self) -> None:
        """Write what has arrived, again and again."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            notes, self._notes = self._notes, []
            self._sql.execute("begin")
            for _, table, row in notes:
                marks = ", ".join("?" * len(COLUMNS[table]))
                self._sql.execute(f"insert into {table} values ({marks})", row)
            self._sql.execute("commit")
            for writer, _, _ in notes:
                if not writer.is_closing():
                    writer.write(b"\n")

    def close(self) -> None:
        self._sql.close()


async def main(socket: str, file: str) -> None:
    """Serve until SIGTERM."""
    ledger = LedgerServer(Path(file))
    server = await asyncio.start_unix_server(ledger.serve, socket, limit=1 << 20)
    writing = asyncio.create_task(ledger.write())
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    ending = asyncio.create_task(stopped.wait())
    # A ledger that cannot write must not look like one that has nothing to write.
    await asyncio.wait({writing, ending}, return_when="FIRST_COMPLETED")
    server.close()
    if writing.done():
        writing.result()
    writing.cancel()
    ledger.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
