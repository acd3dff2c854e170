"""The faults of the catalogue upon the load, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.chaos.faults.catalogue import FAULTS
from tests.chaos.faults.figures import LINES
from tests.chaos.faults.needs import needs

PATIENCE = 600.0
REPORTS = os.environ.get("GRCTL_TEST_CHAOS_REPORTS")
"""A directory in which the figures are kept for the report's table."""


@pytest.mark.chaos
@pytest.mark.parametrize(
    "name", [pytest.param(f.name, marks=needs(*f.needs, root=f.root)) for f in FAULTS.values()]
)
async def test_a_fault_breaks_nothing(name: str) -> None:
    options = ["--figures", str(Path(REPORTS) / LINES)] if REPORTS else []
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.faults",
        name,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            words = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, words
