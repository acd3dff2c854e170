"""The stored history of a run: its rows and its own row, of one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from asyncpg.transaction import Transaction

from grctl.engine.history import RunRecord
from grctl.engine.rows import Row
from grctl.models.run import RunStatus
from grctl.postgres.database import Database

__all__ = ["read_history"]

PAGE_ROWS = 5_000
"""Rows fetched at a time: bounds a statement's answer, not a history."""


async def read_history(
    database: Database, wf_id: str, run_id: UUID | None = None
) -> tuple[RunRecord, list[Row]] | None:
    """The run (default: the id's latest) and its rows in order; None if there is no such run.

    Both are of one moment: a step that ends meanwhile is in both or in neither.
    """
    run_sql, page_sql = database.sql("history", "run"), database.sql("history", "page")

    async def read(connection: Any) -> tuple[RunRecord, list[Row]] | None:
        async with _snapshot(connection):
            found = await connection.fetchrow(run_sql, wf_id, run_id)
            if found is None:
                return None
            rows: list[Row] = []
            while True:
                last = rows[-1].seq if rows else 0
                page = await connection.fetch(page_sql, found["run_id"], last, PAGE_ROWS)
                rows += (Row(**dict(row)) for row in page)
                if len(page) < PAGE_ROWS:
                    return _record(found), rows

    return await database.ask(read)


def _snapshot(connection: Any) -> Transaction:
    transaction: Transaction = connection.transaction(isolation="repeatable_read", readonly=True)
    return transaction


def _record(row: Mapping[str, Any]) -> RunRecord:
    return RunRecord(**{**row, "status": RunStatus(row["status"])})
