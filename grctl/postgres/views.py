"""Reads for people: lists of runs by filters, newest first, page by page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Select, and_, func, select
from sqlalchemy.dialects.postgresql import asyncpg as postgresql

from grctl.ids import first_run_id
from grctl.models.run import RunStatus
from grctl.postgres.database import Database
from grctl.postgres.tables import metadata_for, runs_table, workers_table

__all__ = ["RunFilter", "fetch", "list_runs"]

CLOCK_SLACK = timedelta(days=1)
"""By how much the clock of whoever made a run id may differ from the database's, for a run to be
found by the time of its creation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs; what is None does not count. ``since`` is a time of the database's clock."""

    wf_type: str | None = None
    statuses: Collection[RunStatus] | None = None
    since: datetime | None = None
    id_prefix: str | None = None
    before: UUID | None = None
    """Only runs older than this one: where the next page begins."""


async def list_runs(database: Database, wanted: RunFilter, limit: int) -> list[asyncpg.Record]:
    """Rows as ``runs.describe`` has them, without input, result and error; newest first."""
    return await fetch(database, _runs(database.schema, wanted).limit(limit))


async def fetch(database: Database, statement: Select[Any]) -> list[asyncpg.Record]:
    """Run a built statement on the pool; values travel as parameters, never in its text."""
    compiled = statement.compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]  # SQLAlchemy's own
        compile_kwargs={"render_postcompile": True},
    )
    arguments = [compiled.params[name] for name in compiled.positiontup or ()]
    return await database.ask(lambda connection: connection.fetch(str(compiled), *arguments))


def _runs(schema: str, wanted: RunFilter) -> Select[Any]:
    runs, workers = runs_table(schema), workers_table(schema)
    types = metadata_for(schema).tables[f"{schema}.workflow_types"]
    parents = runs.alias("parents")
    left_out = {"input", "result", "error"}
    statement = (
        select(
            *(column for column in runs.c if column.name not in left_out),
            workers.c.worker_id,
            parents.c.wf_id.label("parent_wf_id"),
            parents.c.wf_type.label("parent_wf_type"),
            func.coalesce(runs.c.step_name, types.c.start_step).label("current_step"),
        )
        .select_from(
            runs.outerjoin(workers, workers.c.worker_no == runs.c.owner)
            .outerjoin(parents, parents.c.run_id == runs.c.parent_run_id)
            .outerjoin(types, and_(types.c.wf_type == runs.c.wf_type, runs.c.step_no == 1))
        )
        # Run ids are ordered in time, and the primary key is at hand for it.
        .order_by(runs.c.run_id.desc())
    )
    if wanted.wf_type is not None:
        statement = statement.where(runs.c.wf_type == wanted.wf_type)
    if wanted.statuses is not None:
        statuses = [status.value for status in wanted.statuses]
        statement = statement.where(runs.c.status.in_(statuses))
    if wanted.since is not None:
        first = first_run_id(wanted.since, -CLOCK_SLACK)
        statement = statement.where(runs.c.created_at >= wanted.since, runs.c.run_id >= first)
    if wanted.id_prefix is not None:
        statement = statement.where(runs.c.wf_id.startswith(wanted.id_prefix, autoescape=True))
    if wanted.before is not None:
        statement = statement.where(runs.c.run_id < wanted.before)
    return statement
