"""Is there a pooler between us and PostgreSQL, and do notifications come through? By trying."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from grctl.models.findings import Finding, Severity
from grctl.settings import Settings

__all__ = ["find_pooler"]

NOTIFY_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 10.0


async def find_pooler(connection: asyncpg.Connection[Any], settings: Settings) -> list[Finding]:
    """What of the way to the server does not suit. ``connection`` came by database_url."""
    found = []
    is_pooled = await _is_pooled(connection, settings)
    if is_pooled and settings.statement_cache:
        found.append(
            Finding(
                name="statement_cache",
                severity=Severity.WARNING,
                text="a pooler gives each transaction another session, and statements are prepared",
                advice=(
                    "set GRCTL_STATEMENT_CACHE=0; it is needless if PgBouncer has "
                    "max_prepared_statements"
                ),
            )
        )
    problem = await _notification(connection, settings)
    if problem is not None:
        where = "GRCTL_LISTEN_URL" if settings.listen_url else "GRCTL_DATABASE_URL"
        pooler = ": it leads through a pooler in transaction mode" if is_pooled else ""
        found.append(
            Finding(
                name="notifications",
                severity=Severity.WARNING,
                text=f"notifications do not come by {where}{pooler} ({problem})",
                advice=(
                    "set GRCTL_LISTEN_URL to the same database of PostgreSQL itself, past the "
                    f"pooler. Until then work is found every {settings.poll_seconds:g} s only"
                ),
            )
        )
    return found


async def _is_pooled(connection: asyncpg.Connection[Any], settings: Settings) -> bool:
    """Whether another connection is served by the same process of the server as ``connection``.

    PostgreSQL itself never does that. A pooler in transaction mode has at hand for the one what
    served the other last.
    """
    mine = await connection.fetchval("select pg_backend_pid()")
    url = settings.require_database_url()
    other = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    try:
        async with other.transaction():
            return bool(await other.fetchval("select pg_backend_pid()") == mine)
    finally:
        await other.close(timeout=CONNECT_SECONDS)


async def _notification(connection: asyncpg.Connection[Any], settings: Settings) -> str | None:
    """Why a notification that is sent over ``connection`` does not arrive; None if it does."""
    heard = asyncio.Event()
    token = secrets.token_hex(8)

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == token:
            heard.set()

    url = settings.listen_url or settings.require_database_url()
    channel = f"{settings.db_schema}.doctor"
    try:
        listener = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"no connection: {str(error) or type(error).__name__}"
    try:
        await listener.add_listener(channel, hear)
        await connection.execute("select pg_notify($1, $2)", channel, token)
        async with asyncio.timeout(NOTIFY_SECONDS):
            await heard.wait()
    except TimeoutError:
        return f"none within {NOTIFY_SECONDS:g} s"
    except asyncpg.PostgresError as error:  # a standby
        return str(error)
    finally:
        await _quietly(lambda: listener.remove_listener(channel, hear))
        await _quietly(lambda: listener.close(timeout=CONNECT_SECONDS))
    return None


async def _quietly(act: Callable[[], Awaitable[None]]) -> None:
    """What is no longer of use may fail."""
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await act()
