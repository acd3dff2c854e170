"""Searches for runs that cost the same however many there are: each looks at a bounded number.

Runs have no index by type, status or text: it would be paid for by every run. A search goes through
the runs from the newest on, and stops after so many; what it gives says how far it came, so that
whoever asks can go on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ColumnElement,
    Select,
    SelectBase,
    Table,
    Text,
    and_,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)

from grctl.ids import first_run_id
from grctl.models.run import RunStatus
from grctl.postgres.database import Database
from grctl.postgres.tables import runs_table
from grctl.postgres.views import CLOCK_SLACK, fetch

__all__ = ["Found", "RunSearch", "search", "statement"]

LOOKED = 20_000
"""Runs that one search looks at, at most."""
LOOKED_TEXT = 2_000
"""The same where their texts are read."""
LOOKED_FIRST = 1_000
"""So many first: most pages are full by then."""

_SHOWN = (
    "run_id", "wf_id", "wf_type", "status", "created_at", "started_at", "ended_at", "wake_at",
    "step_no", "step_name", "step_attempt",
)  # fmt: skip
_TEXTS = ("input", "result", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSearch:
    """What is looked for; what is None does not count. Times are of a run's creation.

    ``text`` is looked for in workflow id, input, result and error, whatever the case. ``before``:
    only runs older than this one.
    """

    wf_type: str | None = None
    statuses: Sequence[RunStatus] | None = None
    since: datetime | None = None
    until: datetime | None = None
    wf_id: str | None = None
    id_prefix: str | None = None
    text: str | None = None
    before: UUID | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Runs that were found, newest first; ``rest`` is where to go on, None if that was all.

    ``looked_back_to`` is the time of the oldest run that was looked at, where the search stopped
    before it had found a page: there may be more.
    """

    runs: Sequence[asyncpg.Record]
    rest: UUID | None = None
    looked_back_to: datetime | None = None


async def search(database: Database, wanted: RunSearch, limit: int) -> Found:
    """At most ``limit`` runs."""
    if wanted.wf_id is not None:
        wanted = replace(wanted, text=None, id_prefix=None)
    looked = LOOKED if wanted.text is None else LOOKED_TEXT
    source = _source(wanted)
    first = "scan" if source == "open" else source
    found = await _look(database, wanted, limit, LOOKED_FIRST, first)
    if found.looked_back_to is not None:
        found = await _look(database, wanted, limit, looked, source)
    return found


async def _look(
    database: Database, wanted: RunSearch, limit: int, looked: int, source: str
) -> Found:
    """What is found among so many runs."""
    rows = await fetch(database, statement(database.schema, wanted, limit + 1, looked, source))
    first = rows[0]
    if source == "open" and first["looked"] > looked:
        # More than can be put in order: the newest of all runs instead.
        return await _look(database, wanted, limit, looked, "scan")
    runs = [row for row in rows if row["run_id"] is not None]
    if len(runs) > limit:
        return Found(runs[:limit], runs[limit - 1]["run_id"])
    if first["looked"] < looked or first["reached"] is None:
        return Found(runs)
    reached = UUID(first["reached"])
    return Found(runs, reached, _time_of(reached))


def statement(
    schema: str, wanted: RunSearch, limit: int, looked: int, source: str | None = None
) -> Select[Any]:
    """The search as one statement: some runs in order, and those among them that are wanted."""
    source = source or _source(wanted)
    # Materialized: else the planner may look for what is wanted among all runs first.
    some = _looked_at(runs_table(schema), wanted, looked, source).cte("looked")
    some = some.prefix_with("materialized", dialect="postgresql")
    reached = null() if source == "open" else func.min(cast(some.c.run_id, Text))
    counted = select(func.count().label("looked"), reached.label("reached"))
    count = counted.select_from(some).subquery("c")
    found = (
        select(*(some.c[name] for name in _SHOWN))
        .where(*_bounds(some.c, wanted), *_filters(some.c, wanted))
        .order_by(some.c.run_id.desc())
        .limit(limit)
        .subquery("m")
    )
    return select(count, found).select_from(count.outerjoin(found, true()))


def _looked_at(runs: Table, wanted: RunSearch, looked: int, source: str) -> SelectBase:
    """The runs that are looked at, by the index that ``source`` names."""
    names = _SHOWN if wanted.text is None else (*_SHOWN, *_TEXTS)
    c = runs.c
    some = select(*(c[name] for name in names))
    if source == "open":
        # Each condition is that of an index; what has a time, an owner or neither is all there is.
        parked = and_(c.wake_at.is_(None), c.owner.is_(None), c.ended_at.is_(None))
        kinds = (c.wake_at.is_not(None), c.owner.is_not(None), parked)
        return union_all(
            *(some.where(kind).limit(looked + 1).subquery().select() for kind in kinds)
        )
    some = some.where(*_bounds(c, wanted)).order_by(c.run_id.desc()).limit(looked)
    if source == "failed":
        # Word for word the index's condition: by a parameter PostgreSQL would not know it again.
        some = some.where(or_(c.error.is_not(None), c.status == literal_column("'timed_out'")))
    if source == "id":
        some = some.where(c.wf_id == wanted.wf_id)
    return some


def _source(wanted: RunSearch) -> str:
    """By which index the runs come that are looked at."""
    if wanted.wf_id is not None:
        return "id"
    if wanted.statuses and set(wanted.statuses) <= {RunStatus.FAILED, RunStatus.TIMED_OUT}:
        return "failed"
    return "open" if _are_open(wanted) else "scan"


def _are_open(wanted: RunSearch) -> bool:
    return (
        bool(wanted.statuses)
        and wanted.wf_id is None
        and all(status.is_open for status in wanted.statuses or ())
    )


def _bounds(columns: Any, wanted: RunSearch) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if wanted.before is not None:
        bounds.append(columns.run_id < wanted.before)
    if wanted.until is not None:
        bounds.append(columns.run_id < first_run_id(wanted.until, CLOCK_SLACK))
    if wanted.since is not None:
        bounds.append(columns.run_id >= first_run_id(wanted.since, -CLOCK_SLACK))
    return bounds


def _filters(columns: Any, wanted: RunSearch) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if wanted.wf_type is not None:
        filters.append(columns.wf_type == wanted.wf_type)
    if wanted.statuses:
        filters.append(columns.status.in_([status.value for status in wanted.statuses]))
    if wanted.since is not None:
        filters.append(columns.created_at >= wanted.since)
    if wanted.until is not None:
        filters.append(columns.created_at < wanted.until)
    if wanted.id_prefix is not None:
        filters.append(columns.wf_id.startswith(wanted.id_prefix, autoescape=True))
    if wanted.text is not None:
        texts = (columns.wf_id, *(cast(columns[name], Text) for name in _TEXTS))
        sought = func.lower(wanted.text)
        filters.append(or_(*(func.strpos(func.lower(text), sought) > 0 for text in texts)))
    return filters


def _time_of(run_id: UUID) -> datetime:
    """When a run was made, as its id has it."""
    return datetime.fromtimestamp((run_id.int >> 80) / 1000, UTC)
