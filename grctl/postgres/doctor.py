"""An examination of the database and of the workers: each finding says what to do.

It reads, and opens a few connections for a moment; it changes nothing and waits for no lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from grctl.errors import DatabaseNotMigratedError, DatabaseTooNewError
from grctl.models.findings import Finding, Severity
from grctl.postgres import doctor_runs, doctor_server, doctor_tables
from grctl.postgres.database import is_passing
from grctl.postgres.migrations import check
from grctl.postgres.pooler import find_pooler
from grctl.postgres.sql import statements
from grctl.settings import Settings, unknown_variables

__all__ = ["examine"]

CONNECT_SECONDS: Final = 10.0
STATEMENT_SECONDS: Final = 60.0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """All findings, as they are made; none if all is well. It takes some seconds at most."""
    for text in unknown_variables():
        yield Finding(
            name="unknown_variable",
            severity=Severity.WARNING,
            text=text,
            advice="correct its name or remove it: `grctl config` lists the settings",
        )
    try:
        connection = await asyncpg.connect(
            settings.require_database_url(),
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            statement_cache_size=0,  # there may be a pooler
            server_settings={"application_name": "grctl doctor"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        yield _unreachable(settings, error)
        return
    try:
        async for finding in _connected(connection, settings):
            yield finding
    except asyncpg.InsufficientPrivilegeError as error:
        yield _not_allowed(error)
    except Exception as error:
        if not is_passing(error):
            raise
        yield _unreachable(settings, error)
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


def _not_allowed(error: asyncpg.InsufficientPrivilegeError) -> Finding:
    return Finding(
        name="privileges",
        severity=Severity.ERROR,
        text=str(error),
        advice=(
            "connect as the role of the workers, or grant this one usage of the schema, and "
            "select and execute on all that is in it; nothing more was looked at"
        ),
    )


def _unreachable(settings: Settings, error: Exception) -> Finding:
    return Finding(
        name="connection",
        severity=Severity.ERROR,
        text=f"no connection to the database: {str(error) or type(error).__name__}",
        advice=(
            f"check GRCTL_DATABASE_URL ({settings.masked()['database_url']}), that the server is "
            "up, and that it lets this host and this user in (pg_hba.conf)"
        ),
        details={"error": type(error).__name__},
    )


async def _connected(
    connection: asyncpg.Connection[Any], settings: Settings
) -> AsyncIterator[Finding]:
    sql = statements("doctor", settings.db_schema)
    before = datetime.now(UTC)
    [row] = await connection.fetch(sql["server"])
    server = dict(row)
    middle = before + (datetime.now(UTC) - before) / 2
    for finding in doctor_server.findings(server, middle):
        yield finding
    for finding in doctor_server.snapshots(
        await connection.fetch(sql["snapshots"], doctor_server.OLD_SNAPSHOT_SECONDS)
    ):
        yield finding
    if not server["is_standby"]:  # which neither notifies nor listens
        for finding in await find_pooler(connection, settings):
            yield finding
    try:
        await check(connection, settings.db_schema)
    except (DatabaseNotMigratedError, DatabaseTooNewError) as error:
        yield _migrations(error)
        return
    for finding in await _inside(connection, settings, sql, server):
        yield finding


def _migrations(error: DatabaseNotMigratedError | DatabaseTooNewError) -> Finding:
    if isinstance(error, DatabaseTooNewError):
        advice = "upgrade grctl here: workers of the older version do not start"
    else:
        advice = "run `grctl db upgrade`: no worker starts before"
    return Finding(name="migrations", severity=Severity.ERROR, text=str(error), advice=advice)


async def _inside(
    connection: asyncpg.Connection[Any],
    settings: Settings,
    sql: dict[str, str],
    server: Mapping[str, Any],
) -> list[Finding]:
    """What is in the schema."""
    workers = await connection.fetch(sql["workers"])
    found: list[Iterator[Finding]] = [
        doctor_server.connections(server, settings, sum(w["is_live"] for w in workers)),
        doctor_tables.findings(await connection.fetch(sql["tables"], settings.db_schema), server),
        doctor_runs.workers(workers),
        doctor_runs.types(await connection.fetch(sql["types"], doctor_runs.MOST_COUNTED)),
        doctor_runs.held(
            await connection.fetch(
                sql["held"],
                doctor_runs.LONG_STEP_SECONDS,
                doctor_runs.LONG_CANCEL_SECONDS,
                doctor_runs.MOST_COUNTED,
            )
        ),
        doctor_runs.crashing(await connection.fetch(sql["crashing"], doctor_runs.MOST_NAMED)),
        doctor_runs.poisoned(await connection.fetch(sql["poisoned"], doctor_runs.MOST_COUNTED)),
        doctor_runs.unhandled(await connection.fetch(sql["unhandled"], doctor_runs.MOST_COUNTED)),
    ]
    return [finding for each in found for finding in each]
