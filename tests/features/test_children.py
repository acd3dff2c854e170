"""Children: started once, told of when they end in any way; what their parent's end does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.models import Directive
from grctl.models.errors import StepFailed, WorkflowError
from grctl.worker import ChildOutcome, Context
from grctl.workflow import Workflow
from tests.features.looking import has_status, status_of
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.workflows import features

runner = Workflow("children.runner")


@runner.start()
async def run_one(
    ctx: Context,
    how: str,
    value: int = 1,
    timeout: float | None = None,
    limit_ms: int | None = None,
) -> Directive:
    """Says what ``run_child`` gave or raised."""
    try:
        found = await ctx.run_child(
            "features.child",
            f"{ctx.run.wf_id}/c",
            {"how": how, "value": value},
            features.ms(limit_ms),
            timeout=timeout,
            return_type=int,
        )
    except (WorkflowError, TimeoutError, asyncio.CancelledError) as error:
        step = error.step_name if isinstance(error, StepFailed) else None
        return ctx.next.complete([type(error).__name__, str(error), step])
    return ctx.next.complete(found)


refused = Workflow("children.refused")


@refused.start()
async def ask_for_the_impossible(ctx: Context) -> Directive:
    errors = []
    for wf_type, wf_id, more in (
        ("nobody.serves.this", "x", {}),
        ("features.child", "taken", {}),
        ("features.child", "", {}),
        ("features.child", "x", {"parent_close_policy": "sell"}),
        ("features.child", "x", {"on_completed_step": run_one}),
        ("features.child", "x", {"workflow_timeout": timedelta(0)}),
    ):
        try:
            await ctx.start_child(wf_type, wf_id, **more)
        except (WorkflowError, ValueError) as error:
            errors.append(type(error).__name__)
    try:
        await ctx.send_to_parent("heard", {"words": "x"})
    except RuntimeError as error:
        errors.append(type(error).__name__)
    return ctx.next.complete(errors)


unwrapper = Workflow("children.unwrapper")


@unwrapper.start()
async def start_failing(ctx: Context, how: str) -> Directive:
    handle = await ctx.start_child(
        "features.child", f"{ctx.run.wf_id}/c", {"how": how, "value": 5}, on_completed_step=unwrap
    )
    return ctx.next.wait() if handle.workflow_id else ctx.next.complete()


@unwrapper.step()
async def unwrap(ctx: Context, outcome: ChildOutcome[features.Order]) -> Directive:
    try:
        value = outcome.unwrap()
    except StepFailed as error:
        return ctx.next.complete([str(error), error.step_name, outcome.ok])
    return ctx.next.complete(value)


async def test_every_end_of_a_child_is_told_to_its_parent(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    children = [
        {"input": {"value": 7}},
        {"input": {"how": "raise", "value": 1}},
        {"input": {"how": "fail"}},
        {"input": {"how": "wait"}, "timeout_ms": 50},
        {"input": {"how": "wait"}},
        {"input": {"how": "wait"}},
        {"input": {"how": "continue", "value": 3}},
        {"input": {"how": "grandchild", "value": 8}},
    ]
    handle = await client.start_workflow("features.parent", "p", {"children": children})
    for number in (4, 5):
        await has_status(database, f"p/{number}", "waiting")
    await (await client.get_workflow_handle("p/4")).cancel("enough")
    await (await client.get_workflow_handle("p/5")).terminate("enough")

    assert await handle.result(timeout=15) == {
        "p/0": ["completed", True, 7, None],
        "p/1": ["failed", False, None, "ValueError: child 1"],
        "p/2": ["failed", False, None, "Unlucky: by choice"],
        "p/3": ["timed_out", False, None, None],
        "p/4": ["cancelled", False, None, None],
        "p/5": ["terminated", False, None, None],
        "p/6": ["completed", True, 103, None],
        "p/7": ["completed", True, 9, None],
    }


async def test_a_child_that_ends_before_its_parent_waits_is_not_missed(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow(
        "features.parent", "p", {"children": [{"input": {"value": 7}}], "gate": "parent"}
    )
    await has_status(database, "p/0", "completed")
    assert await status_of(database, "p") == "running"
    book.open_gate("parent")

    assert await handle.result(timeout=10) == {"p/0": ["completed", True, 7, None]}


again = Workflow("children.again")


@again.start()
async def once_more(ctx: Context, value: int) -> Directive:
    if await ctx.store.get("begun", default=None):
        return ctx.next.complete(value)
    ctx.store.put("begun", "yes")
    await ctx.start_child(
        "features.child", f"{ctx.run.wf_id}/c", {"value": value}, on_completed_step=once_more
    )
    return ctx.next.wait()


async def test_the_step_for_a_childs_end_may_be_the_start_handler(
    client: Client, serve: Any
) -> None:
    await serve(again, features.child)

    assert await client.run_workflow("children.again", "p", {"value": 7}) == 7


async def test_a_thousand_children_of_one_parent(client: Client, serve: Any) -> None:
    await serve()
    handle = await client.start_workflow(
        "features.parent", "p", {"children": [{"input": {"value": n}} for n in range(1000)]}
    )

    outcomes = await handle.result(timeout=60)

    assert outcomes == {f"p/{n}": ["completed", True, n, None] for n in range(1000)}


async def test_after_a_crash_no_child_is_started_twice(
    database: Database, client: Client, launch: Any, book: Ledger
) -> None:
    first = await launch()
    handle = await client.start_workflow(
        "features.parent",
        "p",
        {"children": [{"input": {"value": n}} for n in range(3)], "gate": "parent"},
    )
    await wait_until(lambda: book.count("at gate"), "the parent has started its children")
    first.kill()
    await first.wait()
    book.open_gate("parent")
    await launch()

    assert set(await handle.result(timeout=20)) == {"p/0", "p/1", "p/2"}
    assert await database.fetchval("select count(*) from grctl.runs") == 4
    assert (
        await database.fetchval("select count(*) from grctl.events where kind = 'child.started'")
        == 3
    )


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({"how": "complete", "value": 4}, 4),
        ({"how": "continue", "value": 4}, 104),
        ({"how": "raise"}, ["StepFailed", "ValueError: child 1", "grow"]),
        ({"how": "fail"}, ["WorkflowError", "Unlucky: by choice", None]),
        ({"how": "wait", "limit_ms": 50}, ["TimeoutError"]),
        ({"how": "wait", "timeout": 0.1}, ["TimeoutError"]),
    ],
)
async def test_run_child_gives_the_result_or_raises_what_a_waiter_would_get(
    client: Client, serve: Any, start: dict[str, Any], expected: Any
) -> None:
    await serve(*features.ALL, runner)
    found = await asyncio.wait_for(client.run_workflow("children.runner", "r", start), 10)

    assert (found[:1] if expected == ["TimeoutError"] else found) == expected


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_run_child_raises_cancelled_error_for_a_child_that_was_ended(
    database: Database, client: Client, serve: Any, how: str
) -> None:
    await serve(*features.ALL, runner)
    handle = await client.start_workflow("children.runner", "r", {"how": "wait"})
    await has_status(database, "r/c", "waiting")
    await getattr(await client.get_workflow_handle("r/c"), how)()

    assert (await handle.result(timeout=10))[0] == "CancelledError"


async def test_waiting_for_a_child_takes_no_slot(client: Client, serve: Any) -> None:
    await serve(*features.ALL, runner, concurrency=1)

    found = await asyncio.wait_for(
        client.run_workflow("children.runner", "r", {"how": "grandchild", "value": 3}), 10
    )

    assert found == 4


async def test_impossible_children_are_refused_where_they_are_asked_for(
    client: Client, serve: Any
) -> None:
    await serve(*features.ALL, refused)
    await client.start_workflow("features.child", "taken", {"how": "wait"})

    assert await asyncio.wait_for(client.run_workflow("children.refused", "r"), 10) == [
        "WorkflowTypeNotRegisteredError",
        "WorkflowAlreadyRunningError",
        "ValueError",
        "ValueError",
        "ValueError",
        "ValueError",
        "RuntimeError",
    ]


async def test_unwrap_raises_what_a_waiter_of_the_child_would_get(
    client: Client, serve: Any
) -> None:
    await serve(*features.ALL, unwrapper)

    found = await asyncio.wait_for(
        client.run_workflow("children.unwrapper", "u", {"how": "raise"}), 10
    )

    assert found == ["ValueError: child 5", "grow", False]


async def test_a_child_speaks_to_its_parent(client: Client, serve: Any) -> None:
    await serve()
    handle = await client.start_workflow(
        "features.parent",
        "p",
        {"children": [{"input": {"how": "tell"}}, {"input": {"how": "wait"}}]},
    )

    async def heard() -> bool:
        return await handle.query("words") == "from p/0"

    await wait_until(heard, "the parent heard its child")


@pytest.mark.parametrize(
    ("policy", "becomes"),
    [("abandon", "waiting"), ("cancel", "cancelled"), ("terminate", "terminated")],
)
@pytest.mark.parametrize("end", ["completes", "is cancelled", "is terminated"])
async def test_when_the_parent_ends_its_open_children_follow_the_policy(
    database: Database, client: Client, serve: Any, policy: str, becomes: str, end: str
) -> None:
    await serve()
    handle = await client.start_workflow(
        "features.parent",
        "p",
        {
            "children": [{"input": {"how": "wait"}}] * 3,
            "policy": policy,
            "end": end == "completes",
        },
    )
    if end == "completes":
        assert await handle.result(timeout=10) == "alone"
    else:
        await has_status(database, "p", "waiting")
        await (handle.cancel() if end == "is cancelled" else handle.terminate())
        with pytest.raises(asyncio.CancelledError):
            await handle.result(timeout=10)

    async def closed() -> bool:
        return await database.fetchval("select count(*) from grctl.closings") == 0

    await wait_until(closed, "every closing is done")
    for number in range(3):
        await has_status(database, f"p/{number}", becomes)


async def test_a_parent_that_timed_out_terminates_its_children(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow(
        "features.parent",
        "p",
        {"children": [{"input": {"how": "wait"}}], "policy": "terminate"},
        timeout=timedelta(hours=1),
    )
    await has_status(database, "p", "waiting")
    await database.execute(
        "update grctl.runs set deadline_at = grctl.now(), wake_at = grctl.now() where wf_id = 'p'"
    )

    with pytest.raises(TimeoutError):
        await handle.result(timeout=10)
    await has_status(database, "p/0", "terminated")
