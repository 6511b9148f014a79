"""How the effect of a campaign became known, day by day: the difference of its arms among those whose window had passed."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from customer360.campaigns.ledger import CONTACT, HOLDOUT
from customer360.settings import Shop
from customer360.snapshot import ORDERS, Snapshot
from ml.effects.lift import rate_difference
from ml.effects.results import compared_contacts, judged_contacts

COLUMNS = ["day", "contacts", "holdouts", "contact_rate", "holdout_rate", "lift", "lift_low", "lift_high"]


def lift_over_days(snapshot: Snapshot, campaign_id: str) -> pd.DataFrame:
    """One row per day (UTC, the end of it) on which a customer's window passed: ``COLUMNS``, of all windows that had passed.

    Rates are shares of customers, the lift their difference with a 95% interval (``campaign_results`` has the last of them).
    The interval holds for a day that was chosen beforehand, not for the first day on which it leaves zero out.
    """
    known = snapshot.orders_known_until if snapshot.has(ORDERS) else None
    if known is None:
        return pd.DataFrame(columns=COLUMNS)
    contacts = compared_contacts(snapshot, known)
    ours = contacts[contacts["campaign_id"] == campaign_id].reset_index(drop=True)
    return by_day(ours, snapshot.rows_of(ORDERS, ours["customer_id"]), snapshot.shop, known)


def by_day(contacts: pd.DataFrame, orders: pd.DataFrame, shop: Shop, known: pd.Timestamp) -> pd.DataFrame:
    """The same of one campaign's ``compared_contacts`` and ``orders`` that are known until ``known``."""
    window = timedelta(days=shop.campaigns.attribution_days)
    judged = judged_contacts(contacts, orders, window, timedelta(days=max(shop.windows_days)), known)
    is_counted = ~contacts["is_withdrawn"].astype(bool)
    moments = contacts[is_counted].drop_duplicates(["campaign_id", "customer_id"], ignore_index=True)["send_at"]
    judged["day"] = (moments + window).dt.ceil("D").to_numpy()
    return _rows(judged[judged["is_judged"]])


def _rows(judged: pd.DataFrame) -> pd.DataFrame:
    days = np.sort(judged["day"].unique())
    sizes, converted = {}, {}
    for arm in (CONTACT, HOLDOUT):
        daily = judged[judged["arm"] == arm].groupby("day")["is_converted"].agg(["size", "sum"])
        running = daily.reindex(days, fill_value=0).cumsum().to_numpy(dtype=np.int64)
        sizes[arm], converted[arm] = running[:, 0], running[:, 1]
    rows = []
    for place, day in enumerate(days):
        counts = [(int(converted[arm][place]), int(sizes[arm][place])) for arm in (CONTACT, HOLDOUT)]
        rates = [made / size if size else np.nan for made, size in counts]
        lift = rate_difference(*counts[0], *counts[1])
        rows.append((pd.Timestamp(day), counts[0][1], counts[1][1], *rates, lift.estimate, lift.low, lift.high))
    return pd.DataFrame(rows, columns=COLUMNS)
