"""`grctl history`, `grctl describe` and `grctl list`: what runs have done, and what they do."""

from __future__ import annotations

import os
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from grctl.cli.exits import ExitCode
from grctl.cli.session import AsJson, DatabaseUrl, Schema, ask, fail, print_json, print_text
from grctl.cli.words import duration, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grctl.client import Client
    from grctl.client.page import RunPage
    from grctl.models.history import HistoryEvent
    from grctl.models.run import RunInfo

Id = Annotated[str, typer.Argument(metavar="ID", help="The workflow id.", show_default=False)]
RunId = Annotated[
    UUID | None, typer.Option("--run", help="One of the id's runs; default: the latest.")
]

HISTORY_EPILOG = """Examples:

\b
  grctl history order-7
  grctl history order-7 --follow
  grctl history order-7 --json | jq '.[] | select(.kind == "task.failed")'
  grctl history order-7 --follow --json | jq -r .kind

Times count from when the run was scheduled; a task's first line is its call. With --follow a call
is shown when something has come of it, with the time at which it was made (of a task that was cut
off: at which it was noted, a second later); --json then gives one event a line."""
DESCRIBE_EPILOG = """Example:

\b
  grctl describe order-7 --json | jq -r .status"""
LIST_EPILOG = """Examples:

\b
  grctl list --status failed --since 1h
  grctl list --type order --status running --status waiting
  grctl list --id-prefix order- --limit 1000 --json

Where there are more, stderr says the --cursor to go on with."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WIDE: Final = 100_000
"""Nothing is cut where no terminal shows it."""


def history(
    wf_id: Id,
    run_id: RunId = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as it goes on, until it has ended.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Show what a run has done so far, event by event."""
    if follow:
        ask(lambda client: _follow(client, wf_id, run_id, as_json), database_url, schema)
        return
    events = ask(lambda client: client.get_history(wf_id, run_id), database_url, schema)
    if as_json:
        print_json([event.to_dict() for event in events])
        return
    from grctl.cli.timeline import render

    print_text(render(events, **_look()))


async def _follow(client: Client, wf_id: str, run_id: UUID | None, as_json: bool) -> None:
    from grctl.cli.follow import follow

    first: HistoryEvent | None = None
    async for events in follow(client, wf_id, run_id):
        if as_json:
            for event in events:
                print_json(event.to_dict(), lines=True)
        else:
            _print_lines(events, first)
        first = first or events[0]
        sys.stdout.flush()


def _print_lines(events: Sequence[HistoryEvent], first: HistoryEvent | None) -> None:
    """More of a timeline: ``first`` is the run's first event; None if it is among these."""
    from grctl.cli.timeline import line, title

    look = _look()
    if first is None:
        first = events[0]
        print_text(title(first, **look))
    for event in events:
        print_text(line(event, event.timestamp - first.timestamp, **look))


def _look() -> dict[str, Any]:
    """How a timeline is drawn: for a terminal, or for a file."""
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else _WIDE
    return {"color": is_terminal and not os.environ.get("NO_COLOR"), "width": width}


def describe(
    wf_id: Id,
    run_id: RunId = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Show what a run is and where it stands."""
    info = ask(lambda client: client.describe(wf_id, run_id), database_url, schema)
    if as_json:
        print_json(_fields(info))
        return
    shown = {
        name.replace("_", " "): _in_words(value)
        for name, value in _fields(info).items()
        if value is not None and value is not False
    }
    width = max(map(len, shown))
    for name, text in shown.items():
        print_text(f"{name:<{width}}  {text}")


def list_(
    wf_type: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only of this status; may be given several times.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only started since: 30s, 15m, 2h, 7d ago, or a time as 2024-05-01T12:00Z."
        ),
    ] = None,
    id_prefix: Annotated[
        str | None, typer.Option(help="Only those whose workflow id begins so.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many, up to 1000.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="Where to go on: as the page before said.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """List runs, newest first."""
    start = _since(since)
    page = ask(
        lambda client: client.list_workflows(wf_type, status, start, id_prefix, limit, cursor),
        database_url,
        schema,
    )
    if as_json:
        left_out = {"input", "result", "error"}
        runs = [
            {name: value for name, value in _fields(info).items() if name not in left_out}
            for info in page
        ]
        print_json({"runs": runs, "next_cursor": page.next_cursor})
        return
    _print_table(page)


def _print_table(page: RunPage) -> None:
    rows = [("WORKFLOW ID", "TYPE", "STATUS", "STEP", "STARTED", "TOOK")]
    rows += [
        (
            printable(info.wf_id),
            printable(info.wf_type),
            info.status.value,
            printable(info.step_name or "-"),
            f"{info.created_at:%Y-%m-%d %H:%M:%S}",
            _took(info),
        )
        for info in page
    ]
    print_table(rows)
    if page.next_cursor is not None:
        print(f"more: --cursor {page.next_cursor}", file=sys.stderr)


def _took(info: RunInfo) -> str:
    if info.ended_at is None:
        return "-"
    return duration((info.ended_at - info.created_at) // timedelta(milliseconds=1))


def _fields(info: RunInfo) -> dict[str, Any]:
    from dataclasses import fields

    from grctl.models.messages import shown

    return {field.name: shown(getattr(info, field.name)) for field in fields(info)}


def _in_words(value: Any) -> str:
    import json

    if isinstance(value, dict) and value.keys() >= {"type", "message", "stack_trace"}:
        text = f"{value['type']}: {value['message']}" if value["message"] else value["type"]
        return printable(text)
    if isinstance(value, str):
        return printable(value)
    return printable(json.dumps(value, ensure_ascii=False))


def _since(text: str | None) -> datetime | None:
    """A time, or how long ago. A time without a zone is UTC, as all that is shown."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d+)([smhd])", text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        fail(ExitCode.USAGE, f"--since takes 30s, 15m, 2h, 7d or a time in ISO 8601, not {text!r}")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
