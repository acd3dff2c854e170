"""A user's program, as strict type checkers must see it. It is checked, not run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar, assert_type
from uuid import UUID

from pydantic import BaseModel

from grctl.client import Client, Connection, WorkflowHandle
from grctl.models import HistoryEvent, RetryPolicy, RunInfo
from grctl.testing import Sandbox
from grctl.worker import ChildOutcome, Context, Worker, task
from grctl.workflow import Directive, Workflow

T = TypeVar("T")


class Order(BaseModel):
    number: int
    items: list[str]


@task
async def charge(card: str, cents: int) -> str:
    return f"{card}: {cents}"


@task(retry_policy=RetryPolicy(max_attempts=3), timeout=timedelta(seconds=5))
async def reserve(order: Order) -> list[str]:
    return order.items


@task
def read_file(path: str) -> bytes:
    return path.encode()


@task
async def look_up(query: dict[str, Any]) -> dict[str, Any]:
    return query


@task(name="echo")
def echo(value: T) -> T:
    return value


@dataclass
class Shop:
    name: str

    @task
    async def stock(self, item: str) -> list[Any]:
        return [self.name, item]


order = Workflow("order")


@order.start(timeout=timedelta(days=1))
async def begin(ctx: Context, order: Order) -> Directive:
    charged = await charge("card", cents=5)
    assert_type(charged, str)
    assert_type(await reserve(order), list[str])
    assert_type(await read_file("x"), bytes)
    assert_type(await look_up({"a": 1}), dict[str, Any])
    assert_type(await asyncio.wait_for(look_up({}), 5), dict[str, Any])
    assert_type(await echo(3), int)
    assert_type(await Shop("x").stock("book"), list[Any])
    both = await asyncio.gather(charge("a", 1), reserve(order))
    assert_type(both, tuple[str, list[str]])
    assert_type(await ctx.now(), datetime)
    assert_type(await ctx.random(), float)
    assert_type(await ctx.uuid4(), UUID)
    assert_type(ctx.cancel_requested, bool)
    ctx.store.put("order", order)
    assert_type(await ctx.store.get("order", Order), Order)
    await ctx.sleep(timedelta(seconds=1))
    return ctx.next.step(finish, delay=timedelta(minutes=1))


@order.step(retry_policy=RetryPolicy(max_attempts=2))
async def finish(ctx: Context) -> Directive:
    await ctx.start_child("order", "child", {"order": {}}, on_completed_step=done)
    return ctx.next.wait(timeout=timedelta(days=1), on_timeout=finish)


@order.step()
async def done(ctx: Context, outcome: ChildOutcome[str]) -> Directive:
    assert_type(outcome.unwrap(), str)
    return ctx.next.complete({"ok": outcome.ok})


@order.event(name="paid")
async def on_paid(ctx: Context, amount: int) -> Directive:
    return ctx.next.continue_as_new(order=amount)


@order.query()
async def status(ctx: Context) -> str:
    return await ctx.store.get("status", str)


async def main() -> None:
    async with await Connection.connect() as connection:
        client = Client(connection)
        handle = await client.start_workflow("order", "order-7", {"order": 1})
        assert_type(handle, WorkflowHandle)
        await handle.send("paid", 5)
        assert_type(handle.run_info, RunInfo)
        assert_type(await client.describe("order-7"), RunInfo)
        assert_type(await client.get_history("order-7"), list[HistoryEvent])
        assert_type(await handle.result(timeout=5), Any)
        assert_type(await handle.result(return_type=Order), Order)
        assert_type(await client.run_workflow("order", "order-8", return_type=str), str)
        worker = Worker([order], connection, concurrency=10)
        await worker.start()
    async with Sandbox(order, concurrency=1) as sandbox:
        assert_type(sandbox, Sandbox)
        await sandbox.advance(timedelta(days=1))
