"""Every version of customers' attributes, with its validity: what was known of somebody at a moment of the past."""

from __future__ import annotations

from customer360.lake.engine import quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference_history import reference_relation
from customer360.settings import Place, Shop


def attribute_versions_query(place: Place, shop: Shop) -> str:
    """SQL of one row per customer and version: customer_id, valid_from, valid_to (UTC, null while in force), attributes."""
    relation = reference_relation(place, reference_tables(shop)["customers"])
    columns = ", ".join(["customer_id", "valid_from", "valid_to", *map(quoted, shop.attributes)])
    return f"select {columns} from ({relation}) order by customer_id, valid_from"
