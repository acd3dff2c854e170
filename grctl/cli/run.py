"""`grctl run` and `grctl start`: make a workflow run, and wait for its result or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grctl.cli.exits import ExitCode
from grctl.cli.given import read_json
from grctl.cli.session import DatabaseUrl, Schema, ask, fail, print_json, print_text

if TYPE_CHECKING:
    from grctl.client import Client, WorkflowHandle

Type = Annotated[str, typer.Argument(metavar="TYPE", help="The workflow type.", show_default=False)]
Id = Annotated[
    str | None,
    typer.Option("--id", help="The workflow id; default: one is made. One run of it at a time."),
]
Input = Annotated[
    str | None,
    typer.Option("--input", help="The input as JSON: an object of the start handler's arguments."),
]
InputFile = Annotated[
    Path | None, typer.Option("--input-file", help="A file with the input as JSON; -: stdin.")
]
Timeout = Annotated[
    float | None,
    typer.Option(help="End the run after this many seconds, wherever it is; default: never."),
]

RUN_EPILOG = """Examples:

\b
  grctl run order --input '{"item": "book", "amount": 2}'
  grctl run report --id report-2024 --input-file report.json --timeout 60

The result is printed as JSON. Exit code 1: the workflow failed, 4: it was cancelled or terminated,
5: its timeout struck."""
START_EPILOG = """Example:

\b
  id=$(grctl start order --input '{"amount": 2}')
  grctl history $id --follow"""


def run(
    wf_type: Type,
    wf_id: Id = None,
    input_json: Input = None,
    input_file: InputFile = None,
    timeout: Timeout = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Start a workflow, wait for its end, and print its result. Ctrl-C stops only the waiting."""
    value = read_json("input", input_json, input_file)
    wf_id = wf_id or _new_id(wf_type)

    async def to_its_end(client: Client) -> Any:
        await client.connection.waiters.ready()
        handle = await _start(client, wf_type, wf_id, value, timeout)
        return await _result(handle)

    try:
        result = ask(to_its_end, database_url, schema)
    except KeyboardInterrupt:
        print(f"workflow {wf_id} goes on: `grctl history {wf_id}`", file=sys.stderr)
        raise typer.Exit(130) from None
    print_json(result)


def start(
    wf_type: Type,
    wf_id: Id = None,
    input_json: Input = None,
    input_file: InputFile = None,
    timeout: Timeout = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Start a workflow and print its workflow id, without waiting for it."""
    value = read_json("input", input_json, input_file)
    wf_id = wf_id or _new_id(wf_type)
    ask(lambda client: _start(client, wf_type, wf_id, value, timeout), database_url, schema)
    print_text(wf_id)


async def _start(
    client: Client, wf_type: str, wf_id: str, value: Any, timeout: float | None
) -> WorkflowHandle:
    from datetime import timedelta

    try:
        limit = None if timeout is None else timedelta(seconds=timeout)
    except (OverflowError, ValueError):  # infinity, and what is no number
        raise ValueError(f"--timeout is a number of seconds, not {timeout}") from None
    return await client.start_workflow(wf_type, wf_id, value, timeout=limit)


async def _result(handle: WorkflowHandle) -> Any:
    import asyncio

    from grctl.errors import WorkflowError

    try:
        return await handle.result()
    except WorkflowError as error:
        fail(ExitCode.FAILURE, f"workflow {handle.workflow_id!r} failed: {error}")
    except TimeoutError:
        fail(ExitCode.TIMED_OUT, f"workflow {handle.workflow_id!r} did not end within its timeout")
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise  # by Ctrl-C: not the workflow's end
        fail(ExitCode.CANCELLED, f"workflow {handle.workflow_id!r}: {error}")


def _new_id(wf_type: str) -> str:
    import secrets

    return f"{wf_type[:200]}-{secrets.token_hex(4)}"
