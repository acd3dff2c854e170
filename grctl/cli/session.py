"""One command's conversation with the database: connect, check the schema, ask, close."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from grctl.cli.exits import ExitCode
from grctl.cli.printable import json_text, printable

if TYPE_CHECKING:
    from grctl.client import Client

T = TypeVar("T")

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="PostgreSQL URL; default: GRCTL_DATABASE_URL."),
]
Schema = Annotated[
    str | None, typer.Option("--schema", help="Schema's name; default: GRCTL_SCHEMA, or grctl.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def ask(
    question: Callable[[Client], Awaitable[T]], database_url: str | None, schema: str | None
) -> T:
    """What ``question`` gives, asked with a client of its own.

    A value that the client does not take (ValueError) ends the command as wrong usage.
    """
    import asyncio

    from grctl import log
    from grctl.settings import load_settings
    from grctl.telemetry import sdk

    settings = load_settings(database_url=database_url, db_schema=schema)
    settings.require_database_url()
    log.configure(settings.log_format, "warning")

    sdk.set_up(settings)

    async def conversation() -> T:
        from grctl.client import Client, Connection
        from grctl.postgres import migrations

        async with await Connection.connect(settings=settings) as connection:
            async with connection.database.pool.acquire() as conn:
                await migrations.check(conn, settings.db_schema)
            return await question(Client(connection))

    try:
        return asyncio.run(conversation())
    except ValueError as error:
        fail(ExitCode.USAGE, str(error))
    finally:
        sdk.shut_down()


def fail(code: ExitCode, message: str) -> NoReturn:
    """End the command with one line on stderr."""
    print(f"error: {printable(message)}", file=sys.stderr)
    raise typer.Exit(code)


def print_text(text: str) -> None:
    """Text on stdout; what its encoding does not have is shown as ``?``."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


def print_json(value: Any, *, lines: bool = False) -> None:
    """A value as JSON on stdout: in one line; for a terminal in several, unless ``lines``."""
    indent = 2 if sys.stdout.isatty() and not lines else None
    text = json_text(value, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json_text(value, indent=indent, ascii_only=True)
    print(text)
