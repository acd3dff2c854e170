"""The facts of why a run does not move, all of one snapshot."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from grctl.engine import why
from grctl.engine.why_parked import MOST_COUNTED
from grctl.models.error_details import ErrorDetails
from grctl.models.run import RunStatus
from grctl.models.why import (
    Child,
    Ending,
    Explanation,
    Facts,
    Holder,
    Message,
    Operation,
    Server,
)
from grctl.postgres import activity
from grctl.postgres.database import Database

__all__ = ["explain", "read_facts"]

MOST_SHOWN = 20
"""Operations and children that are read; the others are counted."""


async def explain(
    database: Database, wf_id: str, run_id: UUID | None = None, *, ask: bool = False
) -> Explanation | None:
    """Why a run does not move: the id's latest, or the one named. None if there is none.

    With ``ask`` the worker that holds it, if one does, is asked what it does there. That takes some
    milliseconds, and ``activity.ANSWER_SECONDS`` if it does not answer.
    """
    facts = await read_facts(database, wf_id, run_id)
    if ask and facts is not None and facts.can_be_asked:
        facts = await _ask_holder(database, facts)
    return None if facts is None else why.explain(facts)


async def _ask_holder(database: Database, facts: Facts) -> Facts | None:
    assert facts.holder is not None
    try:
        told = await activity.ask(database, facts.run_id, facts.wf_type, facts.holder.worker_no)
    except (asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientPrivilegeError):
        return facts  # a question is a row: who may only read has what the tables tell
    if told is None or not told.is_held:
        # It may have moved on meanwhile, or its loop be known by now to stand still.
        later = await read_facts(database, facts.wf_id, facts.run_id)
        if later is None or not later.can_be_asked or later.epoch != facts.epoch:
            return later
        facts, told = later, None
    return replace(facts, was_asked=True, activity=told)


async def read_facts(database: Database, wf_id: str, run_id: UUID | None = None) -> Facts | None:
    """What the database knows of it now. Reads only, and takes no lock that anybody waits for."""
    async with (
        database.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        run = await connection.fetchrow(database.sql("why", "run"), wf_id, run_id, MOST_COUNTED + 1)
        if run is None:
            return None
        around: list[list[asyncpg.Record]] = [[], [], []]
        if run["ended_at"] is None:
            around = [
                await connection.fetch(database.sql("why", "servers"), run["wf_type"]),
                await connection.fetch(
                    database.sql("why", "operations"), run["run_id"], MOST_SHOWN
                ),
                await connection.fetch(database.sql("why", "children"), run["run_id"], MOST_SHOWN),
            ]
    return _facts(run, *around)


def _facts(
    run: asyncpg.Record,
    servers: list[asyncpg.Record],
    operations: list[asyncpg.Record],
    children: list[asyncpg.Record],
) -> Facts:
    error, error_step = _run_error(run["error"])
    live = [_server(row) for row in servers if row["is_live"]]
    gone = [_server(row) for row in servers if not row["is_live"]]
    return Facts(
        **{name: run[name] for name in _AS_STORED},
        status=RunStatus(run["status"]),
        event_names=tuple(run["event_names"]),
        update_names=tuple(run["update_names"]),
        error=error,
        error_step=error_step,
        holder=_holder(run),
        message=_message(run),
        ending=_ending(run),
        servers=tuple(live),
        last_server=gone[-1] if gone else None,
        operations_open=operations[0]["open"] if operations else 0,
        operations=tuple(map(_operation, operations)),
        children_open=children[0]["open"] if children else 0,
        children=tuple(map(_child, children)),
    )


_AS_STORED = (
    "now", "run_id", "wf_id", "wf_type", "cause", "step_name", "step_attempt", "epoch", "crashes",
    "created_at", "claimed_at", "wake_at", "wait_until", "wait_step", "deadline_at", "ended_at",
    "cancel_requested_at", "cancel_reason", "is_owned", "others_up", "ahead", "unread",
    "waits_since",
)  # fmt: skip


def _holder(run: asyncpg.Record) -> Holder | None:
    if run["holder_id"] is None:
        return None
    return Holder(
        worker_no=run["holder_no"],
        worker_id=run["holder_id"],
        lease_until=run["holder_lease_until"],
        stalled_since=run["holder_stalled_since"],
        stalled_in=tuple(run["holder_stalled_in"] or ()),
    )


def _message(run: asyncpg.Record) -> Message | None:
    if run["message_kind"] is None:
        return None
    return Message(kind=run["message_kind"], name=run["message_name"], sent_at=run["message_at"])


def _ending(run: asyncpg.Record) -> Ending | None:
    if run["ending_kind"] is None:
        return None
    return Ending(
        kind=run["ending_kind"],
        name=run["ending_name"],
        at=run["ending_at"],
        attempt=run["ending_attempt"],
        **_failure(run["ending_body"]),
    )


def _operation(row: asyncpg.Record) -> Operation:
    told = _failure(row["body"] if row["kind"] == "task.attempt_failed" else None)
    if row["kind"] == "sleep.recorded":
        told["delay_ms"] = int(row["input"])
    return Operation(
        kind=row["kind"],
        name=row["name"],
        at=row["at"],
        epoch=row["epoch"],
        attempt=row["attempt"],
        **told,
    )


def _failure(body: str | None) -> dict[str, Any]:
    """What the row of a failed attempt says beside its columns."""
    if body is None:
        return {}
    told = json.loads(body)
    return {
        "delay_ms": told.get("next_retry_delay_ms"),
        "max_attempts": told.get("max_attempts"),
        "error": ErrorDetails.from_dict(told["error"]),
    }


def _run_error(text: str | None) -> tuple[ErrorDetails | None, str | None]:
    """The column ``runs.error``: the details, and the step whose failure it is."""
    if text is None:
        return None, None
    stored = json.loads(text)
    if "step" in stored:
        return ErrorDetails.from_dict(stored["error"]), stored["step"]
    return ErrorDetails.from_dict(stored), None


def _server(row: asyncpg.Record) -> Server:
    return Server(
        worker_id=row["worker_id"],
        concurrency=row["concurrency"],
        held=row["held"],
        lease_until=row["lease_until"],
        ended_at=row["ended_at"],
        end_reason=row["end_reason"],
    )


def _child(row: asyncpg.Record) -> Child:
    return Child(
        wf_id=row["wf_id"],
        wf_type=row["wf_type"],
        status=RunStatus(row["status"]),
        step=row["step"],
        created_at=row["created_at"],
    )
