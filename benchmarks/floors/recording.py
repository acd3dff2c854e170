"""What grctl's client and worker really send for a batch of runs, made into a pgbench script.

A batch of N runs of three tasks is started by one statement, which makes them the worker's, and
recorded by a call of `commit_batch` for each task and one for the step's end. These calls are
caught on their way to asyncpg. In the script they are the same statements, with the same arguments
but for the ids of the runs: those are new in every transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from grctl import Client, Worker
from grctl.postgres.database import Database

PREFIX = "recorded"
TASKS = 3
# A new id, ordered in time as ours are.
_NEW_ID = (
    "(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')"
    " || substr(replace(gen_random_uuid()::text, '-', ''), 13))::uuid"
)


class RecordingError(Exception):
    """What was sent is not of the form that the script can repeat."""


@dataclass(frozen=True)
class Call:
    """One statement on its way, with its arguments and their types."""

    name: str
    sql: str
    arguments: tuple[Any, ...]
    types: tuple[str, ...]


async def recorded_script(client: Client, worker: Worker, runs: int) -> str:
    """The pgbench script for batches of so many runs. The worker must be idle and fresh.

    Raises:
        RecordingError: the worker did not do all of them in one batch.
    """
    database = client.database
    names = {
        database.sql(file, name): name for file, name in (("runs", "start"), ("journal", "commit"))
    }
    with _calls_to(names) as calls:
        handles = await asyncio.gather(
            *(
                client.start_workflow("bench.tasks", f"{PREFIX}-{number}", {"count": TASKS})
                for number in range(runs)
            )
        )
        await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
    ids = [handle.run_id for handle in handles]
    recorded = [call for call in await _typed(database, names, calls) if _is_of(call, ids)]
    return "\n".join(_lines(recorded, ids))


@contextmanager
def _calls_to(names: Mapping[str, str]) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """What is fetched by these statements meanwhile."""
    calls: list[tuple[str, tuple[Any, ...]]] = []
    original = asyncpg.Connection.fetch

    async def fetch(self: Any, query: str, *args: Any, **options: Any) -> Any:
        if query in names:
            calls.append((query, args))
        return await original(self, query, *args, **options)

    setattr(asyncpg.Connection, "fetch", fetch)  # noqa: B010 - a method cannot be assigned to
    try:
        yield calls
    finally:
        setattr(asyncpg.Connection, "fetch", original)  # noqa: B010 - see above


async def _typed(
    database: Database,
    names: Mapping[str, str],
    calls: Sequence[tuple[str, tuple[Any, ...]]],
) -> list[Call]:
    async with database.pool.acquire() as connection:
        types = {}
        for sql in names:
            parameters = (await connection.prepare(sql)).get_parameters()
            types[sql] = tuple(_type_name(each) for each in parameters)
    return [Call(names[sql], sql, arguments, types[sql]) for sql, arguments in calls]


def _type_name(found: asyncpg.Type) -> str:
    name = found.name.removeprefix("_").removesuffix("[]") + "[]" * (found.kind == "array")
    return f"{found.schema}.{name}" if found.schema != "pg_catalog" else name


def _is_of(call: Call, ids: Sequence[UUID]) -> bool:
    """Whether it is about the batch: others may run beside it."""
    return str(ids[0]) in repr(call.arguments)


def _lines(calls: Sequence[Call], ids: Sequence[UUID]) -> Iterator[str]:
    starts = [call for call in calls if call.name == "start"]
    commits = [call for call in calls if call.name == "commit"]
    if len(starts) != 1 or len(commits) != TASKS + 1:
        raise RecordingError(
            f"expected one start and {TASKS + 1} commits for {len(ids)} runs, found "
            f"{len(starts)} and {len(commits)}"
        )
    yield f"-- One transaction of pgbench is {len(ids)} runs of {TASKS} tasks: made by recording.py"
    yield (f"select array_agg({_NEW_ID})::text as runs from generate_series(1, {len(ids)}) \\gset")
    yield f"{_inline(starts[0], ids, {1: ':worker'})};"
    for commit in commits:
        yield "\\set batch :batch + 1"
        given = {0: ":worker", 1: ":client_id", 2: ":batch"}
        yield f"{_inline(commit, ids, given)};"


def _inline(call: Call, ids: Sequence[UUID], given: Mapping[int, str]) -> str:
    """The statement with its arguments in it."""
    sql = " ".join(
        line
        for line in call.sql.splitlines()
        if line.strip() and not line.lstrip().startswith("--")
    )
    for number in reversed(range(len(call.arguments))):
        kind = call.types[number]
        text = given.get(number) or _expression(call.arguments[number], kind, ids)
        sql = sql.replace(f"${number + 1}", f"({text})::{kind}")
    return sql


def _expression(value: Any, kind: str, ids: Sequence[UUID]) -> str:
    """SQL for an argument; a list about the runs is made from theirs."""
    if not isinstance(value, list):
        return _literal(value, None)
    if not value:
        return "'{}'"
    base = kind.removesuffix("[]")
    if not any(_mentions(each, ids) for each in value):
        return f"array[{', '.join(_literal(each, None) for each in value)}]"
    if len(value) != len(ids):
        raise RecordingError(f"{len(value)} elements of {kind} for {len(ids)} runs")
    element = _literal(value[0], ids)
    return f"array(select {element}::{base} from unnest(:runs::uuid[]) as run)"


def _mentions(value: Any, ids: Sequence[UUID]) -> bool:
    if isinstance(value, tuple):
        return any(_mentions(each, ids) for each in value)
    return value in set(ids) or (isinstance(value, str) and value.startswith(f"{PREFIX}-"))


def _literal(value: Any, ids: Sequence[UUID] | None) -> str:  # noqa: PLR0911 - one a type
    """A value as SQL; a run's id is the column `run`, and its workflow id made from it."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, tuple):
        return f"row({', '.join(_literal(each, ids) for each in value)})"
    if isinstance(value, UUID):
        return "run" if ids and value in set(ids) else f"'{value}'"
    if ids and isinstance(value, str) and value.startswith(f"{PREFIX}-"):
        return "'pgbench-' || run::text"
    text = str(value).replace("'", "''")
    if ":" in text:
        # pgbench would take what follows for a variable.
        return " || chr(58) || ".join(f"'{part}'" for part in text.split(":"))
    return f"'{text}'"
