"""Whole histories of real workers, simulated: any seed must come out well, and the same twice."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterator

import pytest

from grctl.settings import Settings
from tests.chaos.simulation.checks import check
from tests.chaos.simulation.server import Server
from tests.chaos.simulation.story import tell
from tests.support import Database
from tests.support.processes import environment

SEED = 30
"""Many of its runs are due at the same time: it was told otherwise after an autovacuum."""


@pytest.fixture
def server(database: Database) -> Iterator[Server]:
    with Server(database.dsn) as made:
        yield made


def test_a_seed_tells_one_history(server: Server, settings: Settings, server_url: str) -> None:
    """Also in another process, whose sets have another order."""
    first = tell(server, settings, SEED)
    second = tell(server, settings, SEED)
    told = asyncio.run(_elsewhere(server_url, str(SEED)))

    assert first.rows
    assert first.rows == second.rows
    assert first.digest == second.digest
    assert first.digest[:16] in told


def test_histories_come_out_well(server: Server, settings: Settings) -> None:
    for seed in range(100, 110):
        check(tell(server, settings, seed), server)


@pytest.mark.chaos
def test_hundreds_of_new_histories_come_out_well(server: Server, settings: Settings) -> None:
    first = secrets.randbelow(10**9)
    for seed in range(first, first + 300):
        check(tell(server, settings, seed), server)


async def _elsewhere(server_url: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.simulation",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(
            GRCTL_TEST_DATABASE_URL=server_url,
            PYTHONHASHSEED="7" if os.environ.get("PYTHONHASHSEED") != "7" else "8",
        ),
    )
    out, _ = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, out.decode()
    return out.decode()
