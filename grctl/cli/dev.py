"""`grctl dev`: PostgreSQL and a worker in one process, for development."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grctl.cli.worker import Concurrency, LogFormat, LogLevel, Loop, Targets, prepare

if TYPE_CHECKING:
    from types import FrameType

    from grctl.dev import EmbeddedPostgres
    from grctl.settings import Settings
    from grctl.workflow.workflow import Workflow

EPILOG = (
    "Example: `grctl dev shop.orders`, and in another terminal what it prints. The data stays "
    "until you remove its directory, unless you ask for --ephemeral. Not for production."
)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def dev(
    targets: Targets = None,
    ephemeral: Annotated[
        bool,
        typer.Option("--ephemeral", help="Keep nothing: the data is removed at the end."),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of PostgreSQL; default: the one it had, or any free one.",
            min=1024,
            max=65535,
        ),
    ] = None,
    concurrency: Concurrency = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    loop: Loop = "auto",
) -> None:
    """Start a PostgreSQL of its own, migrate it, and run a worker on it. Ctrl-C stops it all.

    The dashboard is served, too, if it is installed.

    Without workflows (no MODULE, and no package that offers any) it starts PostgreSQL alone.
    """
    from grctl.settings import load_settings
    from grctl.worker.process import end_process

    asked = {"concurrency": concurrency, "log_format": log_format, "log_level": log_level}
    prepare(load_settings(**asked))
    workflows = _load(targets or [])
    # To the end of the process: while PostgreSQL is stopped, another Ctrl-C changes nothing.
    stop = _StopSignals()
    with _server(port, ephemeral=ephemeral) as server:
        dsn = server.dsn
        # GRCTL_DATABASE_URL and GRCTL_LISTEN_URL lead elsewhere, if they are set.
        settings = load_settings(database_url=dsn, listen_url=dsn, **asked)
        _migrate(settings)
        with _dashboard(settings) as pages:
            if port is not None and f":{port}/" not in dsn:
                typer.echo(f"--port {port} is for a server that is started: this one runs already")
            typer.echo(_welcome(server, pages, workflows, ephemeral=ephemeral))
            code = _work(workflows, settings, loop, stop)
    end_process(code)


def _load(targets: Sequence[str]) -> list[Workflow]:
    from grctl.worker.discovery import are_any_offered, load_workflows

    return load_workflows(targets) if targets or are_any_offered() else []


@contextmanager
def _server(port: int | None, *, ephemeral: bool) -> Iterator[EmbeddedPostgres]:
    """The server, started or joined; it is stopped at the end, unless others use it."""
    from grctl.dev import EmbeddedPostgres, default_home

    with ExitStack() as stack:
        home = default_home()
        if ephemeral:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="grctl-dev-"))
            Path(place).chmod(0o711)  # for root, the server runs as another account
            home = Path(place) / "postgres"
        server = EmbeddedPostgres(home, ephemeral=ephemeral, port=port)
        stack.callback(server.stop)
        server.start()
        yield server


def _migrate(settings: Settings) -> None:
    import asyncio

    from grctl.postgres import migrations

    url = settings.require_database_url()
    asyncio.run(migrations.upgrade(url, settings.db_schema))


@contextmanager
def _dashboard(settings: Settings) -> Iterator[str]:
    """Where the dashboard is, or how to get it; it is served until the end."""
    from grctl.cli.dashboard import INSTALL, is_installed

    if not is_installed():
        yield f"none; {INSTALL} brings one"
        return
    from grctl.web.serve import beside

    with beside(settings, any_port=True) as url:
        yield url


def _work(workflows: Sequence[Workflow], settings: Settings, loop: Loop, stop: _StopSignals) -> int:
    """Until a signal comes. The exit code."""
    from grctl.worker.process import run_worker

    if not workflows:
        stop.wait()
        return 0
    try:
        return run_worker(workflows, settings, loop=loop, is_stopped=lambda: stop.came)
    finally:
        stop.listen()


def _welcome(
    server: EmbeddedPostgres, pages: str, workflows: Sequence[Workflow], *, ephemeral: bool
) -> str:
    kept = "removed at the end" if ephemeral else "kept; remove it to begin anew"
    runs = "runs already, and is joined" if server.is_joined else "runs"
    lines = [
        f"PostgreSQL {runs}. Its data: {server.home} ({kept})",
        f"Dashboard: {pages}",
        "In another terminal:",
        f"  export GRCTL_DATABASE_URL={server.dsn}",
    ]
    if workflows:
        lines += [f"  {_example_of(workflow)}" for workflow in workflows]
        lines += ["  grctl list", _at_the_end("the worker and PostgreSQL", server)]
    else:
        lines += [
            "There is no worker: name the modules of your workflows, `grctl dev shop.orders`, or",
            "run `grctl worker shop.orders` in that other terminal.",
            _at_the_end("PostgreSQL", server),
        ]
    return "\n".join(lines)


def _at_the_end(what: str, server: EmbeddedPostgres) -> str:
    if server.is_joined:
        return "Ctrl-C ends this; PostgreSQL goes on while others use it."
    return f"Ctrl-C stops {what}."


def _example_of(workflow: Workflow) -> str:
    names = [each.name for each in workflow.start_handler.parameters if each.required]
    command = f"grctl run {workflow.workflow_type}"
    if not names:
        return command
    given = ", ".join(f'"{name}": …' for name in names)
    return f"{command} --input '{{{given}}}'"


class _StopSignals:
    """Notes the signals that are to stop us, so that they never interrupt the start or the stop of
    PostgreSQL in the middle.
    """

    def __init__(self) -> None:
        self.came = False
        self.listen()

    def wait(self) -> None:
        """Until one comes."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if not self.came:
            signal.sigwait(SIGNALS)
            self.came = True
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def listen(self) -> None:
        """Take the signals, of whoever had them."""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
