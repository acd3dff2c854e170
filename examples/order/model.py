"""What an order is made of, and what can go wrong with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer has asked for."""

    id: str
    items: list[str]
    card: str
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Shipment:
    """What the customer gets to know."""

    receipt: str
    parcels: list[str]


class PaymentDeclinedError(Exception):
    """The bank does not pay; asking again would change nothing."""


class CarrierBusyError(Exception):
    """The carrier takes no parcels just now."""
