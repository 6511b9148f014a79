"""The results of a shop's campaigns from what is published and recorded now."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pandas as pd

from customer360.campaigns.drafts import approved_values
from customer360.campaigns.ledger import APPROVED, SENT, SUPPRESSED, read_ledger
from customer360.lake.slices import naive
from customer360.settings import Settings
from ml.effects.results import Results, results

ORDERS = "select customer_id, ordered_at, amount, lines from customer_orders semi join in_ledger using (customer_id)"


def published_results(settings: Settings, connection: duckdb.DuckDBPyConnection, as_of: datetime) -> Results:
    """``results`` of every approved plan; ``connection`` is a ``reader`` of the version that knows orders until ``as_of``."""
    ledger = read_ledger(settings.place, [APPROVED, SENT, SUPPRESSED])
    connection.register("in_ledger", pd.DataFrame({"customer_id": ledger["customer_id"].unique()}))
    try:
        orders = connection.execute(ORDERS).df()
    finally:
        connection.unregister("in_ledger")
    return results(ledger, orders, settings.shop, pd.Timestamp(naive(as_of)), approved_values(settings.place))
