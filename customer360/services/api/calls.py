"""Answers from the store, and what is said where it cannot be read."""

from __future__ import annotations

from customer360.services.api.schemas import Affinity, Readiness
from customer360.services.api.visits import unknown_customer
from customer360.services.store.reading import StoreReader, StoreView


def profile_of(view: StoreView, customer_id: str) -> bytes:
    """The profile of a customer: JSON of ``schemas.Profile``. Raises ``Problem`` 404 for an unknown one."""
    found = view.profile(customer_id)
    if found is None:
        raise unknown_customer()
    return view.head + found[1:]


def readiness(reader: StoreReader) -> Readiness:
    """Of which version the store is. Raises ``StoreError`` where it cannot be read."""
    with reader.view() as view:
        return Readiness("ready", view.meta.version, view.meta.as_of)


def affinities(categories: tuple[str, ...], probabilities: list[float]) -> list[Affinity]:
    """The most probable first, equal ones by category; empty without a champion."""
    pairs = sorted(zip(categories, probabilities, strict=False), key=lambda pair: (-pair[1], pair[0]))
    return [Affinity(category, probability) for category, probability in pairs]
