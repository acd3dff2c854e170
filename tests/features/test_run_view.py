"""What a run knows of itself, and what is known of it from outside."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from grctl.client import Client
from grctl.models import Directive, RunStateKind, RunStatus
from grctl.worker import Context
from grctl.workflow import Workflow
from tests.features.looking import has_status
from tests.support import Database, wait_until
from tests.support.ledger import Ledger

view = Workflow("view.view")


@view.start()
async def look(ctx: Context, child: bool = False) -> Directive:
    if child:
        return ctx.next.complete(
            await ctx.run_child("view.view", f"{ctx.run.wf_id}/child", {"child": False})
        )
    run = ctx.run
    return ctx.next.complete(
        {
            "id": str(run.id),
            "wf_id": run.wf_id,
            "wf_type": run.wf_type,
            "status": str(run.status),
            "attempt": run.attempt,
            "created_at": run.created_at.isoformat(),
            "step_name": run.step_name,
            "parent": [str(run.parent_run_id), run.parent_wf_id, run.parent_wf_type],
            "cancel_requested": ctx.cancel_requested,
        }
    )


async def test_a_step_knows_its_run_and_its_parent(client: Client, serve: Any) -> None:
    await serve(view)
    alone = await client.start_workflow("view.view", "a")
    told = await alone.result(timeout=10)

    info = await client.describe("a")
    assert told == {
        "id": str(alone.run_id),
        "wf_id": "a",
        "wf_type": "view.view",
        "status": "running",
        "attempt": 1,
        "created_at": info.created_at.isoformat(),
        "step_name": "look",
        "parent": ["None", None, None],
        "cancel_requested": False,
    }
    parent = await client.start_workflow("view.view", "p", {"child": True})
    told = await parent.result(timeout=10)
    assert told["parent"] == [str(parent.run_id), "p", "view.view"]
    child = await client.describe("p/child")
    assert (child.parent_run_id, child.parent_wf_id, child.parent_wf_type) == (
        parent.run_id,
        "p",
        "view.view",
    )


async def test_a_run_is_described_at_every_stage(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    worker = await serve()
    handle = await client.start_workflow(
        "features.box", "a", {"gate": "first"}, timeout=timedelta(hours=1)
    )
    await wait_until(lambda: book.count("at gate"), "the step runs")

    info = await client.describe("a")
    assert (info.status, info.state_kind) == (RunStatus.RUNNING, RunStateKind.STEP)
    assert (info.owner, info.epoch) == (worker.worker_id, 1)
    assert (info.step_name, info.step_no, info.attempt) == ("begin", 1, 1)
    assert info.input == {"gate": "first"}
    assert info.deadline_at is not None
    assert info.deadline_at - info.created_at == timedelta(hours=1)
    assert not info.cancel_requested
    assert info.ended_at is None
    await handle.cancel()
    assert (await client.describe("a")).cancel_requested
    book.open_gate("first")
    await has_status(database, "a", "cancelled")

    info = await client.describe("a", handle.run_id)
    assert (info.status, info.state_kind, info.owner) == (
        RunStatus.CANCELLED,
        RunStateKind.ENDED,
        None,
    )
    assert info.started_at is not None
    assert info.ended_at is not None
    assert info.created_at <= info.started_at <= info.ended_at
