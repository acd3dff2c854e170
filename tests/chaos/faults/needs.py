"""What of a machine a fault needs; without it its test is skipped, and says what is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PG15 = Path("/usr/lib/postgresql/15/bin")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def program(name: str) -> str | None:
    """Where a program is; system programs are not on everybody's path."""
    return shutil.which(name, path=_PLACES)


def needs(*tools: str | Path, root: bool = False) -> pytest.MarkDecorator:
    """Skip a test where one of ``tools`` (programs by name, files by path) is missing."""
    missing = [
        str(tool)
        for tool in tools
        if (not tool.exists() if isinstance(tool, Path) else program(tool) is None)
    ]
    if root and os.geteuid() != 0:
        missing.append("the rights of root")
    return pytest.mark.skipif(bool(missing), reason=f"missing: {', '.join(missing)}")
