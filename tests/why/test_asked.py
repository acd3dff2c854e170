"""What the worker that holds a run says of it: where its code stands just now."""

from __future__ import annotations

import json

import pytest

from grctl.client import Client, Connection
from grctl.models.why import ReasonKind
from grctl.postgres import activity
from grctl.postgres.why import explain
from grctl.settings import Settings
from tests.features.looking import has_status
from tests.support import Database, run_cli, wait_until
from tests.support.runner import RunnerProcess
from tests.why.conftest import SLACK, Why
from tests.workflows import why as standing

HERE = standing.__file__


async def test_where_the_code_of_a_step_awaits(client: Client, serve, why: Why) -> None:
    await serve(standing.standing)
    await client.start_workflow("why.standing", "s", {"how": "code"})

    _, reason = await why("s", ReasonKind.WORKER_HOLDS, ask=True)

    places = [frame.removeprefix(HERE) for frame in reason.details["stack"]]
    assert [place.partition(" in ")[2] for place in places] == [
        "stand_still",
        "never",
        "Event.wait",
    ]
    assert reason.advice == ""


async def test_where_an_asyncio_task_of_a_step_awaits(client: Client, serve, why: Why) -> None:
    await serve(standing.standing)
    await client.start_workflow("why.standing", "s", {"how": "branch"})

    _, reason = await why("s", ReasonKind.WORKER_HOLDS, ask=True)

    assert reason.details["stack"][-1].endswith("in stand_still")
    [branch] = reason.details["branches"]
    assert branch[-2].endswith("in never")


async def test_a_task_is_seen_before_its_start_is_recorded(
    client: Client, serve, why: Why, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.worker.watch.LONG_TASK_SECONDS", 3600.0)
    await serve(standing.standing)
    await client.start_workflow("why.standing", "s", {"how": "quick task"})

    explanation, reason = await why("s", ReasonKind.TASK_RUNS, ask=True)

    assert await database.fetchval("select count(*) from grctl.events where op is not null") == 0
    assert reason.text == "task 'hang' runs"
    assert any(frame.startswith(HERE) and "in hang" in frame for frame in reason.details["stack"])
    assert reason.since is not None
    assert reason.since <= explanation.as_of + SLACK


async def test_where_a_task_in_a_thread_stands(
    client: Client, serve, why: Why, database: Database
) -> None:
    standing.let_go.clear()
    await serve(standing.standing)
    await client.start_workflow("why.standing", "s", {"how": "thread"})

    _, reason = await why("s", ReasonKind.TASK_RUNS, ask=True)

    assert reason.text == "task 'wait_in_thread' runs"
    assert reason.details["stack"][0].endswith("in wait_in_thread")
    assert "threading.py" in reason.details["stack"][-1]
    standing.let_go.set()
    await has_status(database, "s", "completed")


async def test_code_that_blocks_the_event_loop(
    client: Client, why: Why, database: Database
) -> None:
    async with RunnerProcess("tests.workflows.why", database_url=database.dsn) as worker:
        await client.start_workflow("why.standing", "s", {"how": "block"})

        explanation, reason = await why("s", ReasonKind.LOOP_BLOCKED)

        assert reason.details["stack"][0].startswith(HERE), "nothing of who runs the loop"
        places = [frame for frame in reason.details["stack"] if frame.startswith(HERE)]
        assert places[-1].endswith("in block")
        assert reason.since is not None
        assert reason.since <= explanation.as_of + SLACK
        assert "plain def task" in reason.advice
        assert explanation.reasons[1].kind is ReasonKind.WORKER_HOLDS
        assert explanation.reasons[1].advice == "", "who asks now is told nothing new"
        told = await run_cli("why", "s", database_url=database.dsn)
        assert f"    | {HERE}:" in told.out
        worker.kill()


async def test_a_loop_that_moves_again(client: Client, serve, database: Database) -> None:
    worker = await serve(standing.standing)
    lease = worker._lease
    assert lease is not None
    lease._answered -= 5.0  # as if it had been silent for so long

    async def is_told() -> bool:
        return await database.fetchval("select stalled_in is not null from grctl.workers")

    async def is_over() -> bool:
        return not await is_told()

    await wait_until(is_told, "the stall is in the table", timeout=30)
    await wait_until(is_over, "it is not any more", timeout=30)


async def test_who_may_only_read_is_told_what_the_tables_have(
    client: Client, serve, why: Why, database: Database, settings: Settings
) -> None:
    await serve(standing.standing)
    await client.start_workflow("why.standing", "s", {"how": "code"})
    await why("s", ReasonKind.WORKER_HOLDS)
    reading = {"database_url": f"{database.dsn}?default_transaction_read_only=on"}

    async with await Connection.connect(settings=settings.model_copy(update=reading)) as reader:
        explanation = await explain(reader.database, "s", ask=True)

    assert explanation is not None
    [reason] = explanation.reasons
    assert reason.kind is ReasonKind.WORKER_HOLDS
    assert "where it may write" in reason.advice


async def test_a_worker_that_does_not_answer(
    client: Client, launch, why: Why, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "ANSWER_SECONDS", 0.3)
    worker = await launch(lease=60.0)
    await client.start_workflow("features.sleeper", "s", {"how": "hang"})
    await has_status(database, "s", "running")
    worker.stop()

    explanation = await explain(client.database, "s", ask=True)

    assert explanation is not None
    [reason] = explanation.reasons
    assert reason.kind is ReasonKind.WORKER_HOLDS
    assert "did not answer" in reason.advice
    assert await database.fetchval("select count(*) from grctl.queries") == 0


async def test_nobody_is_asked_of_a_run_that_nobody_holds(
    client: Client, serve, database: Database
) -> None:
    await serve(standing.silent)
    handle = await client.start_workflow("why.silent", "s")
    await has_status(database, "s", "waiting")
    told = await activity.ask(
        client.database,
        handle.run_id,
        "why.silent",
        await database.fetchval("select worker_no from grctl.workers"),
    )
    assert told is not None
    assert not told.is_held

    shown = await run_cli("why", "s", "--json", database_url=database.dsn)
    assert json.loads(shown.out)["reasons"][0]["kind"] == "awaits_event"
