"""Connections to PostgreSQL, and which of its errors pass by themselves.

A connection from here keeps no state between statements (no session locks, no LISTEN, no open
transaction), so that it works behind PgBouncer in transaction mode and may be reset by nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

import asyncpg

from grctl.errors import ConfigurationError
from grctl.log import get_logger
from grctl.postgres.migrations import check
from grctl.postgres.sql import statements
from grctl.settings import Settings

__all__ = ["PASSING_ERRORS", "Database", "is_passing"]

T = TypeVar("T")
log = get_logger("grctl.database")

CONNECT_TIMEOUT = 10.0
COMMAND_TIMEOUT = 60.0
"""Longer than any statement of ours takes: what has no answer then goes over a dead connection."""
LONGEST_RETRY_DELAY = 2.0

PASSING_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shutdown, restart, cancelled by an operator or a timeout
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.ReadOnlySQLTransactionError,  # a fail-over: this node is a standby now
    asyncpg.InvalidAuthorizationSpecificationError,  # a new connection was not let in
    asyncpg.InvalidCatalogNameError,  # nor was this one: the database is being restored
    OSError,
    TimeoutError,
)
"""What is worth another try. A statement that met one of them may have been committed all the
same: only the journal, which has a witness, and statements that may be repeated are sent again."""


def is_passing(error: BaseException) -> bool:
    """Whether an error says something of the server's state, and nothing of the statement."""
    if isinstance(error, ValueError | asyncpg.UnsupportedClientFeatureError):
        return False  # a value that asyncpg cannot encode is an InterfaceError too
    return isinstance(error, PASSING_ERRORS)


async def _keep(_: asyncpg.Connection[Any]) -> None:
    """Instead of asyncpg's reset on each release: there is nothing to reset, and it costs a
    transaction.
    """


_MISSING = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
)
"""What a statement of ours meets on a schema that is not there, or of another version."""


class Database:
    """A pool for reads, claims and single statements, and the making of other connections."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dsn = settings.require_database_url()
        self.schema = settings.db_schema
        self._pool: asyncpg.Pool[Any] | None = None

    def sql(self, file: str, name: str) -> str:
        """A statement by its file and name, for this database's schema."""
        return statements(file, self.schema)[name]

    async def open(self) -> None:
        """Open the pool. ConfigurationError if the server cannot be reached or refuses us."""
        try:
            self._pool = await asyncpg.create_pool(
                self.dsn,
                min_size=1,
                max_size=self.settings.pool_size,
                reset=_keep,
                timeout=CONNECT_TIMEOUT,
                command_timeout=COMMAND_TIMEOUT,
                statement_cache_size=self.settings.statement_cache,
                server_settings={"application_name": "grctl"},
            )
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            ValueError,
        ) as error:
            raise ConfigurationError(
                f"cannot connect to the database: {_reason(error)}. Check GRCTL_DATABASE_URL "
                f"({self.settings.masked().get('database_url')}) and that the server is up"
            ) from error

    async def close(self) -> None:
        """Close the pool; connections in use are cut after a while."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), 5)
            except TimeoutError:
                pool.terminate()

    @property
    def pool(self) -> asyncpg.Pool[Any]:
        """The open pool."""
        if self._pool is None:
            raise RuntimeError("the connection is closed")
        return self._pool

    async def connect(self, application: str, *, listen: bool = False) -> asyncpg.Connection[Any]:
        """A connection outside the pool; for LISTEN by ``listen_url`` where that is set."""
        dsn = (self.settings.listen_url if listen else None) or self.dsn
        return await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT,
            statement_cache_size=self.settings.statement_cache,
            server_settings={"application_name": f"grctl {application}"},
        )

    async def fetch(self, file: str, name: str, *args: Any) -> list[asyncpg.Record]:
        """Run one statement by name; its rows."""
        return await self.ask(lambda c: c.fetch(self.sql(file, name), *args))

    async def fetchval(self, file: str, name: str, *args: Any) -> Any:
        """Run one statement by name; the first value of its first row."""
        return await self.ask(lambda c: c.fetchval(self.sql(file, name), *args))

    async def ask(
        self, statement: Callable[[asyncpg.pool.PoolConnectionProxy[Any]], Awaitable[T]]
    ) -> T:
        """Run one statement on a connection of the pool. One that gave no answer is not kept: to
        hear of its end, asyncpg would wait for the server once more.

        DatabaseNotMigratedError or DatabaseTooNewError where it asks for what is not there.
        """
        async with self.pool.acquire() as connection:
            try:
                return await statement(connection)
            except asyncio.CancelledError:
                connection.terminate()
                raise
            except TimeoutError:
                connection.terminate()
                await self.suspect()
                raise
            except _MISSING:
                await check(connection, self.schema)  # says so, if that is why
                raise

    async def suspect(self) -> None:
        """A connection was found to be dead, though nobody had closed it. What swallowed its
        answers (a firewall, a lost host) has those of the pool, too, and each would take as long to
        be found out: all that there are now are replaced before they are used again.
        """
        if self._pool is not None:
            await self._pool.expire_connections()

    async def patiently(
        self, what: str, attempt: Callable[[], Awaitable[T]], patience: float | None = None
    ) -> T:
        """Repeat ``attempt``, which may be repeated, until the server is there again.

        ``patience`` in seconds is how long (None: for ever); then the last error is raised.
        """
        backoff = Backoff(what)
        began = monotonic()
        while True:
            try:
                return await attempt()
            except Exception as error:
                if not is_passing(error):
                    raise
                if patience is not None and monotonic() - began > patience:
                    raise
                await backoff.pause(error)


class Backoff:
    """Growing pauses between attempts, and one log line for each."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._delay = 0.05

    async def pause(self, error: BaseException) -> None:
        """Wait before the next attempt."""
        log.warning("database retry", doing=self.what, error=_reason(error), delay=self._delay)
        await asyncio.sleep(self._delay)
        self._delay = min(self._delay * 2, LONGEST_RETRY_DELAY)

    def reset(self) -> None:
        """It worked: the next pause is short again."""
        self._delay = 0.05


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
