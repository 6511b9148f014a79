"""How large an audience is, whom of it each channel may reach, what they are expected to spend, and how two overlap.

Counts are those of the planner (``ml.planning``) before it looks at days and values: customers who have a segment and whom the
shop knew at the snapshot's time, with consents and suppressions as last loaded. All of them are counted by one query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from customer360.campaigns.audience import (
    VALUE,
    audience_relation,
    members_query,
    naming_missing_tables,
    parse_audience,
)
from customer360.campaigns.conditions import Value
from customer360.lake.engine import quoted
from customer360.lake.reference.customer_queries import contact_rules_query, suppressed_channels_query
from customer360.snapshot import Snapshot


@dataclass(frozen=True)
class Reach:
    """Customers of an audience who consent to a channel, who are suppressed for it, and who may be contacted through it.

    ``expected_spend``: of those who may be contacted, in the shop's currency; None without a spend model.
    """

    channel: str
    consenting: int
    suppressed: int
    reachable: int
    expected_spend: float | None


@dataclass(frozen=True)
class AudienceSize:
    """An audience. ``suppressed`` and ``without_consent``: left out by these rules of a plan that uses all of ``channels``.

    ``expected_spend``: of all its customers within the label horizon, in the shop's currency; None without a spend model.
    """

    customers: int
    suppressed: int
    without_consent: int
    expected_spend: float | None
    channels: tuple[Reach, ...]

    @property
    def reachable(self) -> int:
        """Customers whom at least one of the channels may reach."""
        return self.customers - self.left_out

    @property
    def left_out(self) -> int:
        """Customers whom none of the channels may reach."""
        return self.suppressed + self.without_consent


@dataclass(frozen=True)
class Overlap:
    """Customers of two audiences: of the first alone, of the second alone, and of both."""

    first: int
    second: int
    both: int


def audience_size(snapshot: Snapshot, text: str, channels: Sequence[str] = ()) -> AudienceSize:
    """Count an audience for a campaign through ``channels`` (default: all of the shop's). Raises ``AudienceError``."""
    shop, names = snapshot.shop, list(channels or snapshot.shop.channels)
    members, values = members_query(text, shop)
    spend = f"left join (select customer_id, expected_spend from {VALUE}) as worth using (customer_id)"
    has_value = snapshot.has(VALUE)
    allowed = [f"coalesce(rules.{quoted(name)}, false)" for name in names]
    barred = [f"coalesce(barred.{quoted(name)}, false)" for name in names]
    columns = [f"{sql} as allowed_{place}" for place, sql in enumerate(allowed)]
    columns += [f"{sql} as barred_{place}" for place, sql in enumerate(barred)]
    places = range(len(names))
    is_barred = " and ".join(f"barred_{place}" for place in places)
    is_reached = " or ".join(f"allowed_{place} and not barred_{place}" for place in places)
    counted = ["count(*)", f"count(*) filter ({is_barred})", f"count(*) filter (not ({is_barred}) and not ({is_reached}))"]
    counted.append("sum(expected_spend)")
    for place in places:
        reached = f"filter (allowed_{place} and not barred_{place})"
        counted += [f"count(*) filter (allowed_{place})", f"count(*) filter (barred_{place})"]
        counted += [f"count(*) {reached}", f"sum(expected_spend) {reached}"]
    query = f"""
        with chosen as ({members}),
        rules as ({contact_rules_query(snapshot.place, shop, snapshot.as_of)}),
        barred as ({suppressed_channels_query(snapshot.place, shop)}),
        people as (
            select {", ".join(columns)}, {"worth.expected_spend" if has_value else "null::double as expected_spend"}
            from chosen
            semi join rfm_segments as known using (customer_id)
            left join rules using (customer_id)
            left join barred using (customer_id)
            {spend if has_value else ""}
            where rules.is_known_later is distinct from true
        )
        select {", ".join(counted)} from people
    """
    row = _one(snapshot, query, values, text)
    of_channels = [row[4 + 4 * place : 8 + 4 * place] for place in places]
    reaches = tuple(Reach(name, *counts) for name, counts in zip(names, of_channels, strict=True))
    return AudienceSize(row[0], row[1], row[2], row[3], reaches)


def overlap(snapshot: Snapshot, first: str, second: str) -> Overlap:
    """How many customers two audiences share, as ``audience_size`` counts them. Raises ``AudienceError``."""
    shop = snapshot.shop
    one, other = parse_audience(first, shop), parse_audience(second, shop)
    relation, bound = audience_relation(dict.fromkeys([*one.columns, *other.columns]))
    query = f"""
        with people as (
            select ({one.sql}) is true as is_first, ({other.sql}) is true as is_second, customer_id
            from {relation}
            semi join rfm_segments as known using (customer_id)
        ),
        rules as ({contact_rules_query(snapshot.place, shop, snapshot.as_of)})
        select
            count(*) filter (is_first and not is_second),
            count(*) filter (is_second and not is_first),
            count(*) filter (is_first and is_second)
        from people anti join (select customer_id from rules where is_known_later) using (customer_id)
    """
    values = [*one.values, *other.values, *bound]
    return Overlap(*_one(snapshot, query, values, f"({first}) or ({second})"))


def _one(snapshot: Snapshot, query: str, values: list[Value], text: str) -> tuple[int, ...]:
    with naming_missing_tables(text, snapshot.shop):
        row = snapshot.connection.execute(query, values).fetchone()
    if row is None:
        raise RuntimeError("a query of counts has one row")
    return tuple(row)
