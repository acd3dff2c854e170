"""A process's connection to grctl's database, shared by its client and its worker."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from grctl.client.starts import Starts
from grctl.client.waiters import Waiters
from grctl.engine.codec import Codec
from grctl.postgres.database import Database
from grctl.settings import Settings, change_settings, load_settings

if TYPE_CHECKING:
    from grctl.telemetry.tracing import Tracing

__all__ = ["Connection"]


class Connection:
    """A pool of connections, and what one process needs once: the waiters on results.

    Made by ``await Connection.connect(dsn)``; an async context manager, or ended by ``close()``.
    """

    def __init__(self, settings: Settings, tracer_provider: Any = None) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.codec = Codec(max_bytes=settings.max_payload_bytes)
        self.waiters = Waiters(self.database)
        is_traced = settings.tracing or tracer_provider is not None
        self.tracing = _tracing(tracer_provider) if is_traced else None
        self.starts = Starts(self.database, self.tracing)
        self.on_close: set[Callable[[], None]] = set()
        """What is to be told before it is closed: the journals of workers."""

    @classmethod
    async def connect(
        cls,
        dsn: str | None = None,
        *,
        settings: Settings | None = None,
        tracer_provider: Any = None,
        **overrides: Any,
    ) -> Self:
        """Connect to ``dsn`` (default: the variable ``GRCTL_DATABASE_URL``).

        ``dsn`` is a PostgreSQL URL, ``postgresql+asyncpg://`` too. ``settings`` gives all settings
        at once; ``dsn`` and ``overrides``, by their field names, go before what it says.
        ``tracer_provider`` makes the spans, if ``settings.tracing`` or this is given (default:
        OpenTelemetry's global one). ConfigurationError if a setting is wrong or the server cannot
        be reached.
        """
        if dsn is not None:
            overrides["database_url"] = dsn
        if settings is None:
            loaded = load_settings(**overrides)
        else:
            loaded = change_settings(settings, **overrides)
        connection = cls(loaded, tracer_provider)
        await connection.database.open()
        return connection

    async def close(self) -> None:
        """Close every connection. Twice is once.

        Whoever waits for a result over it gets a RuntimeError, and the run goes on. A worker is
        stopped first: one that is not drops its steps unrecorded, and ends with a RuntimeError.
        """
        for tell in list(self.on_close):
            tell()
        await self.waiters.close()
        await self.database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _tracing(tracer_provider: Any) -> Tracing:
    from grctl.telemetry.tracing import Tracing  # noqa: PLC0415 - an extra

    return Tracing(tracer_provider)
