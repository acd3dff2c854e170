"""Retries of steps, of tasks, and of a failed run: what was completed is never run again."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.errors import NonRetryableError, RetryAfter
from grctl.models import Directive, RetryPolicy, RunStatus
from grctl.models.errors import StepFailed, WorkflowAlreadyRunningError, WorkflowError
from grctl.worker import Context, task
from grctl.workflow import Workflow
from tests.features.looking import count, has_status, kinds_of, status_of
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.workflows.features import book as ledger
from tests.workflows.features import note


class BusyError(RetryAfter):
    """Forgets its base's constructor, and so when."""

    def __init__(self, what: str) -> None:
        self.what = what


flaky = Workflow("retries.flaky")
POLICY = RetryPolicy(
    max_attempts=3, initial_delay_ms=20, non_retryable_errors=["KeyError"], max_delay_ms=3_600_000
)


@flaky.start()
async def begin(ctx: Context, how: str = "gate") -> Directive:
    ctx.store.put("how", how)
    return ctx.next.step(work)


@flaky.step(retry_policy=POLICY)
async def work(ctx: Context) -> Directive:
    how = await ctx.store.get("how")
    ctx.store.put("attempt", ctx.run.attempt)
    await note("done once", ctx.run.wf_id)
    ledger().note("attempt", ctx.run.wf_id, str(ctx.run.attempt))
    if how == "key":
        raise KeyError("no retry for this one")
    if how == "final":
        raise NonRetryableError("by its own word")
    if how == "later" and ctx.run.attempt == 1:
        raise RetryAfter(timedelta(milliseconds=700))
    if how == "no word":
        raise BusyError("a server")
    if how == "much later":
        raise RetryAfter(timedelta(hours=1))
    if how == "gate" and not ledger().is_open(f"{ctx.run.wf_id} {ctx.run.attempt}"):
        raise ValueError(f"attempt {ctx.run.attempt}")
    return ctx.next.complete(ctx.run.attempt)


@flaky.query()
async def attempt(ctx: Context) -> int | None:
    found: int | None = await ctx.store.get("attempt", default=None)
    return found


async def test_a_failed_step_is_tried_again_and_its_done_tasks_are_not(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve(flaky)
    book.open_gate("a 3")
    handle = await client.start_workflow("retries.flaky", "a")

    assert await handle.result(timeout=10) == 3
    assert book.count("done once") == 1
    assert [each.key for each in book.entries("attempt")] == ["1", "2", "3"]
    assert await kinds_of(database, "a") == [
        "step.completed",
        "task.completed",
        "step.attempt_failed",
        "step.attempt_failed",
        "step.completed",
    ]
    delays = await database.fetch(
        "select body ->> 'next_retry_delay_ms' as ms from grctl.events "
        "where kind = 'step.attempt_failed' order by seq"
    )
    assert [row["ms"] for row in delays] == ["20", "40"]
    assert await handle.query("attempt") == 3


async def test_when_no_attempt_is_left_the_run_fails_with_the_last_error(
    client: Client, serve: Any, book: Ledger
) -> None:
    await serve(flaky)
    handle = await client.start_workflow("retries.flaky", "a")

    with pytest.raises(StepFailed, match="ValueError: attempt 3") as caught:
        await handle.result(timeout=10)
    assert caught.value.step_name == "work"
    assert book.count("attempt") == 3
    # A failed attempt writes nothing into the store.
    assert await handle.query("attempt") is None


@pytest.mark.parametrize(("how", "message"), [("key", "KeyError"), ("final", "NonRetryableError")])
async def test_some_errors_end_the_retries_of_a_step(
    client: Client, serve: Any, book: Ledger, how: str, message: str
) -> None:
    await serve(flaky)
    handle = await client.start_workflow("retries.flaky", "a", {"how": how})

    with pytest.raises(StepFailed, match=message):
        await handle.result(timeout=10)
    assert book.count("attempt") == 1


async def test_an_error_may_carry_its_own_delay(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve(flaky)
    handle = await client.start_workflow("retries.flaky", "a", {"how": "later"})

    assert await handle.result(timeout=10) == 2
    first, second = book.entries("attempt")
    assert 0.65 < second.at - first.at < 2.0


async def test_an_error_that_forgot_its_delay_does_not_keep_its_step_from_failing(
    client: Client, serve: Any, book: Ledger
) -> None:
    await serve(flaky)
    handle = await client.start_workflow("retries.flaky", "a", {"how": "no word"})

    with pytest.raises(StepFailed, match="BusyError"):
        await handle.result(timeout=30)
    assert book.count("attempt") == 3


async def test_a_backoff_of_a_step_holds_no_worker_and_is_cancelled_at_once(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve(flaky)
    handle = await client.start_workflow("retries.flaky", "a", {"how": "much later"})
    await has_status(database, "a", "delayed")
    await wait_until(lambda: not worker.slots.executors, "the worker lets go of it")
    await worker.stop()

    await handle.cancel()
    assert await status_of(database, "a") == "cancelled"


async def test_a_failed_run_is_retried_from_its_failed_step_with_its_tasks_kept(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve(flaky)
    handle = await client.start_workflow("retries.flaky", "a")
    with pytest.raises(StepFailed):
        await handle.result(timeout=10)
    book.open_gate("a 4")

    await handle.retry()

    assert await handle.result(timeout=10) == 4
    assert book.count("done once") == 1
    kinds = await kinds_of(database, "a")
    assert kinds[-3:] == ["step.failed", "run.retried", "step.completed"]
    info = await client.describe("a")
    assert (info.status, info.error, info.result) == (RunStatus.COMPLETED, None, 4)
    with pytest.raises(WorkflowError, match="has not failed: nothing to retry"):
        await handle.retry()


patient = Workflow("retries.patient")
helper = Workflow("retries.helper")


@patient.start()
async def hand_over(ctx: Context) -> Directive:
    return ctx.next.step(wait_for_help)


@patient.step(
    retry_policy=RetryPolicy(60, 1, backoff_multiplier=1.0, non_retryable_errors=["StepFailed"])
)
async def wait_for_help(ctx: Context) -> Directive:
    ledger().note("asked", ctx.run.wf_id, str(ctx.run.attempt))
    return ctx.next.complete(await ctx.run_child("retries.helper", "helper", timeout=1))


@helper.start()
async def help_at_last(ctx: Context) -> Directive:
    return ctx.next.step(fail_or_help) if ledger().is_open("failing") else ctx.next.wait()


@helper.step()
async def fail_or_help(ctx: Context) -> Directive:
    if not ledger().is_open("help"):
        raise ValueError("no help yet")
    return ctx.next.complete("helped")


@helper.event()
async def try_now(ctx: Context) -> Directive:
    return await fail_or_help(ctx)


async def test_a_wait_for_a_child_that_timed_out_is_waited_out_anew_by_the_next_attempt(
    client: Client, serve: Any, book: Ledger
) -> None:
    await serve(patient, helper)
    handle = await client.start_workflow("retries.patient", "a")
    await wait_until(lambda: book.count("asked") >= 2, "its first attempt has timed out")
    book.open_gate("help")

    await (await client.get_workflow_handle("helper")).send("try_now")

    assert await handle.result(timeout=20) == "helped"


async def test_a_run_that_failed_by_its_child_is_retried_after_its_child_was(
    client: Client, serve: Any, book: Ledger
) -> None:
    book.open_gate("failing")
    await serve(patient, helper)
    handle = await client.start_workflow("retries.patient", "a")
    with pytest.raises(StepFailed, match="no help yet"):
        await handle.result(timeout=20)
    book.open_gate("help")
    child = await client.get_workflow_handle("helper")
    await child.retry()
    await child.result(timeout=20)

    await handle.retry()

    assert await handle.result(timeout=20) == "helped"


async def test_a_failed_run_is_not_retried_beside_another_of_its_workflow_id(
    database: Database, client: Client, serve: Any
) -> None:
    await serve(flaky)
    handle = await client.start_workflow("retries.flaky", "a", {"how": "key"})
    with pytest.raises(StepFailed):
        await handle.result(timeout=10)
    await client.start_workflow("retries.flaky", "a", {"how": "much later"})

    with pytest.raises(WorkflowAlreadyRunningError):
        await handle.retry()
    with pytest.raises(StepFailed):
        await handle.result(timeout=10)


handler = Workflow("retries.handler")


@handler.start()
async def wait_for_it(ctx: Context) -> Directive:
    return ctx.next.wait()


@handler.event()
async def try_it(ctx: Context, what: str) -> Directive:
    await note("done once", ctx.run.wf_id, what)
    if not ledger().is_open(what):
        raise ValueError("not yet")
    return ctx.next.complete(what)


async def test_a_retry_handles_the_event_whose_handler_failed_again(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve(handler)
    handle = await client.start_workflow("retries.handler", "a")
    await handle.send("try_it", "x")
    with pytest.raises(StepFailed):
        await handle.result(timeout=10)
    book.open_gate("x")
    await handle.retry()

    assert await handle.result(timeout=10) == "x"
    assert book.count("done once") == 1
    assert await count(database, "inbox") == 0


# --- tasks ----------------------------------------------------------------------------------------

tasks = Workflow("retries.tasks")


@task(retry_policy=RetryPolicy(max_attempts=3, initial_delay_ms=10))
async def fails_so(how: str) -> str:
    ledger().note("attempt", "", how)
    tried = ledger().count("attempt", key=how)
    if how == "twice" and tried <= 2:
        raise ValueError(f"attempt {tried}")
    if how == "final":
        raise NonRetryableError("no more")
    if how == "later" and tried == 1:
        raise RetryAfter(timedelta(milliseconds=500), "busy")
    return f"after {tried}"


@task(timeout=timedelta(milliseconds=100))
async def never_ends() -> None:
    await asyncio.Event().wait()


@task
def in_a_thread(number: int) -> dict[str, int]:
    return {
        "doubled": number * 2,
        "main": int(threading.current_thread() is threading.main_thread()),
    }


@task(name="renamed")
def fails_in_a_thread() -> None:
    raise LookupError("from the thread")


@tasks.start()
async def try_all(ctx: Context, how: str) -> Directive:
    try:
        if how == "timeout":
            await never_ends()
        elif how == "thread":
            return ctx.next.complete(await asyncio.gather(*(in_a_thread(n) for n in range(3))))
        elif how == "thread fails":
            await fails_in_a_thread()
        else:
            return ctx.next.complete(await fails_so(how))
    except Exception as error:  # noqa: BLE001 - the test says which
        return ctx.next.complete([type(error).__name__, str(error)])
    return ctx.next.complete()


@pytest.mark.parametrize(
    ("how", "result", "attempts"),
    [
        ("twice", "after 3", 3),
        ("final", ["NonRetryableError", "no more"], 1),
        ("later", "after 2", 2),
        (
            "timeout",
            ["TimeoutError", "task 'never_ends' did not end within its timeout of 0.1 s"],
            0,
        ),
        ("thread", [{"doubled": n * 2, "main": 0} for n in range(3)], 0),
        ("thread fails", ["LookupError", "from the thread"], 0),
    ],
)
async def test_tasks_are_retried_bounded_and_run_in_threads(
    database: Database,
    client: Client,
    serve: Any,
    book: Ledger,
    how: str,
    result: object,
    attempts: int,
) -> None:
    await serve(tasks)

    assert await asyncio.wait_for(client.run_workflow("retries.tasks", "t", {"how": how}), 10) == (
        result
    )
    assert book.count("attempt") == attempts
    failed = await count(database, "events", "kind = 'task.attempt_failed'")
    assert failed == max(0, attempts - 1)
    if how == "later":
        first, second = book.entries("attempt")
        assert second.at - first.at > 0.45
    if how == "thread fails":
        assert await count(database, "events", "name = 'renamed' and kind = 'task.failed'") == 1
