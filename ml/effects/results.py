"""Results of campaigns, by day, their deciles and the variants of their messages, from ledger, touches and published orders.

Intention to treat: everyone who was to be contacted, also if they were suppressed later, against those who were held out and
would have been. Customers held out of every campaign and of this one both count. A customer's outcome is any order within
``attribution_days`` of the moment that the plan names, in both arms alike. Only customers whose window has passed are judged;
plan versions of a campaign are pooled, each customer once. A plan withdrawn before its time leaves both arms.

Campaigns of other tools, which ``campaign_touches`` reports, are judged in the same way where the times of their contacts are
known: by the first touch of each customer, against the tool's controls. Whether these were drawn at random, the tool must know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from customer360.campaigns.drafts import approved_definitions
from customer360.campaigns.ledger import CONTACT, HOLDOUT
from customer360.lake.publishing.tables import TABLES
from customer360.settings import Shop
from customer360.snapshot import ORDERS, TOUCHES, Snapshot
from ml.bootstrap import Interval
from ml.effects.lift import adjusted_difference, anytime_z, mean_difference, rate_difference
from ml.effects.lift_over_days import lift_over_days
from ml.effects.power import customers_needed
from ml.effects.variants import variant_rows

DECILES = 10
MIN_DECILE = 10  # customers: the share of fewer that converted says nothing of a prediction


@dataclass(frozen=True)
class Results:
    """``campaign_results`` (campaign x arm), its days, deciles (closed campaign x decile) and variants (campaign x variant)."""

    campaigns: pd.DataFrame
    deciles: pd.DataFrame
    days: pd.DataFrame
    variants: pd.DataFrame


def published_results(snapshot: Snapshot) -> Results:
    """``results`` of every approved plan and of the campaigns of other tools, as the snapshot has ledger, touches and orders.

    Orders are made at night, so a window counts as passed when they know of all of it, not by the published slice. Before the
    first order no window has passed.
    """
    as_of = pd.Timestamp.min if snapshot.orders_known_until is None else snapshot.orders_known_until
    contacts = compared_contacts(snapshot, as_of)
    orders = snapshot.rows_of(ORDERS, contacts["customer_id"])
    definitions = approved_definitions(snapshot.place)
    values = {version: campaign.value_per_conversion for version, campaign in definitions.items()}
    return results(contacts, orders, snapshot.shop, as_of, values)


def compared_contacts(snapshot: Snapshot, as_of: pd.Timestamp) -> pd.DataFrame:
    """Both arms of every campaign: the approved rows of ``standing`` and, where there are touches, ``reported_contacts``."""
    if not snapshot.has(TOUCHES):
        return snapshot.approved
    (orders_begin,) = snapshot.connection.execute(f"select min(ordered_at) from {ORDERS}").fetchone() or (None,)
    reported = reported_contacts(snapshot.touches, snapshot.approved, pd.Timestamp(orders_begin or as_of))
    return pd.concat([snapshot.approved, reported], ignore_index=True) if len(reported) else snapshot.approved


def reported_contacts(touches: pd.DataFrame, approved: pd.DataFrame, orders_begin: pd.Timestamp) -> pd.DataFrame:
    """The contacts and controls of other tools as rows of ``standing``, as far as they are judged; their cost is not known.

    ``touches``: ``campaign_touch_history``; those of a campaign of ``approved``, at an unknown time, or from before
    ``orders_begin`` (plain UTC, the first order that is known), whose outcome cannot be known, are left out.
    """
    is_other = ~touches["campaign_id"].isin(approved["campaign_id"]) & touches["is_time_known"].astype(bool)
    rows = touches[is_other & (touches["touched_at"] >= orders_begin)].sort_values(["touched_at", "touch_id"])
    is_control = rows["is_control"].astype(bool)
    return pd.DataFrame(
        {
            "campaign_id": rows["campaign_id"],
            "plan_version": None,
            "customer_id": rows["customer_id"],
            "arm": np.where(is_control, HOLDOUT, CONTACT),
            "send_at": rows["touched_at"],
            "event_at": rows["touched_at"],
            "cost": math.nan,
            "expected_conversion": rows.get("expected_conversion", math.nan),
            "is_sent": ~is_control,
            "is_withdrawn": False,
        }
    )


def results(
    contacts: pd.DataFrame, orders: pd.DataFrame, shop: Shop, as_of: pd.Timestamp, values: Mapping[str, float]
) -> Results:
    """The results of every campaign, as of ``as_of`` (plain UTC, the end of what ``orders`` know).

    ``contacts``: rows of ``standing``, and of ``reported_contacts``, which have no plan version. ``orders``:
    ``customer_orders``. ``values``: plan version -> what a conversion is worth; profit is unknown without.
    """
    window = timedelta(days=shop.campaigns.attribution_days)
    contacts = judged_contacts(contacts, orders, window, timedelta(days=max(shop.windows_days)), as_of)
    contacts["value"] = contacts["plan_version"].map(dict(values)).astype("float64")
    rows: list[dict[str, object]] = []
    variants: list[dict[str, object]] = []
    deciles: list[pd.DataFrame] = []
    days: list[pd.DataFrame] = []
    for campaign, ours in contacts.groupby("campaign_id"):
        is_closed = bool(ours["is_judged"].all())
        rows += _rows(str(campaign), ours, is_closed=is_closed)
        variants += variant_rows(str(campaign), ours, is_closed=is_closed)
        days.append(lift_over_days(ours[ours["is_judged"]], window).assign(campaign_id=str(campaign)))
        if is_closed:
            deciles.append(_deciles(str(campaign), ours[ours["is_sent"]]))
    parts = {"campaign_result_deciles": deciles, "campaign_result_days": days}
    found = {name: TABLES[name].typed(pd.concat(part, ignore_index=True) if part else []) for name, part in parts.items()}
    return Results(
        campaigns=TABLES["campaign_results"].typed(rows),
        deciles=found["campaign_result_deciles"],
        days=found["campaign_result_days"],
        variants=TABLES["campaign_variant_results"].typed(variants),
    )


def judged_contacts(
    contacts: pd.DataFrame, orders: pd.DataFrame, window: timedelta, before: timedelta, as_of: pd.Timestamp
) -> pd.DataFrame:
    """One row per campaign and customer of either arm, with what they did in ``window`` and spent ``before`` the approval.

    campaign_id, plan_version, customer_id, arm, send_at, channel, variant (null where none is known), expected_conversion,
    cost, is_sent, is_judged (the window has passed by ``as_of``), is_converted (by an order: a return is none), revenue and
    spend_before (net of returns, also of those under an order_id of their own, which are counted when they were made).
    """
    rows = contacts[~contacts["is_withdrawn"]].drop_duplicates(["campaign_id", "customer_id"], ignore_index=True)
    rows["is_judged"] = rows["send_at"] + window <= as_of
    bought = orders[["customer_id", "ordered_at", "amount"]].assign(is_order=orders["lines"] > 0)
    bought = bought.astype({"customer_id": "str", "amount": "float64"})
    pairs = rows[["customer_id", "send_at", "event_at"]].reset_index(names="row").merge(bought, on="customer_id")
    after = pairs[(pairs["ordered_at"] >= pairs["send_at"]) & (pairs["ordered_at"] < pairs["send_at"] + window)]
    earlier = pairs[(pairs["ordered_at"] < pairs["event_at"]) & (pairs["ordered_at"] >= pairs["event_at"] - before)]
    rows["is_converted"] = rows.index.isin(after.loc[after["is_order"], "row"])
    rows["revenue"] = after.groupby("row")["amount"].sum().reindex(rows.index, fill_value=0.0)
    rows["spend_before"] = earlier.groupby("row")["amount"].sum().reindex(rows.index, fill_value=0.0)
    columns = ["campaign_id", "plan_version", "customer_id", "arm", "send_at", "channel", "variant", "expected_conversion"]
    return rows.reindex(columns=[*columns, "cost", "is_sent", "is_judged", "is_converted", "revenue", "spend_before"])


def _rows(campaign: str, ours: pd.DataFrame, *, is_closed: bool) -> list[dict[str, object]]:
    judged = ours[ours["is_judged"]]
    arms = {arm: judged[judged["arm"] == arm] for arm in (CONTACT, HOLDOUT)}
    contact, held = arms[CONTACT], arms[HOLDOUT]
    lift = rate_difference(int(contact["is_converted"].sum()), len(contact), int(held["is_converted"].sum()), len(held))
    spent = [rows["revenue"].to_numpy(np.float64) for rows in (contact, held)]
    before = [rows["spend_before"].to_numpy(np.float64) for rows in (contact, held)]
    cost = float(contact.loc[contact["is_sent"], "cost"].astype("float64").sum(skipna=False))
    worth = float(contact["value"].sum(skipna=False))
    differences = {
        "lift": lift,
        "revenue_lift": mean_difference(spent[0], spent[1]),
        "cuped_revenue_lift": adjusted_difference(spent[0], before[0], spent[1], before[1]),
        "profit": Interval(worth * lift.estimate - cost, worth * lift.low - cost, worth * lift.high - cost),
    }
    is_conclusive = is_closed and (lift.low > 0 or lift.high < 0)
    verdict = _verdict(contact, held, lift, worth, cost, is_closed=is_closed, is_conclusive=is_conclusive)
    common = {
        "campaign_id": campaign,
        "is_reported": ours["plan_version"].isna().all(),
        "is_closed": is_closed,
        "is_conclusive": is_conclusive,
        "verdict": verdict,
    }
    found: list[dict[str, object]] = []
    for arm, rows in arms.items():
        row = {
            **common,
            "arm": arm,
            "planned": int((ours["arm"] == arm).sum()),
            "customers": len(rows),
            "contacted": int(rows["is_sent"].sum()),
            "converted": int(rows["is_converted"].sum()),
            "conversion_rate": float(rows["is_converted"].mean()) if len(rows) else None,
            "revenue": float(rows["revenue"].sum()) if len(rows) else None,
            "cost": (None if math.isnan(cost) else cost) if arm == CONTACT else 0.0,
        }
        for name, interval in differences.items():
            bounds = zip(("", "_low", "_high"), (interval.estimate, interval.low, interval.high), strict=True)
            row |= {f"{name}{end}": None if arm != CONTACT or math.isnan(value) else value for end, value in bounds}
        found.append(row)
    return found


def _verdict(
    contact: pd.DataFrame,
    held: pd.DataFrame,
    lift: Interval,
    worth: float,
    cost: float,
    *,
    is_closed: bool,
    is_conclusive: bool,
) -> str:
    """One or two sentences: the conclusion from the numbers, and its limits."""
    if contact.empty and held.empty:
        return "No customer's window has passed yet."
    if held.empty or contact.empty:
        return (
            f"Nobody to compare with: {len(contact):,} to be contacted, {len(held):,} held out. What it brought is not known."
        )
    rates = f"{_percent(contact)} of {len(contact):,} converted, {_percent(held)} of {len(held):,} held out"
    bounds = f"{100 * lift.estimate:+.2f} percentage points (95% interval {100 * lift.low:+.2f} to {100 * lift.high:+.2f})"
    if not is_closed:
        return f"Still running: so far {rates}, {bounds}. {_so_far(contact, held)}"
    if is_conclusive:
        worth_it = "" if math.isnan(worth) else f", {worth * lift.estimate:,.2f} for {cost:,.2f} of cost"
        return f"{rates}: {bounds}, about {lift.estimate * len(contact):+,.0f} conversions{worth_it}."
    share = len(held) / (len(held) + len(contact))
    needed = customers_needed(float(held["is_converted"].mean()), lift.estimate, share)
    size = (
        f"To tell a difference of this size, about {needed:,} customers with as large a share held out would be needed, "
        f"instead of {len(held) + len(contact):,}"
        if needed
        else "No difference was seen, so no number of customers can be named that would tell it"
    )
    return f"Too small to tell: {rates}, {bounds}. {size}."


def _so_far(contact: pd.DataFrame, held: pd.DataFrame) -> str:
    """What may be concluded before the end, by the interval that holds on all days at once."""
    counts = [(int(rows["is_converted"].sum()), len(rows)) for rows in (contact, held)]
    lift = rate_difference(*counts[0], *counts[1], anytime_z(len(contact), len(held)))
    words = f"The interval that holds on all days at once is {100 * lift.low:+.2f} to {100 * lift.high:+.2f}"
    if lift.low > 0 or lift.high < 0:
        return f"{words}: contacts {'add' if lift.low > 0 else 'cost'} conversions, on whichever day you look."
    return f"{words}, which leaves open whether contacts add any: wait for the last window before you judge."


def _percent(rows: pd.DataFrame) -> str:
    return f"{rows['is_converted'].mean():.2%}"


def _deciles(campaign: str, contacted: pd.DataFrame) -> pd.DataFrame:
    """Contacted customers by tenths of the conversion that was expected, 1 the lowest; equal expectations share one.

    A tenth of fewer than ``MIN_DECILE`` customers is left out.
    """
    known = contacted[contacted["expected_conversion"].notna()]
    places = known["expected_conversion"].rank(method="average") - 0.5
    grouped = known.assign(decile=1 + (DECILES * places / max(len(known), 1)).astype("int64")).groupby("decile")
    deciles = (
        pd.DataFrame(
            {
                "customers": grouped.size(),
                "predicted": grouped["expected_conversion"].mean(),
                "realised": grouped["is_converted"].mean(),
                "converted": grouped["is_converted"].sum(),
            }
        )
        .reset_index()
        .assign(campaign_id=campaign)
    )
    return deciles[deciles["customers"] >= MIN_DECILE]
