"""Tasks: recorded before their caller goes on, retried as their policy says, never called again."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.errors import StepFailed, TaskError
from grctl.models import RetryPolicy
from grctl.worker import Context, Worker, task
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until

Execute = Callable[..., Awaitable[Any]]


class PaymentDeclinedError(Exception):
    """With a constructor of its own."""

    def __init__(self, code: str, *, amount: int) -> None:
        super().__init__(f"declined: {code}")
        self.code = code
        self.amount = amount


@task
async def add(a: int, b: int) -> int:
    return a + b


@task
def whose_thread() -> str:
    return threading.current_thread().name


@task(timeout=timedelta(milliseconds=50))
async def endless() -> None:
    await asyncio.Event().wait()


@task
async def decline(amount: int) -> None:
    raise PaymentDeclinedError("insufficient", amount=amount)


async def rows(database: Database, kinds: str = "task.%") -> list[tuple[Any, ...]]:
    found = await database.fetch(
        "select kind, name, attempt from grctl.events where kind like $1 order by seq", kinds
    )
    return [tuple(row) for row in found]


async def test_a_task_called_outside_a_step_is_just_the_function() -> None:
    assert await add(1, 2) == 3
    assert whose_thread.__name__ == "whose_thread"


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"timeout": 5}, TypeError, "a task's timeout must be a timedelta or None, not int 5"),
        ({"timeout": timedelta(0)}, ValueError, "a task's timeout must be positive"),
        ({"retry_policy": {"max_attempts": 3}}, TypeError, "must be a RetryPolicy or None, not {"),
        ({"retry_policy": RetryPolicy}, TypeError, "must be a RetryPolicy or None, not <class"),
        ({"name": "a\0b"}, ValueError, "name must be a string without NUL"),
        ({"name": 5}, ValueError, "name must be a string .* not 5"),
    ],
)
def test_what_is_wrong_with_a_task_is_said_at_its_decoration(
    wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        task(**wrong)(add)


async def test_arguments_that_do_not_fit_are_told_with_the_tasks_name(execute: Execute) -> None:
    async def start(ctx: Context) -> Directive:
        with pytest.raises(TypeError, match="task 'add': too many positional arguments"):
            await add(1, 2, 3)  # type: ignore[call-arg]  # that is the test
        return ctx.next.complete()

    await execute(start)


async def test_a_task_is_committed_before_its_caller_goes_on(
    database: Database, execute: Execute
) -> None:
    seen = []

    async def start(ctx: Context) -> Directive:
        result = await add(1, 2)
        seen.append(await database.fetchval("select body #>> '{}' from grctl.events"))
        return ctx.next.complete(result)

    assert await execute(start) == 3
    assert seen == ["3"]
    row = await database.fetchrow("select input, body, op, micros from grctl.events where seq = 1")
    assert row is not None
    assert (row["input"], row["body"], row["op"]) == ('{"a":1,"b":2}', "3", "1")
    assert row["micros"] >= 0


async def test_a_plain_function_runs_in_a_thread(execute: Execute) -> None:
    async def start(ctx: Context) -> Directive:
        return ctx.next.complete(await whose_thread())

    assert await execute(start) != threading.main_thread().name


async def test_a_plain_function_that_raises_stop_iteration_fails_and_does_not_hang(
    database: Database, execute: Execute
) -> None:
    @task
    def first(numbers: list[int]) -> int:
        return next(number for number in numbers if number > 5)

    async def start(ctx: Context) -> Directive:
        try:
            async with asyncio.timeout(10):
                await first([1, 2])
        except RuntimeError as error:
            return ctx.next.complete(str(error))
        raise AssertionError

    assert (await execute(start)).endswith("first raised StopIteration")
    assert await rows(database) == [("task.failed", "first", 1)]


def logged(fn: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    """As many decorators are written: what it makes of an ``async def`` is none."""

    @functools.wraps(fn)
    def call(*args: Any) -> Awaitable[int]:
        return fn(*args)

    return call


class Adder:
    async def __call__(self, a: int, b: int) -> int:
        return a + b


async def test_what_gives_an_awaitable_is_awaited_as_its_type_says(execute: Execute) -> None:
    decorated, twice, called = task(logged(add)), task(task(add)), task(Adder())

    async def start(ctx: Context) -> Directive:
        return ctx.next.complete([await decorated(1, 2), await twice(3, 4), await called(5, 6)])

    assert await execute(start) == [3, 7, 11]


async def test_a_task_called_within_a_task_is_part_of_it(
    database: Database, execute: Execute
) -> None:
    @task
    async def outer() -> int:
        return await add(20, 22)

    async def start(ctx: Context) -> Directive:
        return ctx.next.complete(await outer())

    assert await execute(start) == 42
    assert await rows(database) == [("task.completed", "outer", 1)]


@pytest.mark.parametrize("how", ["gather", "group", "wait", "as_completed", "timeout", "shield"])
async def test_tasks_run_in_parallel_by_any_means_of_asyncio(execute: Execute, how: str) -> None:
    barrier = asyncio.Barrier(3)

    @task
    async def meet(number: int) -> int:
        await barrier.wait()  # none ends before all have begun
        return number

    async def start(ctx: Context) -> Directive:
        calls = [meet(number) for number in range(3)]
        if how == "gather":
            found = await asyncio.gather(*calls)
        elif how == "group":
            async with asyncio.TaskGroup() as group:
                made = [group.create_task(call) for call in calls]
            found = [each.result() for each in made]
        elif how == "wait":
            done, _ = await asyncio.wait([asyncio.ensure_future(call) for call in calls])
            found = [each.result() for each in done]
        elif how == "as_completed":
            found = [await each for each in asyncio.as_completed(calls)]
        elif how == "timeout":
            async with asyncio.timeout(10):
                found = await asyncio.gather(*calls)
        else:
            found = await asyncio.shield(asyncio.gather(*calls))
        return ctx.next.complete(sorted(found))

    assert await execute(start) == [0, 1, 2]


async def test_an_error_is_caught_in_the_step_as_what_it_is(execute: Execute) -> None:
    async def start(ctx: Context) -> Directive:
        try:
            await decline(700)
        except PaymentDeclinedError as error:
            return ctx.next.complete([error.code, error.amount, list(error.args), str(error)])
        raise AssertionError

    text = "declined: insufficient"
    assert await execute(start) == ["insufficient", 700, [text], text]


async def test_an_error_whose_class_cannot_be_found_is_a_task_error_on_both_paths(
    database: Database, client: Client, serve: Any, lose: Any
) -> None:
    gate, seen = asyncio.Event(), []
    calls = 0

    @task
    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise type("GoneError", (Exception,), {})("a class of no module")

    workflow = Workflow("gone")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        try:
            await fail()
        except Exception as error:  # noqa: BLE001 - its class is the point
            seen.append(error)
        await gate.wait()
        return ctx.next.complete()

    worker = await serve(workflow)
    handle = await client.start_workflow("gone", "a")
    await wait_until(lambda: len(seen) == 1, "the error was raised")
    await lose(worker)
    await wait_until(lambda: len(seen) == 2, "the error was raised again")
    gate.set()
    await handle.result(timeout=10)

    assert calls == 1
    assert type(seen[0].__cause__).__name__ == "GoneError"
    for each in seen:
        assert isinstance(each, TaskError)
        assert (each.type, each.message) == ("GoneError", "a class of no module")


class RefusedError(Exception):
    """As those of HTTP clients are: with an answer that cannot be recorded."""

    def __init__(self, status: int, answer: object) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.answer = answer


async def test_an_error_has_the_same_attributes_on_both_paths(
    client: Client, serve: Any, lose: Any
) -> None:
    gate, seen = asyncio.Event(), []

    @task
    async def ask() -> None:
        raise RefusedError(404, answer=object())

    workflow = Workflow("refused")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        try:
            await ask()
        except RefusedError as error:
            seen.append((str(error), error.args, vars(error)))
        await gate.wait()
        return ctx.next.complete()

    worker = await serve(workflow)
    handle = await client.start_workflow("refused", "a")
    await wait_until(lambda: len(seen) == 1, "the error was raised")
    await lose(worker)
    await wait_until(lambda: len(seen) == 2, "the error was raised again")
    gate.set()
    await handle.result(timeout=10)

    assert seen == [("status 404", ("status 404",), {"status": 404})] * 2


async def test_a_compensation_undoes_what_was_done(database: Database, execute: Execute) -> None:
    done: list[str] = []

    @task
    async def book(what: str) -> str:
        if what == "hotel":
            raise ConnectionError("full")
        done.append(f"+{what}")
        return what

    @task
    async def cancel(what: str) -> None:
        done.append(f"-{what}")

    async def start(ctx: Context) -> Directive:
        booked = []
        try:
            for what in ("flight", "car", "hotel"):
                done_now = await book(what)
                booked.append(done_now)
        except ConnectionError as error:
            for what in reversed(booked):
                await cancel(what)
            return ctx.next.complete(f"undone: {error}")
        return ctx.next.complete("booked")

    assert await execute(start) == "undone: full"
    assert done == ["+flight", "+car", "-car", "-flight"]


async def test_a_task_that_takes_too_long_fails_with_a_timeout_error(execute: Execute) -> None:
    async def start(ctx: Context) -> Directive:
        try:
            await endless()
        except TimeoutError as error:
            return ctx.next.complete(str(error))
        raise AssertionError

    assert await execute(start) == "task 'endless' did not end within its timeout of 0.05 s"


async def test_replay_calls_nothing_again_and_gives_each_its_outcome(
    database: Database, client: Client, serve: Any, lose: Any
) -> None:
    gate, calls, seen = asyncio.Event(), [], []

    @task
    async def work(number: int) -> int:
        calls.append(number)
        if number == 2:
            raise PaymentDeclinedError("two", amount=2)
        return number * 10

    workflow = Workflow("again")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        found = await asyncio.gather(*(work(n) for n in range(4)), return_exceptions=True)
        moment = (await ctx.now(), await ctx.random(), await ctx.uuid4())
        seen.append(([repr(each) for each in found], repr(moment), ctx.logger is not None))
        await gate.wait()
        return ctx.next.complete([each for each in found if isinstance(each, int)])

    worker: Worker = await serve(workflow)
    handle = await client.start_workflow("again", "a")
    for times in (1, 2, 3):
        await wait_until(lambda times=times: len(seen) == times, "the step came to its gate")
        if times < 3:
            await lose(worker)
    gate.set()

    assert await handle.result(timeout=10) == [0, 10, 30]
    assert calls == [0, 1, 2, 3]
    assert seen[0] == seen[1] == seen[2]
    seqs = await database.fetch("select seq from grctl.events order by seq")
    assert [row["seq"] for row in seqs] == list(range(1, len(seqs) + 1))


async def test_a_task_that_leaves_asyncio_tasks_behind_harms_nobody(
    client: Client, execute: Execute
) -> None:
    left: list[asyncio.Task[Any]] = []

    @task
    async def leave() -> str:
        left.append(asyncio.create_task(asyncio.sleep(3600)))
        return "left"

    async def start(ctx: Context) -> Directive:
        return ctx.next.complete(await leave())

    assert await execute(start) == "left"
    for each in left:
        each.cancel()


async def test_an_operation_after_the_steps_end_is_refused(execute: Execute) -> None:
    refusals: asyncio.Queue[BaseException] = asyncio.Queue()

    async def straggler(step: asyncio.Task[Any]) -> None:
        while not step.done():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                break
        try:
            await add(1, 1)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            refusals.put_nowait(error)

    async def start(ctx: Context) -> Directive:
        current = asyncio.current_task()
        assert current is not None
        asyncio.create_task(straggler(current))  # noqa: RUF006 - it is left behind
        await add(1, 2)
        return ctx.next.complete("ended")

    assert await execute(start) == "ended"
    refusal = await asyncio.wait_for(refusals.get(), 10)
    assert "step 'start' has ended" in str(refusal)


async def test_a_result_that_cannot_be_recorded_fails_the_task_and_is_not_repeated(
    execute: Execute,
) -> None:
    calls = 0

    @task(retry_policy=RetryPolicy(5, initial_delay_ms=1))
    async def work() -> object:
        nonlocal calls
        calls += 1
        return object()

    async def start(ctx: Context) -> Directive:
        await work()
        raise AssertionError

    with pytest.raises(StepFailed, match="result of task 'work'"):
        await execute(start)
    assert calls == 1
