"""What became of contacts: as ledger entries (delivered, opened, clicked, converted), and as touches that models learn from.

Last-touch attribution: an order converts the customer's last contact before it, of any campaign, if it lies within
``attribution_days`` of that contact. A held-out customer's contact counts from the moment at which it would have been sent. The
effect of a campaign is estimated from all orders of both arms, in ``ml.effects``.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from customer360.campaigns.ledger import (
    APPROVED,
    CONTACT,
    CONVERTED,
    HOLDOUT,
    PLAN_COLUMNS,
    SENT,
    SUPPRESSED,
    append,
    read_ledger,
)
from customer360.campaigns.standing import standing
from customer360.lake.engine import registered
from customer360.settings import Place, Shop

ORDERS = """
    select customer_id, order_id, ordered_at, cast(amount as double) as amount
    from customer_orders semi join in_ledger using (customer_id) where lines > 0
"""
ACTIVITY = "select campaign_id, customer_id, activity, event_at from campaign_activity semi join in_ledger using (customer_id)"
_ENTRY_COLUMNS = [*PLAN_COLUMNS, "arm"]
# Column -> pandas type, as campaign_touch_history has them.
TOUCH_COLUMNS = {
    "touch_id": "str",
    "campaign_id": "str",
    "customer_id": "str",
    "touched_at": "datetime64[us]",
    "is_time_known": "bool",
    "channel": "str",
    "local_date": "datetime64[us]",
    "day_of_week": "Int64",
    "local_hour": "Int64",
    "is_converted": "bool",
    "converted_at": "datetime64[us]",
    "is_control": "bool",
    "is_randomised": "bool",
    "expected_conversion": "float64",
}


def record_outcomes(place: Place, shop: Shop, connection: duckdb.DuckDBPyConnection, now: datetime, by: str) -> dict[str, int]:
    """Add to the ledger what the published ``customer_orders`` and ``campaign_activity`` say; new entries by event.

    ``connection`` reads one published version. What is recorded stays: an order that turns out to be larger later keeps its
    first amount here. A crash between the two kinds of entries leaves the second to the next time.
    """
    ledger = read_ledger(place, [APPROVED, SENT, SUPPRESSED])
    with registered(connection, "in_ledger", pd.DataFrame({"customer_id": ledger["customer_id"].unique()})):
        orders, activity = connection.execute(ORDERS).df(), connection.execute(ACTIVITY).df()
    window = timedelta(days=shop.campaigns.attribution_days)
    counts: Counter[str] = Counter()
    approved = standing(ledger)
    for entries in (outcomes_of_contacts(approved, activity, window), conversions(approved, orders, window)):
        counts.update(append(place, entries, now, by)["event"])
    return dict(counts)


def outcomes_of_contacts(approved: pd.DataFrame, activity: pd.DataFrame, window: timedelta) -> pd.DataFrame:
    """Delivered, opened and clicked entries of sent contacts: the first of each within ``window`` of the contact.

    ``approved``: rows of ``standing``.
    """
    contacts = _contacts_made(approved)
    pairs = contacts[contacts["arm"] == CONTACT].drop(columns="event_at").merge(activity, on=["campaign_id", "customer_id"])
    within = pairs[(pairs["event_at"] >= pairs["made_at"]) & (pairs["event_at"] < pairs["made_at"] + window)]
    first = within.sort_values(["customer_id", "campaign_id", "activity", "event_at"], kind="stable").drop_duplicates(
        ["campaign_id", "plan_version", "customer_id", "activity"]
    )
    return first[[*_ENTRY_COLUMNS, "activity", "event_at"]].rename(columns={"activity": "event"})


def conversions(approved: pd.DataFrame, orders: pd.DataFrame, window: timedelta) -> pd.DataFrame:
    """Converted entries: each order with the customer's last contact before it, where that is less than ``window`` ago.

    ``approved``: rows of ``standing``.
    """
    contacts = _contacts_made(approved).sort_values(["made_at", "campaign_id"], kind="stable")
    ordered = orders.sort_values(["ordered_at", "order_id"], kind="stable").astype(
        {"customer_id": "str", "ordered_at": "datetime64[us]"}
    )
    pairs = pd.merge_asof(
        ordered, contacts.drop(columns=["order_id", "amount"]), left_on="ordered_at", right_on="made_at", by="customer_id"
    )
    within = pairs[pairs["made_at"].notna() & (pairs["ordered_at"] < pairs["made_at"] + window)]
    return within[[*_ENTRY_COLUMNS, "order_id", "amount"]].assign(event=CONVERTED, event_at=within["ordered_at"])


def own_touches(approved: pd.DataFrame, orders: pd.DataFrame, time_zones: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """Contacts of this product as rows of ``campaign_touch_history``: those that were sent, and controls.

    ``approved``: rows of ``standing``.
    ``orders``: ``customer_orders``; ``time_zones``: customer_id, time_zone. A row is converted by any order within the
    attribution window, in either arm alike, and ``converted_at`` is that of the first. A control is a held-out customer's
    contact at the moment for which it was planned; it counts once its window can have begun (``send_at`` not after the newest
    moment that the ledger and the orders know of). Contacts that explored are randomised.
    """
    rows = _contacts_made(approved)
    newest = max([*rows["sent_at"].dropna(), *orders["ordered_at"]], default=pd.Timestamp.min)
    rows = rows[rows["is_sent"] | (rows["made_at"] <= newest)].reset_index(drop=True)
    zones = rows["customer_id"].map(time_zones.set_index("customer_id")["time_zone"]).fillna(shop.time_zone)
    local = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]")
    for zone, moments in rows.groupby(zones)["made_at"]:
        local[moments.index] = moments.dt.tz_localize("UTC").dt.tz_convert(ZoneInfo(str(zone))).dt.tz_localize(None)
    sales = orders[orders["lines"] > 0]
    converted_at = first_orders(rows["customer_id"], rows["made_at"], sales, timedelta(days=shop.campaigns.attribution_days))
    is_control = rows["arm"] == HOLDOUT
    frame = pd.DataFrame(
        {
            "touch_id": rows["sent_entry_id"].fillna(rows["entry_id"]),
            "campaign_id": rows["campaign_id"],
            "customer_id": rows["customer_id"],
            "touched_at": rows["made_at"],
            "is_time_known": True,
            "channel": rows["channel"],
            "local_date": local.dt.normalize(),
            "day_of_week": local.dt.dayofweek + 1,
            "local_hour": local.dt.hour,
            "is_converted": converted_at.notna(),
            "converted_at": converted_at,
            "is_control": is_control,
            "is_randomised": rows["is_exploration"].fillna(value=False) & ~is_control,
            "expected_conversion": rows["expected_conversion"],
        }
    )
    ordered = frame.sort_values(["touched_at", "customer_id", "touch_id"], ignore_index=True)
    return ordered[list(TOUCH_COLUMNS)].astype(TOUCH_COLUMNS)


def with_own_touches(touches: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """The shop's touches and ours, each contact once: where the shop's tool reports ours back, its row stands for both."""
    if own.empty:
        return touches
    key = ["customer_id", "campaign_id", "local_date"]
    reported = pd.MultiIndex.from_frame(
        touches[key].assign(local_date=pd.to_datetime(touches["local_date"]).astype("datetime64[us]"))
    )
    new = own[~pd.MultiIndex.from_frame(own[key]).isin(reported)]
    kept = [name for name in touches.columns if name in new.columns]
    return pd.concat([touches, new[kept]], ignore_index=True)


def first_orders(
    customers: pd.Series[str], moments: pd.Series[pd.Timestamp], orders: pd.DataFrame, window: timedelta
) -> pd.Series[pd.Timestamp]:
    """Of each contact (``customers`` and ``moments``, of one index) the first order in [moment, moment + window); else null.

    ``orders``: customer_id and ordered_at of sales, in any order. All times plain UTC.
    """
    contacts = pd.DataFrame({"customer_id": customers.astype("str"), "moment": moments.astype("datetime64[us]")})
    sales = orders[["customer_id", "ordered_at"]].astype({"customer_id": "str", "ordered_at": "datetime64[us]"})
    found = pd.merge_asof(
        contacts.assign(row=range(len(contacts))).sort_values("moment"),
        sales.sort_values("ordered_at"),
        left_on="moment",
        right_on="ordered_at",
        by="customer_id",
        direction="forward",
    ).sort_values("row")
    first = found["ordered_at"].set_axis(moments.index)
    return first.where(first < contacts["moment"] + window)


def _contacts_made(approved: pd.DataFrame) -> pd.DataFrame:
    """The contacts among ``approved`` that were sent or held out.

    ``made_at``: when each was sent, or would have been sent (plain UTC).
    """
    is_held_out = (approved["arm"] != CONTACT) & ~approved["is_suppressed"]
    made_at = approved["sent_at"].fillna(approved["send_at"])
    return approved.assign(made_at=made_at)[approved["is_sent"] | is_held_out].reset_index(drop=True)
