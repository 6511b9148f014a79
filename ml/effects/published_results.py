"""The results of a shop's campaigns from what is published and recorded now."""

from __future__ import annotations

import duckdb
import pandas as pd

from customer360.campaigns.drafts import approved_values
from customer360.campaigns.ledger import APPROVED, SENT, SUPPRESSED, read_ledger
from customer360.settings import Settings
from ml.effects.results import Results, results

ORDERS = "select customer_id, ordered_at, amount, lines from customer_orders semi join in_ledger using (customer_id)"


def published_results(settings: Settings, connection: duckdb.DuckDBPyConnection) -> Results:
    """``results`` of every approved plan, from the published ``customer_orders`` that ``connection``, a ``reader``, reads.

    Orders are made at night, so a window counts as passed when they know of all of it, not by the published slice. Before the
    first order no window has passed.
    """
    ledger = read_ledger(settings.place, [APPROVED, SENT, SUPPRESSED])
    (known_until,) = connection.execute("select max(as_of) from customer_orders").fetchone() or (None,)
    connection.register("in_ledger", pd.DataFrame({"customer_id": ledger["customer_id"].unique()}))
    try:
        orders = connection.execute(ORDERS).df()
    finally:
        connection.unregister("in_ledger")
    as_of = pd.Timestamp.min if known_until is None else pd.Timestamp(known_until)
    return results(ledger, orders, settings.shop, as_of, approved_values(settings.place))
