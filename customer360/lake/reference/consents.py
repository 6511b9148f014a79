"""Consents as they stand now, read from the reference table itself: a withdrawn one must not wait for the next transform."""

from __future__ import annotations

from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference_history import reference_relation
from customer360.settings import Place, Shop


def consents_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer and channel: customer_id, channel, is_allowed. What is not said is not allowed."""
    relation = reference_relation(place, reference_tables(shop)["customers"])
    return " union all ".join(
        f"select customer_id, {literal(channel)} as channel, coalesce({quoted(f'consent_{channel}')}, false) as is_allowed "
        f"from ({relation}) where valid_to is null"
        for channel in shop.channels
    )
