"""`grctl send`, `query`, `update`, `cancel`, `terminate`, `retry`: speak to a run, or end it.

All are for the latest run of a workflow id. An answer is printed as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grctl.cli.exits import ExitCode
from grctl.cli.given import parse_json, read_json
from grctl.cli.session import DatabaseUrl, Schema, ask, fail, print_json

if TYPE_CHECKING:
    from grctl.client import Client, WorkflowHandle

Id = Annotated[str, typer.Argument(metavar="ID", help="The workflow id.", show_default=False)]
Payload = Annotated[
    str | None,
    typer.Option(
        "--payload",
        help="The payload as JSON: an object of the handler's arguments, or its only one.",
    ),
]
PayloadFile = Annotated[
    Path | None, typer.Option("--payload-file", help="A file with the payload as JSON; -: stdin.")
]
Reason = Annotated[str | None, typer.Option(help="Why; it is shown in the run's history.")]

SEND_EPILOG = """Examples:

\b
  grctl send order-7 approve --payload '{"by": "ada"}'
  grctl send order-7 note --payload '"text is quoted twice"'
  jq -c .order orders.json | grctl send order-7 change --payload-file -

It returns when the event is in the run's inbox, where it is not lost. Exit code 1: there is no such
workflow id, its run has ended, or its workflow has no event so named."""

QUERY_EPILOG = """Examples:

\b
  grctl query order-7 status
  grctl query order-7 items_above 100 '"EUR"'

Each argument is JSON. A run that waits or has ended can be asked, too. Exit code 1: the handler
raised an error, or there is none so named. Exit code 5: nobody answered within the timeout."""

UPDATE_EPILOG = """Examples:

\b
  grctl update cart-7 add --payload '{"item": "book", "amount": 2}'
  grctl update cart-7 add --payload-file item.json --timeout 30

Its handler runs when the run waits for events. Exit code 1: the handler raised an error, there is
none so named, or the run has ended. Exit code 5: no answer within the timeout; the update stays in
the run's inbox."""

CANCEL_EPILOG = """Example:

\b
  grctl cancel order-7 --reason 'ordered twice'

A run that waits ends at once; one in a step when its step does, which may see that a cancel was
asked for. Exit code 1: there is no such workflow id, or its run has ended."""

TERMINATE_EPILOG = """Example:

\b
  grctl terminate order-7 --reason 'it hangs'

Nothing more of the step that runs is recorded: `grctl cancel` is the gentle way. Exit code 1: there
is no such workflow id, or its run has ended."""

RETRY_EPILOG = """Examples:

\b
  grctl retry order-7
  grctl list --status failed --json | jq -r '.runs[].wf_id' | xargs -n 1 grctl retry

Tasks of the failed step that were completed are not run again. Exit code 1: there is no such
workflow id, or its latest run has not failed."""


def send(
    wf_id: Id,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's name.")],
    payload: Payload = None,
    payload_file: PayloadFile = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Send an event to a run."""
    value = read_json("payload", payload, payload_file)
    _with_run(wf_id, lambda handle: handle.send(event, value), database_url, schema)
    _say(f"event {event!r} is in the inbox of {wf_id!r}")


def query(
    wf_id: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The query's name.")],
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="JSON", help="The query's arguments.", show_default=False),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 10.0,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Ask a run something, and print its answer. Nothing is changed by it."""
    values = [
        parse_json(text, f"argument {number} ({text})")
        for number, text in enumerate(args or (), start=1)
    ]

    async def answer(handle: WorkflowHandle) -> Any:
        what = f"query {name!r} of {wf_id!r}"
        return await _answer(what, handle.query(name, *values, timeout=timeout))

    print_json(_with_run(wf_id, answer, database_url, schema))


def update(
    wf_id: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The update's name.")],
    payload: Payload = None,
    payload_file: PayloadFile = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait for the answer; default: for ever.")
    ] = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Send an update to a run, wait until it is handled, and print the answer."""
    value = read_json("payload", payload, payload_file)

    async def answer(handle: WorkflowHandle) -> Any:
        what = f"update {name!r} of {wf_id!r}"
        return await _answer(what, handle.update(name, value, timeout=timeout))

    print_json(_with_run(wf_id, answer, database_url, schema))


def cancel(
    wf_id: Id,
    reason: Reason = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Ask a run to end: it may finish its step, and clean up in it."""
    _with_run(wf_id, lambda handle: handle.cancel(reason), database_url, schema)
    _say(f"cancel of {wf_id!r} is recorded")


def terminate(
    wf_id: Id,
    reason: Reason = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """End a run now, whatever it does."""
    _with_run(wf_id, lambda handle: handle.terminate(reason), database_url, schema)
    _say(f"workflow {wf_id!r} is terminated")


def retry(wf_id: Id, database_url: DatabaseUrl = None, schema: Schema = None) -> None:
    """Open a failed run again, at the step that failed."""
    _with_run(wf_id, lambda handle: handle.retry(), database_url, schema)
    _say(f"workflow {wf_id!r} is open again")


def _with_run(
    wf_id: str,
    act: Callable[[WorkflowHandle], Awaitable[Any]],
    database_url: str | None,
    schema: str | None,
) -> Any:
    """What ``act`` gives for the latest run of a workflow id."""

    async def conversation(client: Client) -> Any:
        return await act(await client.get_workflow_handle(wf_id))

    return ask(conversation, database_url, schema)


async def _answer(what: str, call: Awaitable[Any]) -> Any:
    """A handler's answer. What it raises is its own, not a failure of ours to be told by type."""
    from grctl.client.outcomes import RemoteTraceback

    try:
        return await call
    except Exception as error:
        if isinstance(error.__cause__, RemoteTraceback):
            fail(ExitCode.FAILURE, f"{what} raised {error.__cause__.summary}")
        if isinstance(error, TimeoutError):
            fail(ExitCode.TIMED_OUT, str(error))
        raise


def _say(words: str) -> None:
    print(words, file=sys.stderr)
