"""`grctl dev`: PostgreSQL and a worker in one process, for development."""

from __future__ import annotations

from typing import Annotated

import typer

from grctl.cli.worker import Concurrency, LogFormat, LogLevel, Loop, Targets

EPILOG = (
    "Example: `grctl dev shop.orders`, and in another terminal what it prints. The data stays "
    "until you remove its directory, unless you ask for --ephemeral. Not for production."
)


def dev(
    targets: Targets = None,
    ephemeral: Annotated[
        bool,
        typer.Option("--ephemeral", help="Keep nothing: the data is removed at the end."),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(help="Port of PostgreSQL; default: the last one, or any free one.", min=1024),
    ] = None,
    concurrency: Concurrency = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    loop: Loop = "auto",
) -> None:
    """Start a PostgreSQL of its own, migrate it, and run a worker on it. Ctrl-C stops it all."""
    raise NotImplementedError
