"""Asset groups and tags. The UI sorts them by name, so a number keeps them in the order of the flow."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from customer360.lake.landing.contracts import Column, is_personal
from customer360.lake.publishing.tables import PublishedColumn

RAW = "1_raw"
TRANSFORM = "2_transform"
MARTS = "3_marts"
PREDICTIONS = "4_predictions"
CAMPAIGNS = "5_campaigns"
PUBLISHING = "6_publishing"
MONITORING = "7_monitoring"


def tags(domain: str, *tables: Iterable[Column | PublishedColumn]) -> dict[str, str]:
    """The tags of an asset of tables with these columns."""
    return {"domain": domain, "personal_data": "yes" if is_personal(chain.from_iterable(tables)) else "no"}
