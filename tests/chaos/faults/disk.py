"""A small disk, that can be filled to the last byte and freed again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults.network import run

BLOCK = b"\0" * 4096


@dataclass(frozen=True)
class Disk:
    """A file system in memory, mounted at ``path``."""

    path: Path

    def fill(self) -> int:
        """Take all that is left; how many bytes that was."""
        taken = 0
        with suppress(OSError), (self.path / "ballast").open("wb", buffering=0) as ballast:
            while True:
                taken += ballast.write(BLOCK)
        return taken

    def free(self) -> None:
        """Give back what ``fill`` took."""
        (self.path / "ballast").unlink(missing_ok=True)


@asynccontextmanager
async def disk(path: Path, megabytes: int) -> AsyncIterator[Disk]:
    """Mount one at ``path``, and unmount it at the end, with all that is on it."""
    path.mkdir(parents=True)  # noqa: ASYNC240 - in memory
    await run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        await run("umount", "-l", str(path))
