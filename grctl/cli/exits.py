"""Exit codes: which error of a command ends it how."""

from __future__ import annotations

import socket
import sys
from enum import IntEnum

from grctl.errors import (
    ConfigurationError,
    DatabaseNotMigratedError,
    DatabaseTooNewError,
    GrctlError,
)


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
    if (refusal := refusal_of(error)) is not None:
        import asyncpg

        # About what was given: text that is no UTF-8, a time that is too long.
        return ExitCode.USAGE if isinstance(refusal, asyncpg.DataError) else ExitCode.FAILURE
    return ExitCode.FAILURE


def refusal_of(error: BaseException | None) -> BaseException | None:
    """What the database, or its driver, has said to what it would not do; None of a defect.

    An error of a migration has it at the end of its causes; one of ours has said it already.
    """
    if "asyncpg" not in sys.modules or isinstance(error, GrctlError):
        return None
    import asyncpg

    while error is not None:
        if isinstance(
            error,
            asyncpg.DataError
            | asyncpg.InsufficientPrivilegeError
            | asyncpg.InsufficientResourcesError
            | asyncpg.LockNotAvailableError
            | asyncpg.OperatorInterventionError
            | asyncpg.ReadOnlySQLTransactionError
            | asyncpg.TransactionRollbackError,
        ):
            return error
        error = error.__cause__
    return None


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
    if (refusal := refusal_of(error)) is not None:
        return f"the database refused it: {refusal}"
    return text
