"""Contacts that this product sent or held back, as rows of ``campaign_touch_history``: what models learn from next."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from customer360.campaigns.commitments import standing
from customer360.campaigns.ledger import CONTACT, HOLDOUT, SENT
from customer360.settings import Shop

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
}


def own_touches(ledger: pd.DataFrame, orders: pd.DataFrame, time_zones: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """One row a contact that was sent, and one a held-out customer whose contact would have been sent by now.

    ``orders``: ``customer_orders``; ``time_zones``: customer_id, time_zone. A row is converted by any order within the
    attribution window, in either arm alike, and ``converted_at`` is that of the first. A held-out row is a control: it lies at
    the moment for which its contact was planned, and counts once its window can have begun (``send_at`` before the newest
    moment that the ledger knows of). Contacts that explored are randomised.
    """
    sent = ledger.loc[ledger["event"] == SENT]
    held = standing(ledger)
    newest = max([*sent["event_at"], *orders["ordered_at"]], default=pd.Timestamp.min)
    held = held[(held["arm"] == HOLDOUT) & (held["send_at"] <= newest)].assign(event_at=lambda frame: frame["send_at"])
    rows = pd.concat([sent[sent["arm"] == CONTACT], held], ignore_index=True)
    zones = rows["customer_id"].map(time_zones.set_index("customer_id")["time_zone"]).fillna(shop.time_zone)
    local = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us]")
    for zone, chosen in rows.groupby(zones)["event_at"]:
        local[chosen.index] = chosen.dt.tz_localize("UTC").dt.tz_convert(ZoneInfo(str(zone))).dt.tz_localize(None)
    converted_at = _first_order(rows, orders, timedelta(days=shop.campaigns.attribution_days))
    frame = pd.DataFrame(
        {
            "touch_id": rows["entry_id"],
            "campaign_id": rows["campaign_id"],
            "customer_id": rows["customer_id"],
            "touched_at": rows["event_at"],
            "is_time_known": True,
            "channel": rows["channel"],
            "local_date": local.dt.normalize(),
            "day_of_week": local.dt.dayofweek + 1,
            "local_hour": local.dt.hour,
            "is_converted": converted_at.notna(),
            "converted_at": converted_at,
            "is_control": rows["arm"] == HOLDOUT,
            "is_randomised": rows["is_exploration"].fillna(value=False) & (rows["arm"] == CONTACT),
        }
    )
    return frame.sort_values(["touched_at", "customer_id", "touch_id"], ignore_index=True)[list(TOUCH_COLUMNS)].astype(
        TOUCH_COLUMNS
    )


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


def _first_order(rows: pd.DataFrame, orders: pd.DataFrame, window: timedelta) -> pd.Series[pd.Timestamp]:
    """The first order of each row's customer in [event_at, event_at + window); null without one."""
    sales = orders.loc[orders["lines"] > 0, ["customer_id", "ordered_at"]].sort_values("ordered_at")
    left = rows[["customer_id", "event_at"]].reset_index().sort_values("event_at")
    found = pd.merge_asof(
        left.astype({"event_at": "datetime64[us]", "customer_id": "str"}),
        sales.astype({"ordered_at": "datetime64[us]", "customer_id": "str"}),
        left_on="event_at",
        right_on="ordered_at",
        by="customer_id",
        direction="forward",
    ).set_index("index")["ordered_at"]
    found = found.reindex(rows.index)
    return found.where(found < rows["event_at"] + window)
