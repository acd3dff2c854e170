"""A command in a terminal of its own: what is on its screen, and keys to press."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import sys
import termios
from typing import Self

import pyte

from tests.support.processes import environment


class Terminal:
    """`grctl ARGUMENTS` on a pseudo-terminal of 80 by 24, as an async context manager."""

    COLUMNS, LINES = 80, 24

    def __init__(self, *arguments: str, database_url: str) -> None:
        self._arguments = arguments
        self._env = environment(database_url, TERM="xterm-256color")
        self._screen = pyte.Screen(self.COLUMNS, self.LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._process: asyncio.subprocess.Process | None = None
        self._mine = -1

    @property
    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def shows(self, *parts: str) -> bool:
        """Whether all of it is on the screen."""
        return all(part in self.text for part in parts)

    def press(self, keys: str) -> None:
        os.write(self._mine, keys.encode())

    async def ended(self, timeout: float = 30) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), timeout)

    async def __aenter__(self) -> Self:
        self._mine, its = os.openpty()
        size = struct.pack("HHHH", self.LINES, self.COLUMNS, 0, 0)
        fcntl.ioctl(its, termios.TIOCSWINSZ, size)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "grctl.cli.main", *self._arguments,
            stdin=its, stdout=its, stderr=its, env=self._env, start_new_session=True,
        )  # fmt: skip
        os.close(its)
        asyncio.get_running_loop().add_reader(self._mine, self._read)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._mine)
        os.close(self._mine)

    def _read(self) -> None:
        try:
            self._stream.feed(os.read(self._mine, 65536))
        except OSError:  # the other end is closed: the command has ended
            asyncio.get_running_loop().remove_reader(self._mine)
