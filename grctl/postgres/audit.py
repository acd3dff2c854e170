"""The record of what people do to runs by the dashboard: who, what, and what came of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from grctl.log import get_logger
from grctl.postgres.database import Database

__all__ = ["Act", "audited"]

log = get_logger("grctl.audit")

LONGEST_OUTCOME = 500
LONGEST_DETAILS = 4_000


@dataclass(slots=True)
class Act:
    """Something that somebody does to a run. ``run_id`` of a start is set when it is known."""

    actor: str
    peer: str | None
    action: str
    wf_id: str
    run_id: UUID | None = None
    details: Mapping[str, Any] | None = None


@asynccontextmanager
async def audited(database: Database, act: Act) -> AsyncIterator[Act]:
    """Record an act before its body is done, and what came of it after.

    Two log lines, too: of one that is recorded and not closed, it is not known what came of it.
    """
    details = None if act.details is None else _short(act.details)
    number = await database.fetchval(
        "audit", "ask", act.actor, act.peer, act.action, act.run_id, act.wf_id, details
    )
    line = log.bind(
        audit_no=number, actor=act.actor, peer=act.peer, action=act.action, wf_id=act.wf_id
    )
    line.info("asked for", run_id=_text(act.run_id))
    try:
        yield act
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"[:LONGEST_OUTCOME]
        line.warning("refused", run_id=_text(act.run_id), error=outcome)
        await database.fetch("audit", "close", number, outcome, act.run_id)
        raise
    line.info("done", run_id=_text(act.run_id))
    await database.fetch("audit", "close", number, "done", act.run_id)


def _short(details: Mapping[str, Any]) -> str:
    """As JSON; what is too long is cut, as text."""
    text = json.dumps(details, ensure_ascii=False)
    if len(text) <= LONGEST_DETAILS:
        return text
    return json.dumps({"cut": text[:LONGEST_DETAILS]}, ensure_ascii=False)


def _text(run_id: UUID | None) -> str | None:
    return None if run_id is None else str(run_id)
