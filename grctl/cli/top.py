"""`grctl top`: live workers and runs in the terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from grctl.cli.exits import ExitCode
from grctl.cli.session import DatabaseUrl, Schema, ask, fail

if TYPE_CHECKING:
    from grctl.client import Client

TOP_EPILOG = """Keys:

\b
  1 2 3 4    runs that are running, due, waiting for a timer, the latest of all
  up, down   choose a run; Enter shows why it stands where it stands, and its history
  Tab        between workers and runs
  p          pause; q quits, Escape goes back

It reads a few rows of the database each second, whatever its size, and changes nothing."""


def top(
    every: Annotated[
        float, typer.Option(help="Seconds between two looks.", min=0.2, max=3600)
    ] = 1.0,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Watch workers and runs, live, in the terminal."""
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        fail(ExitCode.USAGE, "top needs a terminal; for programs there is `grctl list --json`")
    try:
        import textual  # noqa: F401  - an extra
    except ImportError:
        fail(ExitCode.USAGE, "top needs textual, which is not installed: pip install 'grctl[top]'")

    async def watch(client: Client) -> int:
        from grctl.cli.top_app import TopApp

        # Lines would break into the screen; what they would say of the database, it says itself.
        logging.disable()
        app = TopApp(client, every)
        await app.run_async()
        return app.return_code or 0

    raise typer.Exit(ask(watch, database_url, schema))
