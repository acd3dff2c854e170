"""The command `grctl`.

Exit codes of every command:

====  =============================================================================
code  meaning
====  =============================================================================
0     done
1     it failed, or the workflow or handler that it asked did; the reason is on stderr
2     wrong usage: an unknown option, an argument or a setting that is not allowed
3     the database cannot be reached, is not migrated, or is newer than this grctl
4     the workflow that it waited for was cancelled or terminated
5     the end or the answer that it waited for did not come within its timeout
130   Ctrl-C
====  =============================================================================

Command modules import what is heavy inside their commands: `grctl --help` is quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from grctl.cli import (
    act,
    archive,
    config,
    dashboard,
    db,
    dev,
    doctor,
    init,
    prune,
    run,
    serving,
    show,
    top,
    why,
    worker,
)
from grctl.cli.exits import exit_code_of, is_unreachable, message_of, refusal_of
from grctl.cli.printable import printable
from grctl.errors import GrctlError
from grctl.version import __version__

app = typer.Typer(
    name="grctl",
    help="Durable execution for async Python on PostgreSQL.",
    no_args_is_help=True,
    # Plain help: Rich takes longer to import than all else, and wraps the examples.
    rich_markup_mode=None,
    # Rich tracebacks print local variables, and with them what is secret.
    pretty_exceptions_enable=False,
)
app.command("config")(config.config)
app.command("init", epilog=init.EPILOG)(init.init)
app.add_typer(db.app, name="db")
app.command("worker", epilog=worker.EPILOG)(worker.worker)
app.command("dashboard", epilog=dashboard.EPILOG)(dashboard.dashboard)
app.command("dev", epilog=dev.EPILOG)(dev.dev)
app.command("run", epilog=run.RUN_EPILOG)(run.run)
app.command("start", epilog=run.START_EPILOG)(run.start)
app.command("history", epilog=show.HISTORY_EPILOG)(show.history)
app.command("describe", epilog=show.DESCRIBE_EPILOG)(show.describe)
app.command("list", epilog=show.LIST_EPILOG)(show.list_)
app.command("why", epilog=why.WHY_EPILOG)(why.why)
app.command("top", epilog=top.TOP_EPILOG)(top.top)
app.command("doctor", epilog=doctor.DOCTOR_EPILOG)(doctor.doctor)
app.command("prune", epilog=prune.PRUNE_EPILOG)(prune.prune)
app.command("export", epilog=archive.EXPORT_EPILOG)(archive.export)
app.command("import", epilog=archive.IMPORT_EPILOG)(archive.import_)
app.command("send", epilog=act.SEND_EPILOG)(act.send)
# -5 is an argument, not an option.
_NUMBERS = {"ignore_unknown_options": True}
app.command("query", epilog=act.QUERY_EPILOG, context_settings=_NUMBERS)(act.query)
app.command("update", epilog=act.UPDATE_EPILOG)(act.update)
app.command("cancel", epilog=act.CANCEL_EPILOG)(act.cancel)
app.command("terminate", epilog=act.TERMINATE_EPILOG)(act.terminate)
app.command("retry", epilog=act.RETRY_EPILOG)(act.retry)
app.command("types", epilog=serving.TYPES_EPILOG)(serving.types)
app.command("workers", epilog=serving.WORKERS_EPILOG)(serving.workers)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"grctl {__version__}")
        raise typer.Exit


@app.callback()
def _grctl(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors that we know end in one line and an exit code, not a trace."""
    try:
        app(prog_name="grctl")
    except Exception as error:
        known = isinstance(error, GrctlError) or is_unreachable(error) or refusal_of(error)
        if not known:
            raise
        print(f"error: {printable(message_of(error))}", file=sys.stderr)
        sys.exit(exit_code_of(error))


if __name__ == "__main__":
    main()
