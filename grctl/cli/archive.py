"""`grctl export` and `grctl import`: ended runs in a file, and back in a database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grctl.cli.exits import ExitCode
from grctl.cli.printable import printable
from grctl.cli.prune import Type, described, policy_of
from grctl.cli.session import DatabaseUrl, Schema, ask, fail
from grctl.counts import counted

if TYPE_CHECKING:
    from grctl.client import Client
    from grctl.models.retention import Policy
    from grctl.postgres.archive_import import Import

EXPORT_EPILOG = """Examples:

\b
  grctl export runs.jsonl.gz
  grctl export failed.jsonl --status failed --older-than 7d
  grctl export 2026-11.jsonl.gz --older-than 30d --delete
  grctl export - --type order | zstd > orders.jsonl.zst

A line a row, as JSON, with the text of every value as it was recorded; compressed if the name ends
with .gz. Only ended runs. With --delete a run is deleted when its lines are on the disk, as by
`grctl prune`; so a file, not a pipe, is needed for it."""

IMPORT_EPILOG = """Examples:

\b
  grctl import runs.jsonl.gz
  zstdcat orders.jsonl.zst | grctl import -

May be repeated: a run that is there already is passed over. If it is there and ended otherwise, it
is left as it is and named, and the exit code is 1."""

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The archive; -: a pipe.", show_default=False)
]
_MOST_NAMED = 10


def export(
    file: File,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Over for so long: 90s, 15m, 12h, 30d, 8w.")
    ] = "0s",
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help="Of this status; may be given several times. Default: all."),
    ] = None,
    wf_type: Type = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete each run once it is on the disk.")
    ] = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Write ended runs with all their rows to a file, and delete them if asked to."""
    from grctl.ages import ENDED_STATUSES

    policy = policy_of(older_than, status or list(ENDED_STATUSES), wf_type)
    if delete and str(file) == "-":
        fail(ExitCode.USAGE, "--delete needs a file: nobody knows when a pipe is on the disk")
    try:
        said = ask(lambda client: write_archive(client, policy, file, delete), database_url, schema)
    except FileExistsError:
        fail(ExitCode.USAGE, f"{file} is there already: give another name")
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        fail(ExitCode.FAILURE, f"cannot write {file}: {error.strerror}")
    print(said, file=sys.stderr)


async def write_archive(client: Client, policy: Policy, path: Path, delete: bool) -> str:
    """Write the runs of ``policy`` to a new file; what was done, in words."""
    from grctl.cli.archive_file import ArchiveFile
    from grctl.models.retention import Pruned
    from grctl.postgres import archive, retention
    from grctl.postgres.migrations import current

    database = client.database
    file = ArchiveFile(path)
    try:
        async with database.pool.acquire() as connection:
            now = await connection.fetchval("select now()")
            revision = await current(connection, database.schema)
        file.write(archive.header(database, revision, now))
        runs, deleted = 0, Pruned()
        async for batch in archive.export(database, policy):
            async for line in batch.lines:
                file.write(line)
            file.secure()
            runs += len(batch.chosen.runs)
            if delete:
                deleted += await retention.delete(database, batch.chosen.runs, batch.chosen.ended)
        file.write(archive.trailer(runs))
    finally:
        file.close()
    said = f"{counted(runs, 'run')} written"
    return f"{said}; deleted: {described(deleted)}" if delete else said


def import_(file: File, database_url: DatabaseUrl = None, schema: Schema = None) -> None:
    """Put the runs of an archive into the database, as they were."""
    try:
        done = ask(lambda client: read_archive(client, file), database_url, schema)
    except OSError as error:
        if error.errno is None:
            raise
        fail(ExitCode.USAGE, f"cannot read {file}: {error.strerror or error}")
    were = "was" if done.known == 1 else "were"
    known = f"; {done.known} {were} there already" if done.known else ""
    print(f"{counted(done.runs, 'run')} imported{known}", file=sys.stderr)
    if not done.is_whole:
        print("the archive was cut off: its last line is missing", file=sys.stderr)
    for wf_id, run_id in done.refused[:_MOST_NAMED]:
        said = f"there already, and ended otherwise: {wf_id} (run {run_id})"
        print(printable(said), file=sys.stderr)
    if done.refused:
        refused = counted(len(done.refused), "run was", "runs were")
        fail(ExitCode.FAILURE, f"{refused} refused: see above")
    if not done.is_whole:
        raise typer.Exit(ExitCode.FAILURE)


async def read_archive(client: Client, path: Path) -> Import:
    """Put what is in a file into the database. ArchiveError names the line that is none."""
    from grctl.cli.archive_file import read_lines
    from grctl.errors import ArchiveError
    from grctl.postgres.archive_import import Import

    done = Import(client.database)
    number = 0
    with read_lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                await done.put(line)
            except ArchiveError as error:
                raise ArchiveError(f"{path}, line {number}: {error}") from error
    await done.finish()
    if not number:
        raise ArchiveError(f"{path} is empty")
    return done
