"""What became of contacts, as ledger entries: delivered, opened, clicked, converted. Late data add to them.

**Credit.** An order converts one contact: the last one of the customer before it, of whichever campaign, if its window of
``attribution_days`` still runs. A held-out customer's contact counts from the moment at which it would have been sent. Credit
says which contact came last before an order; what a campaign *brought* is worked out from all orders of both arms, in
``ml.effects``.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import duckdb
import pandas as pd

from customer360.campaigns.approval import PLAN_COLUMNS
from customer360.campaigns.commitments import standing
from customer360.campaigns.ledger import APPROVED, CONTACT, CONVERTED, SENT, SUPPRESSED, append, read_ledger
from customer360.settings import Place, Shop

ORDERS = """
    select customer_id, order_id, ordered_at, cast(amount as double) as amount
    from customer_orders semi join in_ledger using (customer_id) where lines > 0
"""
ACTIVITY = "select campaign_id, customer_id, activity, event_at from campaign_activity semi join in_ledger using (customer_id)"
_ROW = [*PLAN_COLUMNS, "arm"]


def record_outcomes(place: Place, shop: Shop, connection: duckdb.DuckDBPyConnection, now: datetime, by: str) -> dict[str, int]:
    """Add to the ledger what the published ``customer_orders`` and ``campaign_activity`` say; new entries by event.

    ``connection`` is a ``reader``. What is recorded stays: an order that turns out to be larger later keeps its first amount
    here. A crash between the two kinds of entries leaves the second to the next time.
    """
    ledger = read_ledger(place, [APPROVED, SENT, SUPPRESSED])
    names = pd.DataFrame({"customer_id": ledger["customer_id"].unique()})
    connection.register("in_ledger", names)
    try:
        orders = connection.execute(ORDERS).df()
        activity = connection.execute(ACTIVITY).df()
    finally:
        connection.unregister("in_ledger")
    window = timedelta(days=shop.campaigns.attribution_days)
    counts: Counter[str] = Counter()
    for entries in (outcomes_of_contacts(ledger, activity, window), conversions(ledger, orders, window)):
        counts.update(append(place, entries, now, by)["event"])
    return dict(counts)


def moments(ledger: pd.DataFrame) -> pd.DataFrame:
    """One row per contact of either arm with ``moment`` (UTC): when it was sent, or would have been for those held out."""
    rows = standing(ledger)
    sent = ledger[ledger["event"] == SENT].assign(moment=ledger["event_at"])
    held = rows[rows["arm"] != CONTACT].assign(moment=rows["send_at"])
    return pd.concat([sent, held], ignore_index=True)[[*_ROW, "moment"]]


def outcomes_of_contacts(ledger: pd.DataFrame, activity: pd.DataFrame, window: timedelta) -> pd.DataFrame:
    """Delivered, opened and clicked entries of sent contacts: the first of each within ``window`` of the contact."""
    contacts = moments(ledger)
    contacts = contacts[contacts["arm"] == CONTACT]
    both = contacts.merge(activity, on=["campaign_id", "customer_id"])
    within = both[(both["event_at"] >= both["moment"]) & (both["event_at"] < both["moment"] + window)]
    first = within.sort_values(["customer_id", "campaign_id", "activity", "event_at"], kind="stable").drop_duplicates(
        ["campaign_id", "plan_version", "customer_id", "activity"]
    )
    return first[[*_ROW, "activity", "event_at"]].rename(columns={"activity": "event"})


def conversions(ledger: pd.DataFrame, orders: pd.DataFrame, window: timedelta) -> pd.DataFrame:
    """Converted entries: each order with the customer's last contact before it, where that is less than ``window`` ago."""
    contacts = moments(ledger).sort_values(["moment", "campaign_id"], kind="stable")
    ordered = orders.sort_values(["ordered_at", "order_id"], kind="stable")
    keyed = ordered.assign(
        customer_id=ordered["customer_id"].astype("str"), ordered_at=ordered["ordered_at"].astype("datetime64[us]")
    )
    both = pd.merge_asof(keyed, contacts, left_on="ordered_at", right_on="moment", by="customer_id", direction="backward")
    within = both[both["moment"].notna() & (both["ordered_at"] < both["moment"] + window)]
    return within[[*_ROW, "order_id", "amount"]].assign(event=CONVERTED, event_at=within["ordered_at"])
