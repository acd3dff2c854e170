"""Statements live in ``.sql`` files beside the module that runs them, one after each ``-- name:``.

They are written for the schema ``grctl``; where another is configured, its name takes the place
of every ``grctl.`` that qualifies a name or a channel.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from grctl.postgres.migrations import qualify

__all__ = ["statements"]

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def statements(file: str, schema: str = "grctl") -> dict[str, str]:
    """The statements of ``<file>.sql`` by name, for ``schema``."""
    text = (Path(__file__).parent / f"{file}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {
        name: qualify(body.strip().rstrip(";"), schema)
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
