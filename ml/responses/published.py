"""The published tables and reference versions that the response model is made of."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pandas as pd

from customer360.lake.publishing.publishing import current_publication, reader
from customer360.lake.reference.attribute_versions import attribute_versions_query
from customer360.settings import Settings
from ml.datasets.training_sets import TrainingSetError
from ml.responses.contact_rows import ResponseInputs

TOUCHES, ORDERS = "campaign_touch_history", "customer_orders"


def read_response_inputs(settings: Settings) -> tuple[ResponseInputs, datetime]:
    """The inputs, and the moment (plain UTC) as of which they are known: the end of the last published slice.

    Raises ``TrainingSetError`` where no contacts are published yet.
    """
    place = settings.place
    publication = current_publication(place)
    if publication is None or publication.as_of is None or TOUCHES not in publication.rows:
        raise TrainingSetError(f"{TOUCHES} is not published yet; run history_job, or warehouse_job after an upgrade")
    with reader(place) as connection:
        inputs = ResponseInputs(
            touches=connection.execute(f"select * from {TOUCHES} order by touch_id").df(),
            attributes=connection.execute(attribute_versions_query(place, settings.shop)).df(),
            campaigns=connection.execute("select * from campaigns order by campaign_id").df(),
            offers=connection.execute("select * from offers order by offer_id").df(),
            orders=_orders(connection) if ORDERS in publication.rows else None,
        )
    return inputs, publication.as_of.astimezone(UTC).replace(tzinfo=None)


def _orders(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    return connection.execute(f"select customer_id, ordered_at, amount from {ORDERS} order by customer_id, ordered_at").df()
