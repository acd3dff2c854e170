"""Follow a run: its history's events as they come, until it has ended.

The start of a task is known from its outcome on, and is then told at its place, before events that
were seen already. So what was given is remembered, event by event, and the rest is what is new.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import TYPE_CHECKING, Final

from grctl.errors import GrctlError
from grctl.models.history import HistoryEvent

if TYPE_CHECKING:
    from uuid import UUID

    from grctl.client import Client

__all__ = ["Follower", "follow"]

LOOK_SECONDS: Final = 0.3
"""How often is looked whether there is anything new; the look is a row by its key."""


class Follower:
    """Tells the events of a growing history that it has not told yet."""

    def __init__(self) -> None:
        self._told: Counter[Hashable] = Counter()

    def new(self, events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
        """What ``events``, the run's whole history so far, has more than the last time."""
        found: Counter[Hashable] = Counter()
        new = []
        for event in events:
            identity = _identity(event)
            found[identity] += 1
            if found[identity] > self._told[identity]:
                self._told[identity] += 1
                new.append(event)
        return new


def _identity(event: HistoryEvent) -> Hashable:
    """The same in every reading, other than seq and times; events of one are told in order."""
    return (
        event.kind,
        event.step_name,
        event.operation_id,
        getattr(event.msg, "task_id", None),
        getattr(event.msg, "attempt", None),
    )


async def follow(
    client: Client, wf_id: str, run_id: UUID | None = None
) -> AsyncIterator[list[HistoryEvent]]:
    """New events, some at a time, until the run has ended. WorkflowNotFoundError if there is none.

    Stays with one run, also if it continues as new.
    """
    run_id = (await client.describe(wf_id, run_id)).id
    follower, mark, is_open = Follower(), None, True
    while is_open:
        rows = await client.database.fetch("history", "mark", run_id)
        if not rows:
            raise GrctlError(f"run {run_id} of workflow {wf_id!r} is no longer there")
        if rows[0] == mark:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        mark = rows[0]
        # Read before the history: whatever ends the run is in it.
        is_open = (await client.describe(wf_id, run_id)).status.is_open
        if new := follower.new(await client.get_history(wf_id, run_id)):
            yield new
