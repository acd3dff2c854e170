"""Asking a worker what it does in a run that it holds."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID, uuid4

from grctl.models.activity import Activity
from grctl.postgres.database import Database

__all__ = ["ANSWER_SECONDS", "ask"]

ANSWER_SECONDS: Final = 3.0
"""Longer than a worker's poll (two seconds): it may not hear notifications."""
LOOK_SECONDS: Final = 0.05


async def ask(database: Database, run_id: UUID, wf_type: str, worker_no: int) -> Activity | None:
    """What that worker does in the run; None if it does not say so within ``ANSWER_SECONDS``."""
    query_id = uuid4()
    await database.fetch("activity", "ask", query_id, run_id, wf_type, worker_no, ANSWER_SECONDS)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                for row in await database.fetch("queries", "read", query_id):
                    if row["query_id"] == query_id:
                        return Activity.from_json(row["answer"])
                # No LISTEN for one answer: who asks has no connection for it.
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        await database.fetch("queries", "forget", query_id)
        return None
