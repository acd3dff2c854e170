"""Runs that ended long ago: real ones under a shifted clock, and many that SQL makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.features.conftest import book, client, connection, serve
from tests.support import Database

__all__ = ["book", "client", "connection", "serve"]

Fill = Callable[..., Awaitable[None]]

TABLES = ("runs", "events", "store", "inbox", "answers", "closings")


@pytest.fixture
def fill(database: Database) -> Fill:
    """``await fill(100, days=40, status="completed", events=3)``: ended runs, each with events, a
    key of its store, a message and an answer.
    """

    async def insert(
        runs: int, *, days: float, status: str = "completed", events: int = 3, wf_type: str = "t"
    ) -> None:
        await database.execute(
            """
            with made as (
                insert into grctl.runs (
                    run_id, wf_id, wf_type, status, next_seq, created_at, started_at, ended_at)
                select
                    (lpad(to_hex((extract(epoch from at) * 1000)::bigint - $1 + n), 12, '0')
                        || '70008' || substr(md5(n::text || $3 || $5), 1, 15))::uuid,
                    $5 || ' ' || $3 || ' ' || $2 || ' ' || n, $5, $3, $4 + 1, at, at, at
                from generate_series(1, $1) as n
                cross join lateral (select now() - $2 * interval '1 day' as at) as a
                returning run_id, created_at
            ),
            e as (
                insert into grctl.events (
                    run_id, seq, step_no, step_attempt, kind, batch, epoch, at, body)
                select run_id, seq, 1, 1, 'task.completed', 1, 1, created_at, '{}'
                from made cross join generate_series(1, $4) as seq
            ),
            s as (insert into grctl.store select run_id, 'key', '1' from made),
            i as (
                insert into grctl.inbox (run_id, no, kind, name)
                select run_id, 1, 'event', 'x' from made
            )
            insert into grctl.answers (message_id, run_id)
            select gen_random_uuid(), run_id from made
            """,
            runs, days, status, events, wf_type,
        )  # fmt: skip

    return insert


async def counts(database: Database) -> dict[str, int]:
    """How many rows each table has."""
    return {
        table: await database.fetchval(f"select count(*) from grctl.{table}") for table in TABLES
    }
