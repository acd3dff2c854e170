"""`grctl dashboard`: the pages for operators, in a browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from grctl.cli.session import DatabaseUrl, Schema
from grctl.cli.worker import LogFormat, LogLevel, prepare
from grctl.errors import ConfigurationError

EPILOG = """Examples:

\b
  grctl dashboard
  grctl dashboard --port 8080
  grctl dashboard --host 0.0.0.0 --token-file /run/secrets/dashboard

Without a token it listens on the loopback interface alone. Behind a proxy that signs people in, set
GRCTL_DASHBOARD_PROXY_HEADER and GRCTL_DASHBOARD_PROXY_PEERS; by another name than localhost, set
GRCTL_DASHBOARD_HOSTS. SIGTERM and SIGINT end it."""

INSTALL = "`pip install 'grctl[web]'`"
NEEDED = ("starlette", "uvicorn", "jinja2", "itsdangerous")


def is_installed() -> bool:
    """Whether all that the dashboard needs is there."""
    return all(importlib.util.find_spec(name) for name in NEEDED)


def dashboard(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; default: GRCTL_DASHBOARD_HOST, or 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port; default: GRCTL_DASHBOARD_PORT, or 8233. 0: any free one."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that people sign in with, of 16 characters on."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only show: nothing can be done to runs.")
    ] = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Serve the dashboard: runs, their timelines, and what can be done to them."""
    import asyncio

    from grctl.settings import load_settings

    settings = load_settings(
        database_url=database_url,
        db_schema=schema,
        dashboard_host=host,
        dashboard_port=port,
        dashboard_token_file=None if token_file is None else str(token_file),
        dashboard_read_only=read_only or None,
        log_format=log_format,
        log_level=log_level,
    )
    settings.require_database_url()
    if not is_installed():
        raise ConfigurationError(f"the dashboard is not installed: {INSTALL} does that")
    prepare(settings)
    from grctl.web.serve import serve

    asyncio.run(serve(settings, lambda url: typer.echo(f"The dashboard is at {url}")))
