"""SQL of customers' consents, suppressions and attributes, from the reference tables and not from the last transform.

A withdrawn consent or a suppression is in force from its load on, also before the next slice.
"""

from __future__ import annotations

from datetime import datetime

from customer360.lake.engine import file_literal, literal, quoted
from customer360.lake.landing.contracts import KNOWN_SINCE, reference_tables
from customer360.lake.reference.reference_history import reference_relation
from customer360.lake.slices import naive
from customer360.settings import PERSONALISATION, Place, Shop


def attribute_versions_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer and version: customer_id, valid_from, valid_to (UTC, null while in force), attributes."""
    relation = reference_relation(place, reference_tables(shop)["customers"])
    columns = ", ".join(["customer_id", "valid_from", "valid_to", *map(quoted, shop.attributes)])
    return f"select {columns} from ({relation}) order by customer_id, valid_from"


def consents_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer and channel: customer_id, channel, is_allowed (false where the table has no value).

    An opt-in that was confirmed on the public page counts until the table says something else than when it was confirmed.
    """
    relation = reference_relation(place, reference_tables(shop)["customers"])
    return " union all ".join(
        f"select customer_id, {literal(channel)} as channel, {_allowed(place, relation, channel)} as is_allowed "
        f"from ({relation}) where valid_to is null"
        for channel in shop.channels
    )


def consent_versions_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer, channel and version of its row: customer_id, channel, is_allowed, valid_from, valid_to.

    ``is_allowed`` is null where the table has no value. Times are UTC, valid_to null while in force.
    """
    relation = reference_relation(place, reference_tables(shop)["customers"])
    names = ", ".join(map(literal, shop.channels))
    values = ", ".join(quoted(f"consent_{channel}") for channel in shop.channels)
    return (
        f"select customer_id, unnest([{names}]) as channel, unnest([{values}]) as is_allowed, valid_from, valid_to "
        f"from ({relation})"
    )


def addresses_query(place: Place, shop: Shop) -> str:
    """SQL of customer_id and email (canonical) of each customer who has an address now. For a shop with ``email``.

    Addresses are personal: they are read where contacts are planned and sent, and kept nowhere else.
    """
    relation = reference_relation(place, reference_tables(shop)["customers"])
    return f"select customer_id, email from ({relation}) where valid_to is null and email is not null"


def contact_rules_query(place: Place, shop: Shop, as_of: datetime) -> str:
    """SQL of one row per customer: customer_id, is_known_later (see ``known_later_query``), and by channel the consent."""
    relation = reference_relation(place, reference_tables(shop)["customers"])
    consents = ", ".join(f"{_allowed(place, relation, name)} as {quoted(name)}" for name in shop.channels)
    after = f"coalesce({KNOWN_SINCE} > {_after(as_of)}, false) as is_known_later"
    return f"select customer_id, {after}, {consents} from ({relation}) where valid_to is null"


def suppressed_channels_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer who is suppressed for a channel or more: customer_id, and by channel whether they are."""
    channels = ", ".join(f"bool_or(channel = {literal(name)}) as {quoted(name)}" for name in shop.channels)
    return f"select customer_id, {channels} from ({suppressions_query(place, shop)}) group by customer_id"


def personalised_query(place: Place, shop: Shop) -> str:
    """SQL of the customer_id of each customer who consents to personalisation. For a shop with ``serving: true``."""
    relation = reference_relation(place, reference_tables(shop)["customers"])
    return f"select customer_id from ({relation}) where valid_to is null and consent_{PERSONALISATION}"


def known_later_query(place: Place, shop: Shop, as_of: datetime) -> str:
    """SQL of the customer_id of each customer whom the shop knows since a time after ``as_of``: in a replay, of the future."""
    relation = reference_relation(place, reference_tables(shop)["customers"])
    is_later = f"valid_to is null and {KNOWN_SINCE} > {_after(as_of)}"
    return f"select customer_id from ({relation}) where {is_later} order by customer_id"


def suppressions_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer and channel that is suppressed: customer_id, channel, reason (never empty).

    A row without a channel, or with a channel that shop.yaml does not name, suppresses all channels. With those who stopped
    a channel themselves, whose mail came back or who complained, as ``customer360.mail.queue.export_stops`` last wrote them.
    """
    relation = reference_relation(place, reference_tables(shop)["suppressions"])
    channels = " union all ".join(f"select {literal(channel)} as channel" for channel in shop.channels)
    named = ", ".join(literal(channel) for channel in shop.channels)
    listed = f"select customer_id, channel, reason from ({relation}) where valid_to is null"
    if (stops := place.campaigns / "stops.parquet").exists():
        listed += f" union all select customer_id, channel, reason from read_parquet({file_literal(stops)}) where topic is null"
    return f"""
        select customer_id, channels.channel, min(coalesce(reason, 'no reason given')) as reason
        from ({listed}) as listed
        join ({channels}) as channels
            on listed.channel = channels.channel or listed.channel is null or listed.channel not in ({named})
        group by customer_id, channels.channel
    """


def _allowed(place: Place, relation: str, channel: str) -> str:
    """SQL of whether a row in force of the customers lets them be contacted, by the table or by an opt-in of their own."""
    allowed = f"coalesce({quoted(f'consent_{channel}')}, false)"
    if not (opt_ins := place.campaigns / "opt_ins.parquet").exists():
        return allowed
    consent = f"coalesce(version.{quoted(f'consent_{channel}')}, false)"
    return f"""({allowed} or customer_id in (
        select opt_in.customer_id
        from read_parquet({file_literal(opt_ins)}) as opt_in
        join ({relation}) as version on opt_in.customer_id = version.customer_id
            and coalesce(version.valid_to, timestamp 'infinity') > opt_in.confirmed_at
        where opt_in.channel = {literal(channel)}
        group by opt_in.customer_id
        having min({consent}) = max({consent})
    ))"""


def _after(moment: datetime) -> str:
    return f"timestamp {literal(f'{naive(moment):%Y-%m-%d %H:%M:%S.%f}')}"
