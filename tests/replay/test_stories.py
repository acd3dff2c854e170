"""What a step may rely on, told one by one: cancellations, timeouts, bodies, what is left behind.

Each story is run with many dice, lives twice where it says so, and is then replayed in full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from grctl.errors import NonDeterminismError
from grctl.models.directive import RetryPolicy
from grctl.worker.task import task
from tests.replay.checks import check_replay, run_through
from tests.replay.journal import Table
from tests.replay.lives import Life, live
from tests.replay.programs import Seen
from tests.replay.world import act, persist

DICE = range(12)
Look = Callable[[Life, Table], None]


def tell(
    story: Any, look: Look, crashes: tuple[int, ...] = (), cancel_at: float | None = None
) -> None:
    for seed in DICE:
        life, table = run_through(story, seed, list(crashes), cancel_at)
        look(life, table)
        check_replay(story, life, table, seed, cancel_at)


def kinds(table: Table, *names: str) -> list[str]:
    return [row.kind for row in table.rows if row.name in names]


async def end_of(task: asyncio.Task[Any]) -> str:
    """Its result, or the name of its error."""
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    return type(outcome).__name__ if isinstance(outcome, BaseException) else str(outcome)


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# --- cancellation ---


def test_a_cancellation_that_comes_while_an_outcome_is_recorded_is_told_at_the_next_operation():
    async def victim() -> None:
        await act("first", "at once")
        await persist("second", "works")

    async def story(seen: Seen) -> Any:
        task = asyncio.create_task(victim())
        await turns(1)
        task.cancel()
        return await end_of(task)

    def look(life: Life, table: Table) -> None:
        assert life.outcome == "CancelledError"
        assert kinds(table, "act") == ["task.completed"]
        assert kinds(table, "persist") == ["task.cancelled"]
        assert life.world.started["second"] == 0

    tell(story, look)


def test_a_cancellation_that_comes_too_late_for_the_only_operation_leaves_its_result():
    async def story(seen: Seen) -> Any:
        task = asyncio.create_task(act("only", "at once"))
        await turns(1)
        task.cancel()
        return await task

    tell(story, lambda life, _: _is(life.outcome, "done only"), crashes=(1,))


def test_a_timeout_that_came_too_late_is_taken_back_with_its_block():
    async def story(seen: Seen) -> Any:
        async with asyncio.timeout(0):
            await act("first", "at once")
        await persist("second", "works")
        return asyncio.current_task().cancelling()

    def look(life: Life, table: Table) -> None:
        assert life.outcome == 0
        assert kinds(table, "act", "persist") == ["task.completed", "task.completed"]

    tell(story, look)


def test_a_timeout_that_came_too_late_for_one_operation_stops_the_next():
    async def story(seen: Seen) -> Any:
        try:
            async with asyncio.timeout(0):
                await act("first", "at once")
                await seen.ctx.sleep(timedelta(days=1))
        except TimeoutError:
            return await persist("late", "works")

    def look(life: Life, table: Table) -> None:
        assert life.outcome == "done late"
        assert table.now < 100

    tell(story, look)


def test_a_sleep_that_is_cancelled_while_its_start_is_recorded_is_not_slept():
    async def story(seen: Seen) -> Any:
        task = asyncio.create_task(seen.ctx.sleep(timedelta(days=1)))
        await turns(1)
        task.cancel()
        return await end_of(task)

    def look(life: Life, table: Table) -> None:
        assert life.outcome == "CancelledError"
        assert table.now < 100

    tell(story, look)


def test_a_cancellation_that_comes_while_a_failed_attempt_is_recorded_ends_the_attempts():
    @task(retry_policy=RetryPolicy(max_attempts=5))
    async def fails() -> None:
        raise LookupError

    async def story(seen: Seen) -> Any:
        task = asyncio.create_task(fails())
        await turns(1)
        task.cancel()
        return await end_of(task)

    def look(life: Life, table: Table) -> None:
        assert life.outcome == "CancelledError"
        assert kinds(table, "fails") == ["task.attempt_failed", "task.cancelled"]

    tell(story, look)


def test_an_aborted_task_group_ends_a_child_whose_outcome_was_being_recorded():
    async def child() -> None:
        await act("first", "at once")
        await seen_sleep()

    async def failing() -> None:
        raise LookupError("the group is aborted")

    async def story(seen: Seen) -> Any:
        global seen_sleep  # noqa: PLW0603 - the child's only way to the story's ctx

        async def sleep() -> None:
            await seen.ctx.sleep(timedelta(days=1))

        seen_sleep = sleep
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await turns(1)
            group.create_task(failing())

    def look(life: Life, table: Table) -> None:
        assert life.outcome[0] == "ExceptionGroup"
        assert table.now < 100

    tell(story, look)


seen_sleep: Any


def test_code_that_cancels_itself_does_so_on_every_replay():
    async def story(seen: Seen) -> Any:
        asyncio.current_task().cancel()
        try:
            await act("first", "works")
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
            return await persist("second", "works")

    tell(story, lambda life, _: None, crashes=(1, 1))


def test_a_task_that_raises_a_cancellation_itself_does_so_on_every_replay():
    @task
    async def gives_up() -> None:
        raise asyncio.CancelledError

    async def story(seen: Seen) -> Any:
        try:
            await gives_up()
        except asyncio.CancelledError:
            return await act("then", "works")

    tell(story, lambda life, _: _is(life.outcome, "done then"), crashes=(1,))


# --- time ---


def test_a_replay_waits_for_a_timeout_of_the_code_however_long_it_is():
    async def patient() -> Any:
        try:
            async with asyncio.timeout(60):
                await act("hangs", "hangs")
        except TimeoutError:
            return await act("late", "works")

    async def story(seen: Seen) -> Any:
        return await asyncio.gather(patient(), act("other", "works"), persist("flaky", "flaky"))

    tell(
        story,
        lambda life, _: _is(life.outcome, ["done late", "done other", "done flaky"]),
        crashes=(2, 3, 4),
    )


def test_only_the_rest_of_a_sleep_is_slept_after_a_crash():
    async def story(seen: Seen) -> Any:
        await seen.ctx.sleep(timedelta(seconds=100))

    def look(life: Life, table: Table) -> None:
        assert 100 <= table.rows[-1].at - table.rows[0].at < 101

    tell(story, look, crashes=(1,))


def test_a_request_to_cancel_the_run_is_seen_at_the_same_place_again():
    async def story(seen: Seen) -> Any:
        rounds = 0
        while not seen.ctx.cancel_requested:
            await seen.ctx.sleep(timedelta(milliseconds=40))
            rounds = rounds + 1
            await act(f"round {rounds}", "works")
        return rounds

    tell(story, lambda life, _: None, crashes=(3, 3, 3, 3), cancel_at=0.2)


# --- what is the step's, and what is not ---


def test_calls_beside_a_running_task_are_recorded():
    async def story(seen: Seen) -> Any:
        beside = asyncio.create_task(act("slow", "hangs briefly"))
        await turns(3)
        await persist("here", "works")
        return await beside

    def look(life: Life, table: Table) -> None:
        assert kinds(table, "persist") == ["task.completed"]
        assert kinds(table, "act") == ["task.completed"]

    tell(story, look)


def test_what_a_tasks_body_calls_is_not_recorded_though_others_run_beside_it():
    @task
    async def inner(number: int) -> int:
        await asyncio.sleep(0.01 * number)
        return number

    @task
    async def outer(number: int) -> int:
        await asyncio.sleep(0.01 * number)
        return await inner(number) + sum(await asyncio.gather(inner(1), inner(2)))

    async def story(seen: Seen) -> Any:
        return await asyncio.gather(*(outer(number) for number in range(4)))

    def look(life: Life, table: Table) -> None:
        assert life.outcome == [3, 4, 5, 6]
        assert kinds(table, "inner") == []
        assert len(kinds(table, "outer")) == 4

    tell(story, look)


def test_a_step_sees_what_a_replay_would_see_the_first_time():
    @task
    async def price() -> float:
        return 3

    async def story(seen: Seen) -> Any:
        value = await price()
        return [repr(value), await act("pay", "works", value)]

    tell(story, lambda life, _: _is(life.outcome, ["3.0", "done pay"]), crashes=(1,))


def test_an_asyncio_task_that_outlives_its_step_can_record_nothing_more():
    refused: list[str] = []

    async def straggler() -> None:
        await act("first", "at once")
        try:
            await asyncio.sleep(1000)
        finally:
            try:
                await act("second", "works")
            except RuntimeError as error:
                refused.append(str(error))

    async def story(seen: Seen) -> Any:
        seen.left.append(asyncio.create_task(straggler()))
        await persist("main", "works")

    def look(life: Life, table: Table) -> None:
        assert life.world.started["second"] == 0

    tell(story, look)
    assert all("has ended: an asyncio task that it left behind" in each for each in refused)
    assert refused


def test_as_completed_over_task_calls_needs_no_order_of_its_own():
    async def story(seen: Seen) -> Any:
        order = []
        for future in asyncio.as_completed([act(str(n), "works") for n in range(6)]):
            order.append(await future)
            await persist(f"after {len(order)}", "works", order)
        return order

    tell(story, lambda life, _: _is(len(life.outcome), 6), crashes=(2, 3, 2))


# --- code that goes on after it was found out ---


@pytest.mark.parametrize("way", ["caught", "lost in a background task", "in a group"])
def test_a_step_cannot_go_on_as_if_nothing_had_happened(way: str):
    async def before(seen: Seen) -> Any:
        await act("first", "works", "old")
        await act("second", "works")

    async def after(seen: Seen) -> Any:
        changed = act("first", "works", "new")
        if way == "caught":
            try:
                await changed
            except NonDeterminismError:
                return "all is well"
        elif way == "in a group":
            async with asyncio.TaskGroup() as group:
                group.create_task(changed)
        else:
            seen.left.append(asyncio.create_task(changed))
            await turns(5)
        return "all is well"

    table = Table()
    live(before, table, 1, crash_after=1)
    life = live(after, table, 2)

    assert life.outcome[0] == "NonDeterminismError"
    assert not life.world.started


def _is(found: Any, expected: Any) -> None:
    assert found == expected
