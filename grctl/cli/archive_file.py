"""Files of archives: lines of text, compressed where the name ends with .gz, safe on disk."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from grctl.errors import ArchiveError

__all__ = ["ArchiveFile", "read_lines"]


class ArchiveFile:
    """A new archive at ``path``, or stdout for ``-``. FileExistsError rather than overwrite one.

    What was written before ``secure`` returned is on the disk. A .gz file is made of one member for
    each stretch between two calls, so that it can be read up to there, whatever happens then.
    """

    def __init__(self, path: Path) -> None:
        self._is_file = str(path) != "-"
        self._raw: BinaryIO = path.open("xb") if self._is_file else sys.stdout.buffer
        self._is_compressed = path.suffix == ".gz"
        self._member: gzip.GzipFile | None = None
        if self._is_file:
            _sync_directory(path.absolute().parent)

    def write(self, line: str) -> None:
        """One line."""
        data = line.encode("utf-8") + b"\n"
        if not self._is_compressed:
            self._raw.write(data)
            return
        if self._member is None:
            self._member = gzip.GzipFile(fileobj=self._raw, mode="wb", compresslevel=6)
        self._member.write(data)

    def secure(self) -> None:
        """Return when all that was written is on the disk (a pipe: is handed over)."""
        if self._member is not None:
            self._member.close()
            self._member = None
        self._raw.flush()
        if self._is_file:
            os.fsync(self._raw.fileno())

    def close(self) -> None:
        """Secure it, and close the file."""
        self.secure()
        if self._is_file:
            self._raw.close()


def _sync_directory(path: Path) -> None:
    """The file's name has to be on the disk, too."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def read_lines(path: Path) -> Iterator[Iterator[str]]:
    """The lines of an archive, or of stdin for ``-``. One that was cut off ends where it was."""
    is_file = str(path) != "-"
    raw: BinaryIO = path.open("rb") if is_file else sys.stdin.buffer
    try:
        unpacked = gzip.GzipFile(fileobj=raw, mode="rb") if path.suffix == ".gz" else raw
        lines = _lines(cast("BinaryIO", unpacked), path)
        with closing(lines):
            yield lines
    finally:
        if is_file:
            raw.close()


def _lines(opened: BinaryIO, path: Path) -> Generator[str]:
    number = 0
    text = io.TextIOWrapper(opened, encoding="utf-8", newline="\n")
    try:
        for line in text:
            if not line.endswith("\n"):
                return
            number += 1
            yield line
    except EOFError:
        return  # of a compressed file
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
        raise ArchiveError(f"{path} cannot be read after line {number}: {error}") from error
    finally:
        text.detach()
