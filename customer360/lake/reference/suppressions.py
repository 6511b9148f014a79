"""Who must not be contacted, read from the reference table itself: a complaint must not wait for the next transform."""

from __future__ import annotations

from customer360.lake.engine import literal
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference_history import reference_relation
from customer360.settings import Place, Shop


def suppressions_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer and channel that is suppressed: customer_id, channel, reason (never empty).

    A row without a channel, or with one that shop.yaml does not name, suppresses every one: rather too much.
    """
    relation = reference_relation(place, reference_tables(shop)["suppressions"])
    channels = " union all ".join(f"select {literal(channel)} as channel" for channel in shop.channels)
    named = ", ".join(literal(channel) for channel in shop.channels)
    return f"""
        select customer_id, channels.channel, min(coalesce(reason, 'no reason given')) as reason
        from (select * from ({relation}) where valid_to is null) as listed
        join ({channels}) as channels
            on listed.channel = channels.channel or listed.channel is null or listed.channel not in ({named})
        group by customer_id, channels.channel
    """
