"""What a decision knows of a customer: plain values, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec


class Planned(msgspec.Struct, frozen=True):
    """A contact of an approved campaign plan: its campaign, the offer that it carries, and the customer's day."""

    campaign_id: str
    offer_id: str
    contact_date: date


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """What the priority list chooses for a customer, found before, and why. It holds for books of one ``basis`` alone.

    ``eligible``: as ``Book.pool`` reads it, so that offers that start, end or run out change nothing here.
    """

    eligible: str
    offer_id: str
    reason: str
    affinity: float | None = None


class Customer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A known customer, or a visitor without history.

    ``products``: (product_id, probability), the most probable first. ``tastes``: category_id -> weight, of any scale.
    ``activity_rank``: 1 for the most active of the last 24 hours, None without activity. ``attributes``: numeric attributes of
    the reference table ``customers``. ``shown``: offer_id -> times shown in the last 24 hours and 30 days.

    ``is_held_out``: of the global holdout. ``withheld``: offers of campaigns that hold the customer out. ``listed``: what
    follows from all of these, where it was found before (``decisions.with_listed``).
    """

    customer_id: str
    segment: str | None = None
    activity_rank: int | None = None
    products: tuple[tuple[str, float], ...] = ()
    tastes: Mapping[str, float] = {}
    attributes: Mapping[str, float] = {}
    shown: Mapping[str, tuple[int, int]] = {}
    planned: Planned | None = None
    is_held_out: bool = False
    withheld: frozenset[str] = frozenset()
    listed: Listed | None = None


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Customer)


def encode(customer: Customer) -> bytes:
    """The customer as JSON; equal customers have equal bytes."""
    return _encoder.encode(customer)


def decode(inputs: bytes) -> Customer:
    """The customer of such JSON. Raises ``msgspec.DecodeError`` where it is none."""
    return _decoder.decode(inputs)
