"""Steps: how each ends, and that none can wedge its run or its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client, Connection
from grctl.errors import (
    DatabaseNotMigratedError,
    LeaseLostError,
    StepFailed,
    WorkflowError,
)
from grctl.models import ErrorDetails, RetryPolicy
from grctl.models.directive import Complete, Fail
from grctl.worker import Context, Worker, task
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until

Execute = Callable[..., Awaitable[Any]]

elsewhere = Workflow("elsewhere")


@elsewhere.start()
async def begin_elsewhere(ctx: Context) -> Directive:
    return ctx.next.complete()


@elsewhere.step()
async def step_elsewhere(ctx: Context) -> Directive:
    return ctx.next.complete()


@task
async def note(what: str) -> str:
    return what


async def kinds(database: Database) -> list[str]:
    return [
        row["kind"] for row in await database.fetch("select kind from grctl.events order by seq")
    ]


async def test_a_run_goes_from_step_to_step_with_its_store(
    database: Database, client: Client, serve: Any
) -> None:
    workflow = Workflow("order")

    @workflow.start()
    async def start(ctx: Context, n: int) -> Directive:
        ctx.store.put("n", n)
        return ctx.next.step(double)

    @workflow.step()
    async def double(ctx: Context) -> Directive:
        ctx.store.put("n", 2 * await ctx.store.get("n", int))
        return ctx.next.step(finish, delay=timedelta(milliseconds=20))

    @workflow.step()
    async def finish(ctx: Context) -> Directive:
        return ctx.next.complete(await ctx.store.get("n"))

    await serve(workflow)
    assert await client.run_workflow("order", "a", {"n": 21}) == 42
    assert await kinds(database) == ["step.completed"] * 3
    row = await database.fetchrow("select status, owner, wake_at from grctl.runs")
    assert row is not None
    assert tuple(row) == ("completed", None, None)
    assert await database.fetchval("select value #>> '{}' from grctl.store") == "42"


async def test_an_uncaught_error_fails_the_workflow_with_the_steps_name(
    database: Database, execute: Execute
) -> None:
    async def start(ctx: Context) -> Directive:
        ctx.store.put("lost", 1)
        await note("before")
        raise ValueError("boom")

    with pytest.raises(StepFailed, match=r"^ValueError: boom$") as caught:
        await execute(start)

    assert caught.value.step_name == "start"
    assert caught.value.details is not None
    assert "boom" in caught.value.details.stack_trace
    assert await kinds(database) == ["task.completed", "step.failed"]
    assert await database.fetchval("select count(*) from grctl.store") == 0


async def test_fail_ends_the_run_with_the_given_details(execute: Execute) -> None:
    async def start(ctx: Context) -> Directive:
        return ctx.next.fail(ErrorDetails(type="OutOfStock", message="none left"))

    with pytest.raises(WorkflowError, match=r"^OutOfStock: none left$") as caught:
        await execute(start)
    assert not isinstance(caught.value, StepFailed)
    assert caught.value.details is not None
    assert caught.value.details.type == "OutOfStock"


async def returns_nothing(ctx: Context) -> Directive:
    return None  # type: ignore[return-value]  # that is the mistake


class Finish(Complete):
    """A directive of the user's own."""


async def returns_a_directive_of_its_own(ctx: Context) -> Directive:
    return Finish(1)


async def returns_the_base_of_directives(ctx: Context) -> Directive:
    return Directive()


async def makes_a_directive_of_the_wrong_thing(ctx: Context) -> Directive:
    return Fail("no")  # type: ignore[arg-type]  # that is the mistake


async def goes_elsewhere(ctx: Context) -> Directive:
    return ctx.next.step(step_elsewhere)


async def goes_nowhere(ctx: Context) -> Directive:
    return ctx.next.step(lambda: None)


async def fails_with_text(ctx: Context) -> Directive:
    return ctx.next.fail("no")  # type: ignore[arg-type]  # that is the mistake


async def waits_a_negative_time(ctx: Context) -> Directive:
    return ctx.next.wait(timedelta(seconds=-1))


async def completes_with_an_object(ctx: Context) -> Directive:
    return ctx.next.complete(object())


async def completes_with_nan(ctx: Context) -> Directive:
    return ctx.next.complete({"share": float("nan")})


async def completes_with_too_much(ctx: Context) -> Directive:
    return ctx.next.complete("x" * (3 * 1024 * 1024))


async def sleeps_a_number(ctx: Context) -> Directive:
    await ctx.sleep(3)  # type: ignore[arg-type]  # that is the mistake
    return ctx.next.complete()


async def cancels_itself(ctx: Context) -> Directive:
    raise asyncio.CancelledError


async def raises_what_only_grctl_should(ctx: Context) -> Directive:
    raise LeaseLostError("so it says")


async def misses_a_key(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.store.get("absent"))


async def stores_an_object(ctx: Context) -> Directive:
    ctx.store.put("bad", {"x": object()})
    return ctx.next.complete()


async def raises_with_a_nul(ctx: Context) -> Directive:
    raise ValueError("a\0b \ud800 c")


async def raises_with_a_megabyte(ctx: Context) -> Directive:
    raise ValueError("m" * (5 * 1024 * 1024))


async def fails_with_an_error(ctx: Context) -> Directive:
    error: Any = ValueError("the reason")
    return ctx.next.fail(ErrorDetails(type="Sorry", message=error))


async def sends_to_no_name(ctx: Context) -> Directive:
    await ctx.send("somebody", "a\0b")
    raise AssertionError


async def sends_to_no_id(ctx: Context) -> Directive:
    await ctx.send("a\0b", "x")
    raise AssertionError


async def starts_no_id(ctx: Context) -> Directive:
    await ctx.start_child("elsewhere", "a\ud800")
    raise AssertionError


async def starts_no_type(ctx: Context) -> Directive:
    await ctx.start_child("a\0b", "child")
    raise AssertionError


async def starts_for_ages(ctx: Context) -> Directive:
    await ctx.start_child("elsewhere", "child", workflow_timeout=timedelta(days=200_000_000))
    raise AssertionError


async def waits_a_timedelta_for_its_child(ctx: Context) -> Directive:
    await ctx.run_child("elsewhere", "child", timeout=timedelta(seconds=1))  # type: ignore[arg-type]  # that is the test
    raise AssertionError


async def sleeps_for_ages(ctx: Context) -> Directive:
    await ctx.sleep(timedelta.max)
    raise AssertionError


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (fails_with_an_error, r"TypeError: .*ErrorDetails.message must be a str, .*the reason"),
        (sends_to_no_name, r"ValueError: an event's name must be .* without NUL"),
        (sends_to_no_id, r"WorkflowError: workflow 'a\\x00b' has no open run"),
        (starts_no_id, r"ValueError: a workflow id must be a string without NUL"),
        (starts_no_type, r"ValueError: a workflow type must be a string without NUL"),
        (starts_for_ages, r"ValueError: a child's timeout must be .* at most 36525 days"),
        (waits_a_timedelta_for_its_child, r"TypeError: .*number of seconds, not timedelta"),
        (sleeps_for_ages, r"ValueError: ctx.sleep takes a timedelta from 0 to 36525 days"),
        (returns_nothing, r"TypeError: .*'returns_nothing'.* returned None, not a Directive"),
        (returns_a_directive_of_its_own, r"TypeError: Finish\(result=1\) is no directive that"),
        (returns_the_base_of_directives, r"TypeError: Directive\(\) is no directive that"),
        (makes_a_directive_of_the_wrong_thing, r"AttributeError: 'str' object"),
        (goes_elsewhere, r"ValueError: ctx.next.step: step_elsewhere is no step of workflow"),
        (goes_nowhere, r"ValueError: ctx.next.step: .*<lambda> is no step of workflow"),
        (fails_with_text, r"TypeError: ctx.next.fail takes ErrorDetails"),
        (waits_a_negative_time, r"ValueError: timeout must be from 0 to"),
        (completes_with_an_object, r"SerializationError: .*result of workflow"),
        (completes_with_nan, r"SerializationError: .*share"),
        (completes_with_too_much, r"PayloadTooLargeError: .*result of workflow"),
        (sleeps_a_number, r"ValueError: ctx.sleep takes a timedelta"),
        (cancels_itself, r"CancelledError"),
        (raises_what_only_grctl_should, r"LeaseLostError: so it says"),
        (misses_a_key, r"StoreKeyNotFoundError: the store has no key 'absent'"),
        (stores_an_object, r"SerializationError: .*store value 'bad'"),
        (raises_with_a_nul, r"ValueError: a.b"),
        (raises_with_a_megabyte, r"ValueError: mmm"),
    ],
)
async def test_a_step_that_makes_a_mistake_fails_and_says_which(
    database: Database, execute: Execute, start: Any, message: str
) -> None:
    with pytest.raises(StepFailed, match=f"(?s)^{message}"):
        await execute(start)
    assert await kinds(database) == ["step.failed"]
    assert await database.fetchval("select status from grctl.runs") == "failed"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": "many"}, r"argument 'n'"),
        ({}, r"'n'"),
        ({"n": 1, "m": 2}, r"'m'"),
    ],
)
async def test_input_that_does_not_fit_fails_the_step_and_is_named(
    client: Client, serve: Any, values: Any, message: str
) -> None:
    workflow = Workflow("typed")

    @workflow.start()
    async def start(ctx: Context, n: int, text: str = "") -> Directive:
        return ctx.next.complete(n)

    await serve(workflow)
    with pytest.raises(StepFailed, match=message):
        await client.run_workflow("typed", "a", values)


async def test_a_step_that_takes_too_long_fails_its_run_and_records_nothing_more(
    database: Database, client: Client, serve: Any
) -> None:
    workflow, begun, gate = Workflow("slow"), asyncio.Event(), asyncio.Event()

    @task
    async def stand() -> str:
        begun.set()
        await gate.wait()
        return "too late"

    @workflow.start(timeout=timedelta(hours=1))
    async def start(ctx: Context) -> Directive:
        ctx.store.put("k", 1)
        await note("before")
        await stand()
        return ctx.next.complete()

    worker: Worker = await serve(workflow)
    handle = await client.start_workflow("slow", "a")
    await asyncio.wait_for(begun.wait(), 30)
    [executor] = worker.slots.executors.values()
    assert executor.step_time_left is not None
    assert 0 < executor.step_time_left <= 3600
    executor.step_time_left = 0.0  # as if the hour were over
    with pytest.raises(StepFailed, match=r"^TimeoutError: step start timed out$"):
        await handle.result(timeout=30)
    gate.set()
    assert await client.run_workflow("slow", "again", timeout=timedelta(seconds=30)) is None

    rows = await database.fetch(
        "select e.kind from grctl.events e join grctl.runs r using (run_id) "
        "where r.wf_id = 'a' and e.kind <> 'task.started' order by seq"
    )
    assert [row["kind"] for row in rows] == ["task.completed", "step.timeout"]


async def test_a_step_that_swallows_its_cancellation_is_left_to_itself(
    database: Database, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.worker.watch.GRACE_SECONDS", 0.3)
    workflow, gate, after = Workflow("deaf"), asyncio.Event(), asyncio.Event()

    @workflow.start(timeout=timedelta(milliseconds=200))
    async def start(ctx: Context) -> Directive:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        try:
            await note("after the end")
        finally:
            after.set()
        return ctx.next.complete("never")

    await serve(workflow)
    with pytest.raises(StepFailed, match="step start timed out"):
        await client.run_workflow("deaf", "a")
    gate.set()
    await asyncio.wait_for(after.wait(), 5)

    assert await kinds(database) == ["step.timeout"]


async def test_a_step_with_a_retry_policy_is_tried_again_and_its_done_tasks_are_not(
    database: Database, client: Client, serve: Any
) -> None:
    workflow, calls = Workflow("retried"), []

    @task
    async def good() -> str:
        calls.append("good")
        return "g"

    @task
    async def bad() -> str:
        calls.append("bad")
        if calls.count("bad") < 3:
            raise ConnectionError("not yet")
        return "b"

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.step(work)

    @workflow.step(retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=5))
    async def work(ctx: Context) -> Directive:
        ctx.store.put(f"attempt {ctx.run.attempt}", 1)
        found = await good() + await bad()
        return ctx.next.complete([found, ctx.run.attempt])

    await serve(workflow)

    assert await client.run_workflow("retried", "a") == ["gb", 3]
    assert calls == ["good", "bad", "bad", "bad"]
    assert await kinds(database) == [
        "step.completed",
        "task.completed", "task.failed", "step.attempt_failed",
        "task.failed", "step.attempt_failed",
        "task.completed", "step.completed",
    ]  # fmt: skip
    keys = await database.fetch("select key from grctl.store")
    assert [row["key"] for row in keys] == ["attempt 3"], "failed attempts wrote nothing"


async def test_a_cancellation_that_a_step_survived_is_none_of_the_next_steps(
    client: Client, serve: Any
) -> None:
    """As it is not after a crash. From Python 3.13 on a task group that fails would pass it on."""
    workflow = Workflow("survivor")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ctx.next.step(count)
        raise AssertionError

    @workflow.step()
    async def count(ctx: Context) -> Directive:
        current = asyncio.current_task()
        assert current is not None
        return ctx.next.complete(current.cancelling())

    await serve(workflow)
    assert await client.run_workflow("survivor", "a") == 0


async def test_a_stop_of_start_itself_leaves_nothing_hanging(
    database: Database, client: Client, settings: Any
) -> None:
    """As when asyncio.run ends with a worker that nobody stopped."""
    workflow, begun = Workflow("held"), asyncio.Event()

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with await Connection.connect(settings=settings) as connection:
        worker = Worker([workflow], connection)
        running = asyncio.create_task(worker.start())
        await worker.wait_until_ready()
        await client.start_workflow("held", "a")
        await begun.wait()
        running.cancel()
        await asyncio.wait({running}, timeout=10)
        assert running.cancelled()
        await wait_until(lambda: not worker.slots.executors, "its steps have ended")
    assert await kinds(database) == []


async def test_whoever_waits_for_a_worker_that_cannot_start_is_told_why(
    empty_database: Database, settings: Any
) -> None:
    unmigrated = settings.model_copy(update={"database_url": empty_database.dsn})
    workflow = Workflow("early")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.complete()

    async with await Connection.connect(settings=unmigrated) as connection:
        worker = Worker([workflow], connection)
        running = asyncio.create_task(worker.start())
        with pytest.raises(
            RuntimeError, match=r"ended before it was ready.*grctl db upgrade"
        ) as told:
            await asyncio.wait_for(worker.wait_until_ready(), 30)
        with pytest.raises(DatabaseNotMigratedError):
            await running
        assert isinstance(told.value.__cause__, DatabaseNotMigratedError)


async def test_a_step_that_the_code_no_longer_has_fails_its_run_and_says_so(
    database: Database, client: Client, serve: Any
) -> None:
    old, new = Workflow("changed"), Workflow("changed")

    @old.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.step(removed, delay=timedelta(hours=1))

    @old.step()
    async def removed(ctx: Context) -> Directive:
        return ctx.next.complete()

    new.start()(start)
    before: Worker = await serve(old)
    handle = await client.start_workflow("changed", "a")
    await wait_until(lambda: _status(client, "delayed"), "the run is delayed")
    await before.stop()
    await database.execute("update grctl.runs set wake_at = grctl.now()")
    await serve(new)

    with pytest.raises(StepFailed, match="has no step 'removed' in this worker's code"):
        await handle.result(timeout=30)


async def _status(client: Client, wanted: str) -> bool:
    return (await client.describe("a")).status == wanted
