"""Every type of value through a real database: what a task returned is what a replay returns."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict
from uuid import UUID

import pydantic
import pytest

from grctl.client import Client
from grctl.errors import StepFailed, StoreKeyNotFoundError
from grctl.worker import Context, Worker, task
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    when: datetime


class Pair(NamedTuple):
    left: int
    right: str


class Shape(TypedDict):
    name: str
    sides: int


class Order(pydantic.BaseModel):
    lines: list[Pair]
    total: Decimal


MOMENT = datetime(2024, 2, 29, 12, 30, 1, 250, tzinfo=UTC)
VALUES: list[tuple[Any, Any]] = [
    (str, "plain"),
    (str, "nul \0 inside"),
    (str, "lone \ud800 surrogate"),
    (str, '\u2028 😀 \\u0000 "quoted"'),
    (int, 2**200),
    (int, -(2**63) - 1),
    (float, -0.0),
    (float, 1e308),
    (float, 5e-324),
    (bool, True),
    (None, None),
    (list[int], [3, 1, 2]),
    (dict[str, int], {"z": 1, "a": 2, "m": 3}),
    (dict[int, str], {10: "ten", 9: "nine"}),
    (tuple[int, str], (1, "a")),
    (set[int], {1, 2, 3}),
    (frozenset[str], frozenset({"a", "b"})),
    (bytes, b"\x00\xff raw"),
    (datetime, MOMENT),
    (date, date(1, 1, 1)),
    (time, time(23, 59, 59, 999999)),
    (timedelta, timedelta(days=-1, microseconds=7)),
    (UUID, UUID(int=7)),
    (Decimal, Decimal("1.10")),
    (Colour, Colour.RED),
    (Point, Point(1, MOMENT)),
    (Pair, Pair(1, "r")),
    (Shape, {"name": "square", "sides": 4}),
    (Order, Order(lines=[Pair(1, "a")], total=Decimal("0.10"))),
    (list[dict[str, list[Point | None]]], [{"k": [None, Point(2, MOMENT)]}]),
]


@pytest.mark.parametrize("place", ["task", "store", "input", "result"])
async def test_every_type_comes_back_as_it_was(  # noqa: C901  one test of four ways
    client: Client, serve: Any, lose: Any, place: str
) -> None:
    gate, seen = asyncio.Event(), []
    workflow = Workflow("values")

    def giving(annotation: Any, value: Any) -> Any:
        async def give() -> Any:
            return value

        give.__annotations__["return"] = annotation
        return task(give)

    tasks = [giving(annotation, value) for annotation, value in VALUES]

    @workflow.start()
    async def start(ctx: Context, given: Any = None) -> Directive:
        if place == "store":
            for number, (_, value) in enumerate(VALUES):
                ctx.store.put(str(number), value)
            return ctx.next.step(look)
        seen.append([await each() for each in tasks])
        await gate.wait()
        return ctx.next.complete()

    @workflow.step()
    async def look(ctx: Context) -> Directive:
        seen.append([
            await ctx.store.get(str(number), annotation)
            for number, (annotation, _) in enumerate(VALUES)
        ])  # fmt: skip
        return ctx.next.complete()

    worker: Worker = await serve(workflow)
    if place == "task":
        handle = await client.start_workflow("values", "a")
        await wait_until(lambda: len(seen) == 1, "the step came to its gate")
        await lose(worker)
        await wait_until(lambda: len(seen) == 2, "and again, by replay")
        gate.set()
        await handle.result(timeout=10)
    elif place == "store":
        await client.run_workflow("values", "a")
    else:
        seen.append(await through_a_run(client, serve, place))

    for found in seen:
        for (_, value), each in zip(VALUES, found, strict=True):
            assert each == value
            assert type(each) is type(value)
            # So that -0.0 and the order of keys count, too. (Pydantic has a UTC of its own.)
            assert repr(each).replace("TzInfo(0)", "datetime.timezone.utc") == repr(value)


async def through_a_run(client: Client, serve: Any, place: str) -> list[Any]:
    """Each value as a workflow's input, or as its result."""
    found: list[Any] = []
    for number, (annotation, value) in enumerate(VALUES):
        workflow = Workflow(f"value {number}")

        async def start(ctx: Context, given: Any) -> Directive:
            found.append(given)
            return ctx.next.complete(given)

        start.__annotations__["given"] = annotation
        workflow.start()(start)
        await serve(workflow, changed={"lease_seconds": 30.0})
        result = await client.run_workflow(
            workflow.workflow_type, "one", {"given": value}, return_type=annotation
        )
        if place == "result":
            found[-1] = result
    return found


@task
async def two_points() -> list["Point"]:  # noqa: UP037 - that is what is tested
    return [Point(1, MOMENT), Point(2, MOMENT)]


@task
async def half(of: Fraction) -> float:
    return float(of / 2)


@task
async def third(of: float) -> Fraction:
    return of / 3  # type: ignore[return-value]  # it is never called with success


async def test_of_a_tasks_annotations_the_return_is_resolved_to_its_last_name(
    client: Client, serve: Any
) -> None:
    """And no other: what its parameters are annotated with may be known to type checkers only."""
    workflow = Workflow("annotated")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        x = [point.x for point in await two_points()]
        try:
            await third(1.0)
        except TypeError as error:
            return ctx.next.complete([x, await half(3), str(error)])
        raise AssertionError

    await serve(workflow)
    points, halved, refusal = await client.run_workflow("annotated", "a")
    assert (points, halved) == ([1, 2], 1.5)
    assert refusal.startswith("task 'third': its return annotation 'Fraction' cannot be resolved")


async def test_changing_a_result_changes_no_record(client: Client, serve: Any, lose: Any) -> None:
    gate, seen = asyncio.Event(), []
    original: dict[str, list[int]] = {"n": [1]}
    workflow = Workflow("mutable")

    @task
    async def give() -> dict[str, list[int]]:
        return original

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        got = await give()
        seen.append(repr(got))
        got["n"].append(len(seen))
        await gate.wait()
        return ctx.next.complete(got)

    worker = await serve(workflow)
    handle = await client.start_workflow("mutable", "a")
    await wait_until(lambda: len(seen) == 1, "the step came to its gate")
    await lose(worker)
    await wait_until(lambda: len(seen) == 2, "and again")
    gate.set()
    await handle.result(timeout=10)

    assert seen == ["{'n': [1]}", "{'n': [1]}"]
    assert original == {"n": [1]}


async def test_the_store_sees_its_own_writes_and_lands_with_the_step(
    database: Database, client: Client, serve: Any
) -> None:
    workflow, seen = Workflow("store"), []

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        items = [1]
        ctx.store.put("a", items)
        items.append(2)  # a later change of the object changes nothing
        ctx.store.put("b", 1)
        ctx.store.put("b", "two")
        ctx.store.put("gone", 0)
        ctx.store.delete("gone")
        seen.append([await ctx.store.get("a"), await ctx.store.get("b"), await ctx.store.keys()])
        seen.append(await database.fetchval("select count(*) from grctl.store"))
        return ctx.next.step(then)

    @workflow.step()
    async def then(ctx: Context) -> Directive:
        seen.append(await ctx.store.keys())
        ctx.store.delete("a")
        ctx.store.delete("never there")
        seen.append(await ctx.store.get("a", default="default"))
        try:
            await ctx.store.get("a", list)
        except StoreKeyNotFoundError as error:
            seen.append((error.key, isinstance(error, KeyError)))
        for bad in ("", "k" * 256, 3, "a\0"):
            with pytest.raises(ValueError, match="a store key must"):
                ctx.store.put(bad, 1)  # type: ignore[arg-type]  # that is the test
        return ctx.next.complete(await ctx.store.keys())

    await serve(workflow)
    assert await client.run_workflow("store", "a") == ["b"]
    assert seen == [[[1], "two", ["a", "b"]], 0, ["a", "b"], "default", ("a", True)]
    rows = await database.fetch("select key, value #>> '{}' as value from grctl.store")
    assert [tuple(row) for row in rows] == [("b", "two")]


async def test_a_task_writes_nothing_to_the_store(database: Database, client: Client, serve: Any):
    """A replay would not call it: the write would be lost."""
    workflow = Workflow("writing")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        @task
        async def write(how: str) -> None:
            if how == "put":
                ctx.store.put("k", 1)
            else:
                ctx.store.delete("k")

        refusals = []
        for how in ("put", "delete"):
            try:
                await write(how)
            except RuntimeError as error:
                refusals.append(str(error))
        ctx.store.put("refusals", refusals)
        return ctx.next.complete(refusals)

    await serve(workflow)
    refusals = await client.run_workflow("writing", "a")
    assert len(refusals) == 2
    assert all("but a @task changes 'k'" in each for each in refusals)
    assert await database.fetchval("select string_agg(key, ',') from grctl.store") == "refusals"


async def test_what_a_step_left_behind_writes_no_more_to_the_store(
    database: Database, client: Client, serve: Any
) -> None:
    workflow, left = Workflow("late"), []

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        async def leave() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ctx.store.put("late", 1)

        ctx.store.put("in time", await ctx.store.keys())
        left.append(asyncio.create_task(leave()))
        await asyncio.sleep(0)  # it has begun, and is cancelled when the step has returned
        return ctx.next.step(then)

    @workflow.step()
    async def then(ctx: Context) -> Directive:
        return ctx.next.complete(await ctx.store.keys())

    await serve(workflow)
    assert await client.run_workflow("late", "a") == ["in time"]
    assert await database.fetchval("select string_agg(key, ',') from grctl.store") == "in time"
    refusal = left[0].exception()
    assert isinstance(refusal, RuntimeError)
    assert "'late' in ctx.store" in str(refusal)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "input of task 'take'.*share"),
        ([float("inf")], "input of task 'take'.*share"),
        ({"k": object()}, "input of task 'take'.*share"),
        ("x" * (2 * 1024 * 1024), "input of task 'take'.*2097152"),
    ],
)
async def test_what_cannot_be_recorded_is_refused_by_name(
    client: Client, serve: Any, value: Any, message: str
) -> None:
    workflow = Workflow("refused")

    @task
    async def take(share: Any) -> None:
        raise AssertionError("it is never called")

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        await take(value)
        return ctx.next.complete()

    await serve(workflow)
    with pytest.raises(StepFailed, match=f"(?s){message}"):
        await client.run_workflow("refused", "a")


@pytest.mark.parametrize("depth", [50, 5_000])
async def test_deep_values_round_trip_or_are_refused(
    client: Client, serve: Any, depth: int
) -> None:
    workflow = Workflow("deep")

    @task
    async def nest() -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    @workflow.start()
    async def start(ctx: Context) -> Directive:
        value, found = await nest(), 0
        while isinstance(value, list):
            value, found = value[0], found + 1
        return ctx.next.complete(found)

    await serve(workflow)
    if depth == 50:
        assert await client.run_workflow("deep", "a") == depth
    else:
        with pytest.raises(StepFailed, match="result of task 'nest'"):
            await client.run_workflow("deep", "a")
