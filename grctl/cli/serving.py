"""`grctl types` and `grctl workers`: what can be run, and who runs it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grctl.cli.session import AsJson, DatabaseUrl, Schema, ask, print_json
from grctl.cli.words import print_table, printable

if TYPE_CHECKING:
    from grctl.client import Client

TYPES_EPILOG = """Examples:

\b
  grctl types
  grctl types --json | jq '.[] | select(.workers == 0) | .type'

A type is known once a worker has registered it, and stays known: WORKERS says how many serve it
now. Names that a newer version of the code has dropped stay, too."""

WORKERS_EPILOG = """Examples:

\b
  grctl workers
  grctl workers --all --json | jq '.[] | select(.state == "lost")'

up: its lease is valid. late: its lease is over, and nobody has taken over its runs yet. stopped: it
ended in good order. lost: its runs were taken over by others. Those that ended more than an hour
ago are shown with --all, 1,000 at most in all."""


def types(as_json: AsJson = False, database_url: DatabaseUrl = None, schema: Schema = None) -> None:
    """List the workflow types that workers have registered, with the names of their handlers."""

    async def known(client: Client) -> list[dict[str, Any]]:
        return [dict(row) for row in await client.database.fetch("types", "list")]

    found = ask(known, database_url, schema)
    if as_json:
        print_json([_plain(row) for row in found])
        return
    rows: list[tuple[str, ...]] = [
        ("TYPE", "WORKERS", "START", "STEPS", "EVENTS", "QUERIES", "UPDATES")
    ]
    rows += [
        (
            printable(row["type"]),
            str(row["workers"]),
            printable(row["start"]),
            *(_names(row[name]) for name in ("steps", "events", "queries", "updates")),
        )
        for row in found
    ]
    print_table(rows)


def workers(
    show_all: Annotated[
        bool, typer.Option("--all", help="Those, too, that ended more than an hour ago.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """List the workers that are up, and those that ended lately; newest first."""

    async def registered(client: Client) -> list[dict[str, Any]]:
        return [dict(row) for row in await client.database.fetch("leases", "list", show_all)]

    found = ask(registered, database_url, schema)
    if as_json:
        print_json([_plain(row) for row in found])
        return
    rows = [("WORKER", "STATE", "RUNS", "LEASE", "SINCE", "ENDED", "TYPES")]
    rows += [
        (
            printable(row["worker_id"]),
            row["state"],
            f"{row['runs']} of {row['concurrency']}",
            f"{row['lease_left']:.0f} of {row['lease_seconds']:g} s" if _is_open(row) else "-",
            _moment(row["started_at"]),
            _moment(row["ended_at"]),
            _names(row["types"]),
        )
        for row in found
    ]
    print_table(rows)
    if not any(row["state"] == "up" for row in found):
        print("no worker is up: start one with `grctl worker MODULE`", file=sys.stderr)


def _is_open(row: Mapping[str, Any]) -> bool:
    return row["ended_at"] is None


def _names(names: list[str]) -> str:
    return printable(", ".join(names)) or "-"


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for JSON: times become text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }
