"""The processes that the demo starts, and surely ends: PostgreSQL and workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

from examples.order.ledger import VARIABLE
from grctl.dev import EmbeddedPostgres

LEASE_SECONDS = 2
IN_FLIGHT = 10
REPOSITORY = Path(__file__).parent.parent.parent


class DemoFailedError(Exception):
    """The demo cannot go on; the message says why."""


class WorkerProcess:
    """A real `grctl worker examples.order`. As a context manager it ends with the block."""

    def __init__(self, dsn: str, place: Path, ledger: Path) -> None:
        self._log = place / "worker.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "grctl.cli.main", "worker", "examples.order"],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "GRCTL_DATABASE_URL": dsn,
                    "GRCTL_CONCURRENCY": str(IN_FLIGHT),
                    "GRCTL_LEASE_SECONDS": str(LEASE_SECONDS),
                    "GRCTL_LOG_FORMAT": "json",
                    VARIABLE: str(ledger),
                },
                # Ctrl-C is for the demo, which ends its workers.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it lives."""
        return self._process.poll()

    def is_ready(self) -> bool:
        """Whether it has said so."""
        return bool(self.worker_id())

    def worker_id(self) -> str:
        """The name that history knows it by; empty until it is ready."""
        for line in self._log.read_text().splitlines(keepends=True):
            if '"worker ready"' in line and line.endswith("\n"):  # the last may be half written
                return str(json.loads(line)["worker"])
        return ""

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text()[-2000:]

    def terminate(self) -> None:
        """Ask it to stop in good order."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()


@contextmanager
def postgres(place: Path) -> Iterator[str]:
    """The URL of a PostgreSQL that lives as long as the block, with data below `place`."""
    place.chmod(0o711)  # for root, the server runs as another account
    server = EmbeddedPostgres(place / "postgres", ephemeral=True)
    try:
        with _undisturbed():
            dsn = server.start()
        yield dsn
    finally:
        with _undisturbed():
            server.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off signals until the end of the block, so that no server is left half started."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
