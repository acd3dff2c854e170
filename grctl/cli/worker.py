"""`grctl worker`: execute runs, until a signal ends that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from grctl.cli.session import DatabaseUrl, Schema

if TYPE_CHECKING:
    from grctl.settings import Settings

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODULE[:ATTR]]...",
        help="Where the workflows are: MODULE for all of its globals, ATTR for a Workflow, a list "
        "of them, or a function that returns either. Without any: every entry point in the group "
        "grctl.workflows.",
        show_default=False,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(help="Runs in flight, at most; default: GRCTL_CONCURRENCY, or 500."),
]
Name = Annotated[
    str | None,
    typer.Option(help="Name of the worker; default: made from its workflow types."),
]
LeaseSeconds = Annotated[
    float | None,
    typer.Option(help="Seconds until the runs of a worker that is gone are taken over."),
]
ShutdownSeconds = Annotated[
    float | None, typer.Option(help="Seconds that running steps get to end at a stop.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        help="Port of /metrics, /healthz and /readyz; 0: any free one. Default: "
        "GRCTL_METRICS_PORT, or none.",
        min=0,
        max=65535,
    ),
]
LogFormat = Annotated[
    Literal["auto", "console", "json"] | None,
    typer.Option(help="Default: GRCTL_LOG_FORMAT, or console on a terminal and json elsewhere."),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error", "critical"] | None,
    typer.Option(help="The least severe level that is logged."),
]
Loop = Annotated[
    Literal["auto", "uvloop", "asyncio"],
    typer.Option(help="The event loop; auto: uvloop if it is installed."),
]

EPILOG = (
    "Examples: `grctl worker shop.orders shop.refunds:workflows`, or just `grctl worker` where "
    "the packages are installed. Every other setting is a GRCTL_* variable: see `grctl config`. "
    "SIGTERM and SIGINT let running steps end; a second one stops at once."
)


def worker(
    targets: Targets = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    concurrency: Concurrency = None,
    name: Name = None,
    lease_seconds: LeaseSeconds = None,
    shutdown_seconds: ShutdownSeconds = None,
    metrics_port: MetricsPort = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    loop: Loop = "auto",
) -> None:
    """Execute runs of workflows. Start as many workers as you like, on any hosts."""
    from grctl.settings import load_settings
    from grctl.worker.discovery import load_workflows
    from grctl.worker.process import end_process, run_worker

    settings = load_settings(
        database_url=database_url,
        db_schema=schema,
        concurrency=concurrency,
        worker_name=name,
        lease_seconds=lease_seconds,
        shutdown_seconds=shutdown_seconds,
        metrics_port=metrics_port,
        log_format=log_format,
        log_level=log_level,
    )
    settings.require_database_url()
    prepare(settings)
    end_process(run_worker(load_workflows(targets or ()), settings, loop=loop))


def prepare(settings: Settings) -> None:
    """Logging as set, a warning for each variable that sets nothing, modules found from here."""
    from grctl import log
    from grctl.settings import unknown_variables

    log.configure(settings.log_format, settings.log_level)
    for warning in unknown_variables():
        log.get_logger("grctl.settings").warning("unknown setting", problem=warning)
    # The installed command has its own directory as sys.path[0], not the working directory.
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
