"""How the runs of the golden histories are driven: one function a file, named as it.

Each starts a run of the workflow id ``g``, does to it what the file is about, waits for its end,
and gives the id of the run whose history is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from grctl.client import Client, WorkflowHandle
from grctl.models.errors import WorkflowError
from tests.features.looking import has_status
from tests.histories.programs import TYPE, Outside
from tests.support import Database, wait_until

ID = "g"
Story = Callable[["Stage"], Awaitable[UUID]]
STORIES: dict[str, Story] = {}


@dataclass
class Stage:
    """What a story has: a client, the database, and the gates at which tasks stand."""

    client: Client
    database: Database
    outside: Outside

    async def start(self, how: str, *, timeout: timedelta | None = None, **input: Any) -> Any:
        inputs = {"how": how, **input}
        return await self.client.start_workflow(TYPE, ID, inputs, timeout=timeout)

    async def waiting(self, wf_id: str = ID) -> None:
        await has_status(self.database, wf_id, "waiting")

    async def working(self) -> None:
        """A task stands at its gate."""
        await wait_until(lambda: self.outside.performed["stand_at"], "it works")

    async def recorded(self, kind: str) -> None:
        async def is_there() -> Any:
            sql = "select count(*) from grctl.events where kind = $1"
            return await self.database.fetchval(sql, kind)

        await wait_until(is_there, f"{kind} is recorded")


async def ended(handle: WorkflowHandle) -> UUID:
    """The run, when it has ended in whatever way."""
    with contextlib.suppress(WorkflowError, TimeoutError, asyncio.CancelledError):
        await handle.result(timeout=20)
    assert not (await handle._client.describe(handle.workflow_id, handle.run_id)).status.is_open
    return handle.run_id


def story(fn: Story) -> Story:
    STORIES[fn.__name__] = fn
    return fn


def _of_itself(how: str) -> Story:
    async def drive(stage: Stage) -> UUID:
        return await ended(await stage.start(how))

    return drive


for _how in (
    "one_task", "task_retried", "gathered", "task_cancelled", "step_failed", "failed_by_choice",
    "step_timed_out", "step_retried", "step_delayed", "recorded_values", "wait_timed_out",
    "wait_timed_out_for_good", "child_awaited", "refused",
):  # fmt: skip
    STORIES[_how] = _of_itself(_how)


@story
async def run_timed_out(stage: Stage) -> UUID:
    return await ended(await stage.start("run_timed_out", timeout=timedelta(milliseconds=500)))


@story
async def run_retried(stage: Stage) -> UUID:
    handle = await stage.start("run_retried")
    await ended(handle)
    await handle.retry()
    return await ended(handle)


@story
async def event_after_wait(stage: Stage) -> UUID:
    handle = await stage.start("waits")
    await stage.waiting()
    await handle.send("put", {"item": "bøok"})
    await wait_until(lambda: _has_item(handle), "it was put")
    await stage.waiting()
    await handle.send("finish")
    return await ended(handle)


async def _has_item(handle: WorkflowHandle) -> bool:
    events = await handle._client.get_history(handle.workflow_id)
    return sum(event.kind == "wait.started" for event in events) == 2


@story
async def event_before_wait(stage: Stage) -> UUID:
    handle = await stage.start("works_first")
    await stage.working()
    await handle.send("put", {"item": "early"})
    await handle.send("finish")
    stage.outside.gate("work").set()
    return await ended(handle)


@story
async def cancelled_waiting(stage: Stage) -> UUID:
    handle = await stage.start("waits")
    await stage.waiting()
    await handle.cancel("enough")
    return await ended(handle)


@story
async def cancelled_working(stage: Stage) -> UUID:
    handle = await stage.start("work_cancelled")
    await stage.working()
    await handle.cancel("enough")
    await stage.recorded("run.cancel_received")
    stage.outside.gate("work").set()
    return await ended(handle)


@story
async def cancelled_sleeping(stage: Stage) -> UUID:
    handle = await stage.start("sleep_cancelled")
    await stage.recorded("sleep.recorded")
    await handle.cancel()
    return await ended(handle)


@story
async def terminated_waiting(stage: Stage) -> UUID:
    handle = await stage.start("waits")
    await stage.waiting()
    await handle.terminate("enough")
    return await ended(handle)


@story
async def terminated_working(stage: Stage) -> UUID:
    handle = await stage.start("waits")
    await stage.waiting()
    await handle.send("hang")
    await stage.working()
    await handle.terminate()
    return await ended(handle)


@story
async def updated(stage: Stage) -> UUID:
    handle = await stage.start("waits", left=3)
    await stage.waiting()
    assert await handle.update("count", 4, timeout=20) == 7
    await stage.waiting()
    await handle.send("finish")
    return await ended(handle)


@story
async def child_handled(stage: Stage) -> UUID:
    handle = await stage.start("child_handled")
    await stage.waiting()
    await stage.working()
    child = await stage.client.get_workflow_handle(f"{ID}/child")
    stage.outside.gate("work").set()
    await stage.waiting(child.workflow_id)
    await child.send("finish")
    return await ended(handle)


@story
async def parent_told(stage: Stage) -> UUID:
    """The child's history."""
    handle = await stage.start("parent_told")
    child = await wait_until(lambda: _found(stage, f"{ID}/child"), "the child is there")
    await ended(child)
    await handle.terminate()
    return child.run_id


@story
async def parent_lost(stage: Stage) -> UUID:
    """The child's history, whose parent has ended."""
    await ended(await stage.start("parent_lost"))
    await stage.working()
    stage.outside.gate("work").set()
    return await ended(await stage.client.get_workflow_handle(f"{ID}/child"))


@story
async def event_unhandled(stage: Stage) -> UUID:
    """An event that an older version of the workflow had."""
    handle = await stage.start("waits")
    await stage.waiting()
    await stage.database.execute(
        "update grctl.workflow_types set event_names = event_names || array['older']"
    )
    await handle.send("older", [1])
    await stage.recorded("event.unhandled")
    await handle.send("finish")
    return await ended(handle)


async def _found(stage: Stage, wf_id: str) -> Any:
    runs = await stage.client.list_workflows(id_prefix=wf_id)
    return await stage.client.get_workflow_handle(wf_id) if runs else None


@story
async def other_told(stage: Stage) -> UUID:
    await stage.client.start_workflow(TYPE, f"{ID}/other", {"how": "waits"})
    return await ended(await stage.start("tells_other"))


@story
async def continued(stage: Stage) -> UUID:
    """The first run of two."""
    handle = await stage.start("continued", left=1)
    return await ended(handle)
