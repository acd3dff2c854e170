"""The order's side effects. Each is recorded once it is done, and not done again after that.

A task that was cut off (its worker died in the middle) is called again: so each gives its service
something to know a repetition by, here the order's id and the item.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from datetime import timedelta

from examples.order.ledger import effect
from examples.order.model import CarrierBusyError, PaymentDeclinedError
from grctl.models import RetryPolicy
from grctl.worker import task

UNTIL_THE_CARRIER_ANSWERS = RetryPolicy(
    max_attempts=5, initial_delay_ms=100, retryable_errors=["CarrierBusyError"]
)

_asked_once: set[str] = set()


@task
async def reserve_item(order_id: str, item: str) -> str:
    """Put an item aside; gives the number of the reservation."""
    async with effect("reserve_item", order_id=order_id, item=item):
        await _service_works()
        return f"{order_id}/{item}"


@task(timeout=timedelta(seconds=10))
async def charge_card(order_id: str, card: str, amount_cents: int) -> str:
    """Charge the card; gives the number of the receipt. PaymentDeclinedError if it is refused."""
    async with effect("charge_card", order_id=order_id, card=card, amount_cents=amount_cents):
        await _service_works()
        if card == "expired":
            raise PaymentDeclinedError(f"the bank declines {amount_cents / 100:.2f}")
        return f"receipt-{order_id}"


@task(retry_policy=UNTIL_THE_CARRIER_ANSWERS)
async def book_carrier(order_id: str) -> str:
    """Order a pick-up; gives its number. The carrier is often busy when first asked."""
    async with effect("book_carrier", order_id=order_id):
        await _service_works()
        if zlib.crc32(order_id.encode()) % 3 == 0 and order_id not in _asked_once:
            _asked_once.add(order_id)
            raise CarrierBusyError("all lines are busy")
        return f"pickup-{order_id}"


@task
async def ship_parcel(reservation: str, pickup: str) -> str:
    """Hand a reserved item to the carrier; gives the number of the parcel."""
    async with effect("ship_parcel", reservation=reservation, pickup=pickup):
        await _service_works()
        return f"parcel-{reservation}"


@task
async def release_item(reservation: str) -> None:
    """Put a reserved item back on the shelf."""
    async with effect("release_item", reservation=reservation):
        await _service_works()


async def _service_works() -> None:
    """Somebody else's service takes its time."""
    await asyncio.sleep(random.uniform(0.05, 0.2))
