"""The published tables and reference versions that the response model is made of."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pandas as pd

from customer360.campaigns.definition import load_campaigns
from customer360.campaigns.ledger import APPROVED, SENT, SUPPRESSED, read_ledger
from customer360.campaigns.own_touches import own_touches, with_own_touches
from customer360.lake.publishing.version import current_publication, reader
from customer360.lake.reference.attribute_versions import attribute_versions_query
from customer360.settings import Settings
from ml.datasets.training_sets import TrainingSetError
from ml.responses.contact_rows import ResponseInputs

TOUCHES, ORDERS, ZONES = "campaign_touch_history", "customer_orders", "customer_time_zones"


def read_response_inputs(settings: Settings) -> tuple[ResponseInputs, datetime]:
    """The inputs, and until when outcomes are known (plain UTC): as the published orders, which are made at night.

    Touches are the shop's own and those that this product sent or held back, of which the ledger tells; campaigns those of the
    reference table and of the shop's campaign files. Raises ``TrainingSetError`` where no contacts are published yet.
    """
    place, shop = settings.place, settings.shop
    publication = current_publication(place)
    if publication is None or publication.as_of is None or TOUCHES not in publication.rows:
        raise TrainingSetError(f"{TOUCHES} is not published yet; run history_job, or warehouse_job after an upgrade")
    with reader(place) as connection:
        touches = connection.execute(f"select * from {TOUCHES} order by touch_id").df()
        orders = _orders(connection) if ORDERS in publication.rows else None
        if orders is not None and ZONES in publication.rows:
            ledger = read_ledger(place, [APPROVED, SENT, SUPPRESSED])
            own = own_touches(ledger, orders, connection.execute(f"select * from {ZONES}").df(), shop)
            touches = with_own_touches(touches, own)
        inputs = ResponseInputs(
            touches=touches,
            attributes=connection.execute(attribute_versions_query(place, shop)).df(),
            campaigns=known_campaigns(connection.execute("select * from campaigns order by campaign_id").df(), settings),
            offers=connection.execute("select * from offers order by offer_id").df(),
            orders=orders,
        )
        known_at = None
        if orders is not None:
            (known_at,) = connection.execute(f"select max(as_of) from {ORDERS}").fetchone() or (None,)
    as_of = publication.as_of.astimezone(UTC).replace(tzinfo=None)
    return inputs, min(as_of, known_at) if known_at is not None else as_of


def known_campaigns(reference: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """campaign_id, kind and offer_id of the campaigns that files and the reference table name; of one in both, the file's."""
    files, _ = load_campaigns(settings.campaign_folder, settings.shop)
    rows = [(campaign.campaign_id, campaign.kind, campaign.offer_id) for campaign in files]
    frame = pd.DataFrame(rows, columns=["campaign_id", "kind", "offer_id"]).astype("str")
    others = reference.loc[~reference["campaign_id"].isin(frame["campaign_id"]), list(frame.columns)]
    return pd.concat([frame, others], ignore_index=True)


def _orders(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    columns = "customer_id, ordered_at, amount, lines"
    return connection.execute(f"select {columns} from {ORDERS} order by customer_id, ordered_at").df()
