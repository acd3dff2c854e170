"""A subject's driver as the suite sees it: a process that is told what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.meter import tree

REPOSITORY = Path(__file__).parent.parent
LONGEST_ANSWER = 16 * 1024 * 1024
PATIENCE_SECONDS = 90.0


class DriverError(Exception):
    """The driver failed, or did the work wrongly; the message has its words."""


@dataclass(frozen=True)
class Launch:
    """How a driver is started: by which Python, as which module."""

    python: Path
    module: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Subject:
    """One driver process. `async with await Subject.start(launch, log) as subject: …`"""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, launch: Launch, log: Path) -> Self:
        """Start the process; it obeys from now on. What it says is kept in `log`."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GRCTL_")
        }
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                launch.python,
                "-m",
                launch.module,
                *launch.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                cwd=REPOSITORY,
                env={**environment, "PYTHONPATH": str(REPOSITORY), **launch.environment},
                limit=LONGEST_ANSWER,
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        """The process; what it has started is below it."""
        return self._process.pid

    async def ask(self, do: str, **given: Any) -> Any:
        """Have a command done.

        Raises:
            DriverError: it failed, or took too long.
        """
        self.tell(do, **given)
        return await self.answer(do)

    def tell(self, do: str, **given: Any) -> None:
        """Give a command, and do not wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "with": given}).encode() + b"\n")

    async def answer(self, do: str) -> Any:
        """The answer to the command that was told last."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise DriverError(
                f"{do}: no answer in {PATIENCE_SECONDS:.0f} s{self._said()}"
            ) from None
        if not line:
            raise DriverError(f"{do}: the process ended{self._said()}")
        answer = json.loads(line)
        if "error" in answer:
            raise DriverError(f"{do}: {answer['error']}")
        return answer["answer"]

    def kill(self) -> None:
        """SIGKILL, to the driver and all it has started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in reversed(tree(self.pid)):
                process.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _said(self) -> str:
        said = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
        return f"; it said:\n{said}" if said else ""
