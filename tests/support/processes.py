"""Real processes of the command line: a worker that can be killed, a command that ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).parent.parent.parent
READY = "worker ready"


def environment(database_url: str | None = None, **more: str) -> dict[str, str]:
    """A child's environment: ours, the test's database, and what else is given."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GRCTL_") or name == "GRCTL_PG_BIN"
    }
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [mine.get("PYTHONPATH")])])
    url = {} if database_url is None else {"GRCTL_DATABASE_URL": database_url}
    return {**mine, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **url, **more}


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


async def run_cli(
    *arguments: str,
    database_url: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Finished:
    """`grctl ARGUMENTS` in a process of its own, to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "grctl.cli.main",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(database_url, **(env or {})),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(
            f"grctl {' '.join(arguments)} did not end within {timeout} s:\n"
            f"{out.decode()}\n{err.decode()}"
        ) from None
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


def send_signal(process: asyncio.subprocess.Process, what: signal.Signals) -> None:
    """Signal a process, if it still lives.

    Not by its own method: that looks first whether it has ended, and takes the exit code away from
    asyncio, which then reports 255.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, what)


class WorkerProcess:
    """A real `grctl worker MODULE ...` in a process of its own.

    `async with WorkerProcess("tests.workflows.orders", database_url=database.dsn) as worker:`
    begins when the worker says it is ready, and kills it at the end if it still lives.
    """

    def __init__(
        self,
        *modules: str,
        database_url: str,
        env: Mapping[str, str] | None = None,
        ready: str = READY,
    ) -> None:
        self._arguments = ("-m", "grctl.cli.main", "worker", *modules)
        self._env = environment(database_url, GRCTL_LOG_FORMAT="json", **(env or {}))
        self._ready_text = ready
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.lines: list[str] = []

    @property
    def output(self) -> str:
        """All that it wrote so far, stdout and stderr."""
        return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        return self._running().returncode

    async def start(self, *, timeout: float = 30.0) -> Self:
        """Start it and wait until it says that it is ready."""
        await self.launch()
        await self.wait_ready(timeout=timeout)
        return self

    async def launch(self) -> None:
        """Start it, and do not wait."""
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._env,
            limit=16 * 1024 * 1024,
        )
        self._reader = asyncio.create_task(self._read(), name="worker output")

    async def wait_ready(self, *, timeout: float = 30.0) -> None:
        assert self._reader is not None
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._reader}, timeout=timeout, return_when="FIRST_COMPLETED")
        ready.cancel()
        if not self._ready.is_set():
            raise AssertionError(f"the worker is not ready; it wrote:\n{self.output}")

    def kill(self) -> None:
        """SIGKILL: gone, without a word."""
        self._send(signal.SIGKILL)

    def stop(self) -> None:
        """SIGSTOP: still there, but does nothing until `cont()`."""
        self._send(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: wake it."""
        self._send(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: ask it to end in good order."""
        self._send(signal.SIGTERM)

    async def wait(self, *, timeout: float = 30.0) -> int:
        """Its exit code (minus the signal that ended it)."""
        process = self._running()
        assert self._reader is not None
        await asyncio.wait({self._reader}, timeout=timeout)
        if not self._reader.done():
            raise AssertionError(f"the worker has not ended; it wrote:\n{self.output}")
        return await process.wait()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self._end()
            raise

    async def __aexit__(self, *_error: object) -> None:
        await self._end()

    async def _end(self) -> None:
        if self._process is None or self._reader is None:
            return
        send_signal(self._process, signal.SIGKILL)
        await self._process.wait()
        # A grandchild that holds the pipe open must not hold up the test.
        await asyncio.wait({self._reader}, timeout=5)
        self._reader.cancel()

    async def _read(self) -> None:
        stream = self._running().stdout
        assert stream is not None
        async for line in stream:
            text = line.decode(errors="replace").rstrip("\n")
            self.lines.append(text)
            if self._ready_text in text:
                self._ready.set()

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "the worker was never started"
        return self._process

    def _send(self, what: signal.Signals) -> None:
        send_signal(self._running(), what)
