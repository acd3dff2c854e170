"""The schema's versions: up, down, and is it the one this grctl was made for.

Every change is one transaction under an advisory lock of that transaction, so two upgrades at once
are one after the other, also behind PgBouncer. The version table lies in the schema itself: several
schemas of one database live apart.

Migrations are SQL files, written for the schema `grctl` (`qualify` has the rule by which another
name is put in), and run as one script each.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import io
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import asyncpg

from grctl.errors import ConfigurationError, DatabaseNotMigratedError, DatabaseTooNewError
from grctl.settings import checked_schema, normalize_url, with_database

if TYPE_CHECKING:
    from alembic.config import Config
    from asyncpg.pool import PoolConnectionProxy
    from sqlalchemy import Connection

    AnyConnection: TypeAlias = asyncpg.Connection[Any] | PoolConnectionProxy[Any]

VERSION_TABLE = "alembic_version"

_T = TypeVar("_T")
_QUALIFIER = re.compile(r"(?<![\w.\"$])grctl\.(?=[a-z_%])")


@dataclass(frozen=True, slots=True)
class Revisions:
    """The versions that this grctl knows, read from the migrations' files without alembic."""

    known: frozenset[str]
    head: str | None


async def upgrade(dsn: str, schema: str = "grctl", revision: str = "head") -> None:
    """Bring the schema up to `revision`, making it if need be. Nothing to do is no error.

    Raises:
        DatabaseTooNewError: the schema is newer than this grctl.
        ConfigurationError: there is no such version.
    """
    from alembic import command

    await in_transaction(dsn, schema, _move(command.upgrade, schema, revision))


async def downgrade(dsn: str, schema: str = "grctl", revision: str = "-1") -> None:
    """Take the schema back to `revision` (`-1`: one version, `base`: nothing), data and all.

    Raises:
        DatabaseTooNewError: the schema is newer than this grctl.
        ConfigurationError: there is no such version.
    """
    from alembic import command

    await in_transaction(dsn, schema, _move(command.downgrade, schema, revision))


def as_sql(schema: str = "grctl", *, start: str = "base", end: str = "head") -> str:
    """What takes the schema from version `start` to `end`, as one script; up or down."""
    from alembic import command

    output = io.StringIO()
    known = _order()
    place = {"base": -1, "head": len(known) - 1} | {name: at for at, name in enumerate(known)}
    for name in (start, end):
        if name not in place:
            raise _no_version(name)
    move = command.upgrade if place[start] <= place[end] else command.downgrade
    move(_config(schema, output=output), f"{start}:{end}", sql=True)
    return output.getvalue()


async def current(conn: AnyConnection, schema: str = "grctl") -> str | None:
    """The version of the schema; None if it was never made."""
    table = f"{checked_schema(schema)}.{VERSION_TABLE}"
    # Asked first: an error would end the caller's transaction.
    if await conn.fetchval("select to_regclass($1)", table) is None:
        return None
    version = await conn.fetchval(f"select version_num from {table}")
    return cast("str | None", version)


async def check(conn: AnyConnection, schema: str = "grctl") -> None:
    """Make sure that the schema is the one this grctl was made for. Cheap: two short reads.

    Raises:
        DatabaseNotMigratedError: it is missing, or older.
        DatabaseTooNewError: it is newer.
    """
    found = await current(conn, schema)
    revisions = known_revisions()
    if found == revisions.head and found is not None:
        return
    if found is None:
        raise DatabaseNotMigratedError(
            f"the database has no schema {schema!r} of grctl's (expected version "
            f"{revisions.head}): run `grctl db upgrade`"
        )
    _refuse_newer(found, schema)
    raise DatabaseNotMigratedError(
        f"the schema {schema!r} is at version {found}, and this grctl needs {revisions.head}: "
        "run `grctl db upgrade`"
    )


@contextlib.asynccontextmanager
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection for a moment, as the schema's commands use it."""
    conn = await _connect(normalize_url(dsn))
    try:
        yield conn
    finally:
        await conn.close()


async def ensure_database(dsn: str) -> None:
    """Make the database that `dsn` leads to, if it is not there; for development and tests."""
    url = normalize_url(dsn)
    try:
        conn = await _connect(url)
    except asyncpg.InvalidCatalogNameError as error:
        match = re.search(r'database "(.*)" does not exist', str(error))
        if match is None:
            raise
        await _create_database(with_database(url, "postgres"), match[1])
    else:
        await conn.close()


def load_sql(name: str, schema: str) -> str:
    """The text of migrations/sql/`name`, for `schema`."""
    return qualify((migrations_directory() / "sql" / name).read_text(encoding="utf-8"), schema)


def qualify(sql: str, schema: str) -> str:
    """`sql`, written for the schema `grctl`, for `schema`.

    The rule: `grctl.` is replaced wherever a name follows it at once and neither a letter, a digit,
    nor one of `_ . " $` precedes it; in code, function bodies, strings and comments alike. So a
    channel named `grctl.wake` becomes the schema's own too; `grctl_clock.shift` and the end of a
    sentence about grctl. stay.
    """
    name = checked_schema(schema)
    return sql if name == "grctl" else _QUALIFIER.sub(f"{name}.", sql)


def run_script(op: Any, name: str) -> None:
    """In a migration: run migrations/sql/`name` as it is, in the migration's transaction.

    The script goes to the driver whole (`simple query`): no parameters, so `:` and `%` mean
    nothing, and nothing is split, so function bodies survive. In offline mode it is printed.
    """
    context = op.get_context()
    schema = context.version_table_schema or "grctl"
    script = load_sql(name, schema)
    if context.as_sql:
        context.impl.static_output(script)
        return
    bind = op.get_bind()
    # The dialect begins its transaction with the first statement that it sees itself.
    bind.exec_driver_sql("select 1")
    driver = cast("Any", bind.connection.dbapi_connection)
    driver.run_async(lambda connection: connection.execute(script))


def migrations_directory() -> Path:
    """The migrations: inside the package when installed from a wheel, else the repository's."""
    package = Path(__file__).resolve().parent.parent
    for place in (package / "_migrations" / "migrations", package.parent / "migrations"):
        if (place / "env.py").is_file():
            return place
    raise ConfigurationError(
        f"the migrations are missing beside {package}: grctl is not installed completely"
    )


@functools.cache
def known_revisions() -> Revisions:
    """The versions of this grctl."""
    order = _order()
    return Revisions(frozenset(order), order[-1] if order else None)


def preparation(schema: str) -> list[str]:
    """What goes before the first migration: the lock, and the schema itself."""
    digest = hashlib.sha256(f"grctl migrations {checked_schema(schema)}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    return [
        f"select pg_advisory_xact_lock({key})",
        # Not `create schema if not exists`: that asks for a right on the database even when the
        # schema is there, made by someone who has it.
        (
            f"do $$ begin if to_regnamespace('{schema}') is null "
            f"then create schema {schema}; end if; end $$"
        ),
    ]


async def in_transaction(dsn: str, schema: str, act: Callable[[Connection], _T]) -> _T:
    """Do `act` in one transaction that holds the lock on the schema's versions."""
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    url = normalize_url(dsn)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args={
            # The URL goes to asyncpg as it is: SQLAlchemy would not know libpq's parameters.
            "async_creator_fn": lambda **_theirs: _connect(url),
            # PgBouncer: no statement outlives its transaction, none has a name.
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": str,
        },
        poolclass=NullPool,
    )

    def migrate(connection: Connection) -> _T:
        for statement in preparation(schema):
            connection.exec_driver_sql(statement)
        _check_known(connection, schema)
        return act(connection)

    try:
        async with engine.begin() as connection:
            return await connection.run_sync(migrate)
    finally:
        await engine.dispose()


def _move(
    command: Callable[[Config, str], None], schema: str, revision: str
) -> Callable[[Connection], None]:
    """What goes to `revision` on a connection, with alembic's complaints as ours."""
    from alembic.util import CommandError

    relative = re.fullmatch(r"[+-]\d+", revision)
    if not relative and revision not in {"base", "head", *known_revisions().known}:
        raise _no_version(revision)

    def migrate(connection: Connection) -> None:
        try:
            command(_config(schema, connection=connection), revision)
        except CommandError as error:
            raise ConfigurationError(f"cannot go to version {revision}: {error}") from error

    return migrate


def _no_version(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is no version {name!r}; there are: {', '.join(['base', *_order(), 'head'])}"
    )


def _check_known(connection: Connection, schema: str) -> None:
    table = f"{schema}.{VERSION_TABLE}"
    if connection.exec_driver_sql(f"select to_regclass('{table}')").scalar() is None:
        return
    found = connection.exec_driver_sql(f"select version_num from {table}").scalar()
    if found is not None:
        _refuse_newer(found, schema)


def _refuse_newer(found: str, schema: str) -> None:
    if found not in known_revisions().known:
        raise DatabaseTooNewError(
            f"the schema {schema!r} is at version {found}, which this grctl does not know (its "
            f"latest is {known_revisions().head}): a newer grctl has upgraded it; install that one"
        )


def _config(
    schema: str, *, connection: Connection | None = None, output: io.StringIO | None = None
) -> Config:
    from alembic.config import Config

    config = Config(
        output_buffer=output,
        attributes={"schema": checked_schema(schema), "connection": connection},
    )
    # In this option a % begins an interpolation.
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _order() -> list[str]:
    """The versions from the oldest to the latest. They are a line: two heads are a mistake."""
    after: dict[str | None, str] = {}
    for path in sorted((migrations_directory() / "versions").glob("*.py")):
        names = _assignments(path)
        if "revision" not in names:
            continue
        previous = names.get("down_revision")
        assert previous not in after, f"two migrations follow {previous}: {path.name} is one"
        after[previous] = str(names["revision"])
    order: list[str] = []
    previous = None
    while previous in after:
        previous = after[previous]
        order.append(previous)
    return order


def _assignments(path: Path) -> dict[str, str | None]:
    """The module's simple assignments of texts and None, without running it."""
    found: dict[str, str | None] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case (
                ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value))
                | ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value))
            ) if value is None or isinstance(value, str):
                found[name] = value
            case _:
                pass
    return found


async def _connect(url: str) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(
        url, statement_cache_size=0, timeout=15, server_settings={"application_name": "grctl db"}
    )


async def _create_database(url: str, name: str) -> None:
    quoted = name.replace('"', '""')
    async with connection(url) as conn:
        # Somebody else may be quicker.
        with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            await conn.execute(f'create database "{quoted}"')
