"""How a process writes into the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections import deque
from hashlib import blake2b
from typing import Any

VARIABLE = "GRCTL_CHAOS_LEDGER"
"""Names the ledger's socket."""

BOOT = f"{os.getpid()}.{time.monotonic_ns()}"
"""This process, and no other one that ever had its pid."""


def digest(value: Any) -> str:
    """A hash of a JSON value, the same however it was spelled."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Notes:
    """One connection to the ledger at ``socket``."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._writer: asyncio.StreamWriter | None = None
        self._opening = asyncio.Lock()
        self._waiting: deque[asyncio.Future[None] | None] = deque()
        self._reading: asyncio.Task[None] | None = None

    async def write(self, table: str, *row: Any) -> None:
        """Note a row; returns when it is safe."""
        await self._open()
        noted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send(table, row, noted)
        await noted

    def put(self, table: str, *row: Any) -> None:
        """Note a row, if this process lives long enough; does not wait."""
        self._send(table, row, None)

    async def close(self) -> None:
        """All that was put is safe now."""
        if self._writer is None or self._reading is None:
            return
        while self._waiting:
            last = self._waiting[-1] or asyncio.get_running_loop().create_future()
            self._waiting[-1] = last
            await last
        self._reading.cancel()
        self._writer.close()

    def _send(self, table: str, row: tuple[Any, ...], noted: asyncio.Future[None] | None) -> None:
        assert self._writer is not None
        self._waiting.append(noted)
        self._writer.write(json.dumps([table, row]).encode() + b"\n")

    async def _open(self) -> None:
        if self._writer is not None:
            return
        async with self._opening:
            if self._writer is None:
                reader, self._writer = await asyncio.open_unix_connection(self._socket)
                self._reading = asyncio.get_running_loop().create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while await reader.readline():
            noted = self._waiting.popleft()
            if noted is not None and not noted.done():
                noted.set_result(None)
        # Without its ledger a body proves nothing: it must not go on.
        for noted in self._waiting:
            if noted is not None:
                with contextlib.suppress(asyncio.InvalidStateError):
                    noted.set_exception(ConnectionError("the ledger is gone"))


def write_from_thread(table: str, *row: Any) -> None:
    """Note a row from a thread that has no event loop, by a connection of the thread's own."""
    lines = getattr(_of_thread, "lines", None)
    if lines is None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ[VARIABLE])
        lines = _of_thread.lines = connection.makefile("rwb")
    lines.write(json.dumps([table, row]).encode() + b"\n")
    lines.flush()
    if not lines.readline():
        raise ConnectionError("the ledger is gone")


def notes() -> Notes:
    """The connection of this process."""
    global _notes  # noqa: PLW0603 - one a process
    if _notes is None:
        _notes = Notes(os.environ[VARIABLE])
    return _notes


_notes: Notes | None = None
_of_thread = threading.local()
