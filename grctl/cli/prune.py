"""`grctl prune`: ended runs that nobody needs any more."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from grctl.cli.exits import ExitCode
from grctl.cli.session import AsJson, DatabaseUrl, Schema, ask, fail, print_json, print_text
from grctl.counts import counted

if TYPE_CHECKING:
    from grctl.client import Client
    from grctl.models.retention import Policy, Pruned

PRUNE_EPILOG = """Examples:

\b
  grctl prune --older-than 30d --status completed --dry-run
  grctl prune --older-than 30d --status completed --status continued
  grctl prune --older-than 1d --status failed --type import --batch 100

A run is deleted with its history, store, inbox and answers. It stays while a child of it is open,
or while its parent is in the step that started it. Small transactions, with pauses; may be
interrupted and repeated. Workers do it by themselves where GRCTL_RETENTION says so;
`grctl export --delete` keeps a copy."""

OlderThan = Annotated[
    str, typer.Option("--older-than", help="Over for so long: 90s, 15m, 12h, 30d, 8w.")
]
Statuses = Annotated[
    list[str], typer.Option("--status", help="Of this status; may be given several times.")
]
Type = Annotated[str | None, typer.Option("--type", help="Only of this type.")]


def prune(
    older_than: OlderThan,
    status: Statuses,
    wf_type: Type = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count them, and delete nothing.")
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, max=100_000, help="Runs of one transaction, at most.")
    ] = 500,
    pause: Annotated[
        float,
        typer.Option(
            min=0.0, max=100.0, help="Rest after each batch, in times of what the batch took."
        ),
    ] = 1.0,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Delete runs that ended long ago, in small batches. Prints how many rows of what."""
    policy = policy_of(older_than, status, wf_type)

    async def work(client: Client) -> Pruned:
        return await (
            _counted(client, policy) if dry_run else _pruned(client, policy, batch, pause)
        )

    done = ask(work, database_url, schema)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(done)})
        return
    what = "to be deleted" if dry_run else "deleted"
    print_text(f"{what}: {described(done)}")


def policy_of(older_than: str, statuses: list[str], wf_type: str | None) -> Policy:
    """The policy that the options say; anything else is wrong usage."""
    from grctl.ages import parse_age
    from grctl.models.retention import Policy
    from grctl.models.run import RunStatus

    try:
        age = parse_age(older_than)
        return Policy({RunStatus(each): age for each in statuses}, wf_type)
    except ValueError as error:
        fail(ExitCode.USAGE, str(error))


def described(done: Pruned) -> str:
    """The counts, those of other tables than runs and events only where there are any."""
    told = {name: n for name, n in asdict(done).items() if n or name in ("runs", "events")}
    return ", ".join(counted(n, name.removesuffix("s"), name) for name, n in told.items())


async def _counted(client: Client, policy: Policy) -> Pruned:
    from grctl.models.retention import Pruned
    from grctl.postgres.retention import FIRST, choose

    total, after, is_last = Pruned(), FIRST, False
    while not is_last:
        chosen = await choose(client.database, policy, after, 100_000)
        total += Pruned(runs=len(chosen.runs), events=chosen.events)
        after, is_last = chosen.next, chosen.is_last
    return total


async def _pruned(client: Client, policy: Policy, batch: int, pause: float) -> Pruned:
    from grctl.models.retention import Pruned
    from grctl.postgres.retention import prune as batches

    total = Pruned()
    try:
        async for deleted, _ in batches(client.database, policy, most=batch, pause=pause):
            total += deleted
            if sys.stderr.isatty():
                print(f"\r{counted(total.runs, 'run')}", end="", file=sys.stderr, flush=True)
    finally:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        if sys.exc_info()[0] is not None:
            print(f"interrupted; deleted so far: {described(total)}", file=sys.stderr)
    return total
