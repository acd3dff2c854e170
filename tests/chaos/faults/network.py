"""A network of its own, whose rules are nobody else's."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.chaos.faults.needs import program


@dataclass(frozen=True)
class Network:
    """A network namespace with a loopback of its own and nothing else."""

    name: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with, to be run in it."""
        return ("ip", "netns", "exec", self.name)


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """A namespace that is gone at the end, and with it what was listening there."""
    made = Network(f"grctl-{secrets.token_hex(3)}")
    await run("ip", "netns", "add", made.name)
    try:
        await run(*made.prefix, "ip", "link", "set", "lo", "up")
        yield made
    finally:
        await run("ip", "netns", "del", made.name)


async def run(*command: str) -> str:
    """A command to its end; its words. AssertionError with them if it fails."""
    process = await asyncio.create_subprocess_exec(
        program(command[0]) or command[0],
        *command[1:],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    words = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"{' '.join(command)}: {words}"
    return words
