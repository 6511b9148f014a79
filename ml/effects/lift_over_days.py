"""How the effect of a campaign became known, day by day: the difference of its arms among those whose window had passed."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from customer360.campaigns.ledger import CONTACT, HOLDOUT
from customer360.snapshot import ORDERS, Snapshot
from ml.effects.lift import rate_difference
from ml.effects.results import judged_contacts

COLUMNS = ["day", "contacts", "holdouts", "contact_rate", "holdout_rate", "lift", "lift_low", "lift_high"]


def lift_over_days(snapshot: Snapshot, campaign_id: str) -> pd.DataFrame:
    """One row per day (UTC, the end of it) on which a customer's window passed: ``COLUMNS``, of all windows that had passed.

    Rates are shares of customers, the lift their difference with a 95% interval (``campaign_results`` has the last of them).
    The interval holds for a day that was chosen beforehand, not for the first day on which it leaves zero out.
    """
    shop = snapshot.shop
    approved = snapshot.approved[snapshot.approved["campaign_id"] == campaign_id].reset_index(drop=True)
    known = snapshot.orders_known_until if snapshot.has(ORDERS) else None
    if approved.empty or known is None:
        return pd.DataFrame(columns=COLUMNS)
    window = timedelta(days=shop.campaigns.attribution_days)
    orders = snapshot.rows_of(ORDERS, approved["customer_id"])
    judged = judged_contacts(approved, orders, window, timedelta(days=max(shop.windows_days)), known)
    moments = approved[~approved["is_withdrawn"]].drop_duplicates(["campaign_id", "customer_id"], ignore_index=True)["send_at"]
    judged["day"] = (moments + window).dt.ceil("D").to_numpy()
    return _rows(judged[judged["is_judged"]])


def _rows(judged: pd.DataFrame) -> pd.DataFrame:
    days = np.sort(judged["day"].unique())
    sizes, converted = {}, {}
    for arm in (CONTACT, HOLDOUT):
        by_day = judged[judged["arm"] == arm].groupby("day")["is_converted"].agg(["size", "sum"])
        running = by_day.reindex(days, fill_value=0).cumsum().to_numpy(dtype=np.int64)
        sizes[arm], converted[arm] = running[:, 0], running[:, 1]
    rows = []
    for place, day in enumerate(days):
        counts = [(int(converted[arm][place]), int(sizes[arm][place])) for arm in (CONTACT, HOLDOUT)]
        rates = [made / size if size else np.nan for made, size in counts]
        lift = rate_difference(*counts[0], *counts[1])
        rows.append((pd.Timestamp(day), counts[0][1], counts[1][1], *rates, lift.estimate, lift.low, lift.high))
    return pd.DataFrame(rows, columns=COLUMNS)
