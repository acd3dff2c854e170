"""Exit codes: which error of a command ends it how."""

from __future__ import annotations

import socket
import sys
from enum import IntEnum

from grctl.errors import ConfigurationError, DatabaseNotMigratedError, DatabaseTooNewError


class ExitCode(IntEnum):
    """What a `grctl` command leaves to the shell; the table is in `grctl.cli.main`."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DATABASE = 3
    CANCELLED = 4
    TIMED_OUT = 5


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with `error`."""
    # A ConfigurationError says it in better words, and has the driver's error as its cause.
    causes = [each for each in (error, error.__cause__) if each is not None]
    if isinstance(error, DatabaseNotMigratedError | DatabaseTooNewError) or any(
        is_unreachable(each) for each in causes
    ):
        return ExitCode.DATABASE
    if isinstance(error, ConfigurationError):
        return ExitCode.USAGE
    return ExitCode.FAILURE


def is_unreachable(error: BaseException) -> bool:
    """Whether `error` says that no connection to the database could be had."""
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return True
    # Where asyncpg was never imported, none of its errors was raised.
    if "asyncpg" not in sys.modules:
        return False
    import asyncpg

    return isinstance(
        error,
        asyncpg.CannotConnectNowError
        | asyncpg.InvalidAuthorizationSpecificationError
        | asyncpg.InvalidCatalogNameError
        | asyncpg.PostgresConnectionError
        | asyncpg.TooManyConnectionsError,
    )


def message_of(error: BaseException) -> str:
    """What a person is told about `error`."""
    text = str(error) or type(error).__name__
    if is_unreachable(error):
        return f"the database cannot be reached: {text} (see GRCTL_DATABASE_URL)"
    return text
