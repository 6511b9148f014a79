"""Our figures of each day, and what another tool may count otherwise, from the tables of a published version."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import available_timezones

import pandas as pd

from customer360.errors import OperatorError
from customer360.reconciliation.exports import COLUMNS, DATE
from customer360.snapshot import Snapshot

# What the other tool counts otherwise for certain, and what it may: signed, to be added to ours.
CAUSES = ("time_zone", "returns", "without_visit", "robots")
POSSIBLE = ("late", "repeats")
READS = {
    "ga4": ("orders_daily", "arrivals_daily", "traffic", "sessions"),
    "books": ("orders_daily", "arrivals_daily", "traffic"),
    "mail": ("campaign_ledger", "arrivals_daily"),
}
ROBOT_VIEWS = 300  # as in `interactions`: a visit that sees more products is no person's

SESSIONS = """
    select {day} as date, count(*) as sessions, count(distinct coalesce(visitor_id, customer_id)) as visitors,
        count(*) filter (where page_and_product_views > {most}) as robot_sessions,
        count(distinct coalesce(visitor_id, customer_id)) filter (where page_and_product_views > {most}) as robot_visitors
    from sessions group by 1
"""
TRAFFIC = "select {day} as date, sum(purchases) as orders, sum(revenue) as revenue from traffic group by 1"
CONTACTS = """
    select {day} as date, count(*) filter (where event = 'sent') as sent, count(*) filter (where event = 'opened') as opened,
        count(*) filter (where event = 'clicked') as clicked
    from campaign_ledger where channel = 'email' group by 1
"""
ORDERS = """
    select orders_daily.local_date as date, orders_daily.* exclude (local_date), late_amount, repeated_amount
    from orders_daily left join arrivals_daily using (local_date)
"""
LINES = """
    select coalesce(logged.date, arrived.local_date) as date, quarantined, copies, repeats, late_events
    from (
        select {day} as date, sum(quarantined) as quarantined, sum(duplicates) as copies, sum(repeats) as repeats
        from slice_log group by 1
    ) as logged
    full outer join arrivals_daily as arrived on logged.date = arrived.local_date
"""


class FiguresError(OperatorError):
    """Our own figures cannot be given. The message says why and what to do."""


@dataclass(frozen=True)
class Tool:
    """How the other tool counts: in which zone its days begin, and whether returns lower its revenue.

    Raises ``FiguresError`` where the zone is no IANA name.
    """

    zone: str
    is_net_of_returns: bool

    def __post_init__(self) -> None:
        """The zone is written into SQL."""
        if self.zone not in available_timezones():
            raise FiguresError(f"{self.zone} is no time zone; name one as Europe/Amsterdam or UTC")


def own_figures(snapshot: Snapshot, kind: str, tool: Tool) -> pd.DataFrame:
    """One row per day and measure of the kind: ``date``, ``measure``, ``ours`` and ``CAUSES`` and ``POSSIBLE``.

    Days are shop-local. A cause is what the tool has more than we have because of it, 0 where it plays no part. Days without
    activity have no row. Raises ``FiguresError`` where a table is not published yet.
    """
    missing = [table for table in READS[kind] if not snapshot.has(table)]
    if missing:
        raise FiguresError(
            f"{', '.join(missing)}: not published yet. Run warehouse_job in Dagster, which makes them every night"
        )
    makers = {"ga4": _analytics, "books": _books, "mail": _mail}
    rows = pd.concat([_measure(name, figures) for name, figures in makers[kind](snapshot, tool).items()], ignore_index=True)
    return rows[[DATE, "measure", "ours", *CAUSES, *POSSIBLE]].sort_values([DATE, "measure"], ignore_index=True)


def line_counts(snapshot: Snapshot) -> pd.DataFrame:
    """Lines that count nowhere, or came late, one row per shop-local day.

    ``quarantined``, ``copies`` and ``repeats`` by the day of arrival, ``late_events`` by the day on which they happened.
    """
    return _by_day(snapshot.read(LINES.format(day=_day("slice", snapshot.shop.time_zone)))).fillna(0)


def _analytics(snapshot: Snapshot, tool: Tool) -> dict[str, pd.DataFrame]:
    figures = _orders(snapshot, tool)
    orders, revenue = figures["orders"], figures["revenue"]
    orders["without_visit"] = -orders["orders_without_visit"]
    revenue["without_visit"] = revenue["returned_amount_without_visit"] - revenue["gross_revenue_without_visit"]
    if not tool.is_net_of_returns:
        revenue["returns"] = revenue["returned_amount"] - revenue["returned_amount_without_visit"]
    visits = _shifted(snapshot, SESSIONS.format(day="{day}", most=ROBOT_VIEWS), "started_at", tool)
    for name, robots in (("sessions", "robot_sessions"), ("visitors", "robot_visitors")):
        figures[name] = visits.assign(ours=visits[name], time_zone=visits[f"{name}_shift"], robots=-visits[robots])
    return figures


def _books(snapshot: Snapshot, tool: Tool) -> dict[str, pd.DataFrame]:
    figures = _orders(snapshot, tool)
    if not tool.is_net_of_returns:
        figures["revenue"]["returns"] = figures["revenue"]["returned_amount"]
    return figures


def _orders(snapshot: Snapshot, tool: Tool) -> dict[str, pd.DataFrame]:
    days = _by_day(snapshot.read(ORDERS)).astype(float, errors="ignore")
    shifts = _shifted(snapshot, TRAFFIC, "event_slice", tool)[["orders_shift", "revenue_shift"]]
    days = days.join(shifts, how="outer").fillna(0)
    orders = days.assign(ours=days["orders"], time_zone=days["orders_shift"])
    revenue = days.assign(
        ours=days["revenue"], time_zone=days["revenue_shift"], late=-days["late_amount"], repeats=days["repeated_amount"]
    )
    return {"orders": orders, "revenue": revenue}


def _mail(snapshot: Snapshot, tool: Tool) -> dict[str, pd.DataFrame]:
    contacts = _shifted(snapshot, CONTACTS, "event_at", tool)
    return {
        name: contacts.assign(ours=contacts[name], time_zone=contacts[f"{name}_shift"])
        for name in COLUMNS["mail"]
        if name in contacts
    }


def _shifted(snapshot: Snapshot, query: str, moment: str, tool: Tool) -> pd.DataFrame:
    """The figures by shop-local day, and ``<figure>_shift``: how many more there are by the days of the tool's zone."""
    own, theirs = (
        _by_day(snapshot.read(query.format(day=_day(moment, zone)))).astype(float)
        for zone in (snapshot.shop.time_zone, tool.zone)
    )
    days = own.index.union(theirs.index)
    own, theirs = own.reindex(days, fill_value=0), theirs.reindex(days, fill_value=0)
    return own.join((theirs - own).add_suffix("_shift"))


def _day(moment: str, zone: str) -> str:
    return f"cast(timezone('{zone}', timezone('UTC', {moment})) as date)"


def _by_day(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(date=pd.to_datetime(rows[DATE]).dt.date).set_index(DATE)


def _measure(name: str, figures: pd.DataFrame) -> pd.DataFrame:
    columns = {column: figures.get(column, 0.0) for column in ("ours", *CAUSES, *POSSIBLE)}
    rows = pd.DataFrame(columns, index=figures.index).astype(float) + 0.0  # no negative zeros
    return rows.reset_index().assign(measure=name)
