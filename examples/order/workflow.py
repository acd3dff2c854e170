"""The order workflow: four steps, each the place to go on from after a crash."""

from __future__ import annotations

import asyncio

from examples.order.model import Order, PaymentDeclinedError, Shipment
from examples.order.tasks import (
    book_carrier,
    charge_card,
    release_item,
    reserve_item,
    ship_parcel,
)
from grctl.models import ErrorDetails
from grctl.worker import Context
from grctl.workflow import Directive, Workflow

workflow = Workflow("order")


@workflow.start()
async def reserve(ctx: Context, order: Order) -> Directive:
    """Reserve all items at once."""
    reservations = await asyncio.gather(*(reserve_item(order.id, item) for item in order.items))
    ctx.store.put("order", order)
    ctx.store.put("reservations", reservations)
    return ctx.next.step(charge)


@workflow.step()
async def charge(ctx: Context) -> Directive:
    """Charge the card; a declined one undoes the order."""
    order = await ctx.store.get("order", Order)
    try:
        receipt = await charge_card(order.id, order.card, order.amount_cents)
    except PaymentDeclinedError as declined:
        ctx.store.put("declined", str(declined))
        return ctx.next.step(undo)
    ctx.store.put("receipt", receipt)
    return ctx.next.step(ship)


@workflow.step()
async def ship(ctx: Context) -> Directive:
    """Book one pick-up for all parcels, and ship them."""
    order = await ctx.store.get("order", Order)
    reservations = await ctx.store.get("reservations", list[str])
    pickup = await book_carrier(order.id)
    parcels = await asyncio.gather(*(ship_parcel(each, pickup) for each in reservations))
    receipt = await ctx.store.get("receipt", str)
    return ctx.next.complete(Shipment(receipt, parcels))


@workflow.step()
async def undo(ctx: Context) -> Directive:
    """Compensate: nothing stays reserved, and the customer is told why."""
    reservations = await ctx.store.get("reservations", list[str])
    await asyncio.gather(*(release_item(each) for each in reservations))
    reason = await ctx.store.get("declined", str)
    return ctx.next.fail(ErrorDetails(type="PaymentDeclined", message=reason))
