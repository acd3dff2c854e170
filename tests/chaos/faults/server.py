"""A PostgreSQL server that one test has for itself, and that is started from elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.processes import REPOSITORY, environment

START_SECONDS = 90.0


@asynccontextmanager
async def served(
    home: Path,
    *,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[str]:
    """The URL of a server on ``home`` that was started by ``prefix`` (``ip netns exec …``), with
    ``env``; its data stays, for the next one on this home."""
    process = await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        "-m",
        "tests.chaos.faults.serve",
        str(home),
        *(f"{name}={value}" for name, value in (settings or {}).items()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env=environment(**(env or {})),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        assert line, "the server did not start; its words are on stderr"
        yield line.decode().strip()
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), START_SECONDS)
        except TimeoutError:
            process.kill()
            raise
