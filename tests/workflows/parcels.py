"""Workflows with all that a timeline can show; what they wait for, the input says."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from grctl.models import RetryPolicy
from grctl.worker import ChildOutcome, Context, task
from grctl.workflow import Directive, Workflow

parcels = Workflow("shop.parcels")
courier = Workflow("shop.courier")


class CarrierBusyError(Exception):
    """The carrier takes no parcels just now."""


class AddressUnknownError(Exception):
    """There is no such street."""


async def work(seconds: float) -> None:
    await asyncio.sleep(seconds)


@task
async def weigh(item: str, seconds: float = 0.12) -> dict[str, Any]:
    await work(seconds)
    return {"item": item, "grams": 120 + 40 * len(item)}


@task
async def print_label(order: str, seconds: float = 0.2) -> str:
    await work(seconds)
    return f"label of {order}"


busy: set[str] = set()
"""Calls of carriers that were refused or taken; emptied by whoever begins anew."""


@task(retry_policy=RetryPolicy(max_attempts=4, initial_delay_ms=120, backoff_multiplier=1.6))
async def book_carrier(order: str) -> str:
    await work(0.09)
    calls = sum(each.startswith(f"{order}#") for each in busy)
    busy.add(f"{order}#{calls}")
    if calls < 2:
        raise CarrierBusyError(f"no van is free for {order}")
    return f"pickup of {order}"


@task
async def check_address(address: str) -> str:
    await work(0.05)
    if address.startswith("nowhere"):
        raise AddressUnknownError(f"no such street: {address}")
    return address


@parcels.start()
async def pack(
    ctx: Context,
    order: str,
    items: list[str],
    address: str = "Harbour Street 7",
    pause: float = 0.3,
    weight: float = 0.12,
) -> Directive:
    ctx.store.put("order", order)
    ctx.store.put("weights", await asyncio.gather(*(weigh(item, weight) for item in items)))
    await print_label(order)
    await ctx.now()
    await ctx.sleep(timedelta(seconds=pause))
    ctx.store.put("address", await check_address(address))
    return ctx.next.step(ship)


@parcels.step()
async def ship(ctx: Context) -> Directive:
    order = await ctx.store.get("order")
    pickup, _ = await asyncio.gather(book_carrier(order), print_label(f"{order}/return", 0.35))
    ctx.store.put("pickup", pickup)
    await ctx.start_child(
        "shop.courier", f"{order}/courier", {"order": order}, on_completed_step=delivered
    )
    return ctx.next.wait(timeout=timedelta(days=3), on_timeout=late)


@parcels.event()
async def note(ctx: Context, words: str) -> Directive:
    notes = await ctx.store.get("notes", default=[])
    ctx.store.put("notes", [*notes, words])
    return ctx.next.wait(timeout=timedelta(days=3), on_timeout=late)


@parcels.step()
async def delivered(ctx: Context, outcome: ChildOutcome[str]) -> Directive:
    return ctx.next.complete({"delivered": outcome.result, "number": 12345678901234567890123})


@parcels.step()
async def late(ctx: Context) -> Directive:
    return ctx.next.complete({"delivered": None})


@parcels.query()
async def weights(ctx: Context, above: int = 0) -> list[Any]:
    found: list[Any] = await ctx.store.get("weights", list, default=[])
    return [each for each in found if each["grams"] > above]


@parcels.update()
async def readdress(ctx: Context, address: str) -> tuple[Directive, str]:
    ctx.store.put("address", await check_address(address))
    return ctx.next.wait(timeout=timedelta(days=3), on_timeout=late), f"now to {address}"


@courier.start()
async def drive(ctx: Context, order: str) -> Directive:
    ctx.store.put("order", order)
    return ctx.next.wait()


@courier.event()
async def arrived(ctx: Context, at: str) -> Directive:
    return ctx.next.complete(f"{await ctx.store.get('order')} at {at}")


ALL = [parcels, courier]
