"""Counting what is asked of the database: by whoever is in this process, whatever the thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

METHODS = ("execute", "fetch", "fetchrow", "fetchval")
"""All by which grctl sends a statement."""


@dataclass
class Count:
    """Statements sent so far."""

    statements: int = 0


@contextmanager
def counting_statements(*, besides: asyncpg.Connection[Any]) -> Iterator[Count]:
    """Count the statements sent inside, but for those by the test's own connection."""
    count = Count()

    def counted(send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counting(connection: asyncpg.Connection[Any], *args: Any, **options: Any) -> Any:
            count.statements += connection is not besides
            return await send(connection, *args, **options)

        return counting

    with pytest.MonkeyPatch.context() as patch:
        for method in METHODS:
            patch.setattr(asyncpg.Connection, method, counted(getattr(asyncpg.Connection, method)))
        yield count
