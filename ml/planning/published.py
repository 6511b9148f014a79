"""What plans are made of, read from the published version, the ledger and the newest consents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pandas as pd

from customer360.campaigns.audience import members
from customer360.campaigns.commitments import commitments
from customer360.campaigns.definition import Campaign
from customer360.campaigns.ledger import APPROVED, SENT, SUPPRESSED, holdout_salt, read_ledger
from customer360.lake.publishing.version import current_publication
from customer360.lake.reference.consents import consents_query
from customer360.lake.reference.suppressions import suppressions_query
from customer360.settings import Settings
from ml.planning.campaign_planning import PlanningInputs

CUSTOMERS = """
    select segments.customer_id, segments.segment, zones.time_zone
    from rfm_segments as segments left join customer_time_zones as zones using (customer_id) order by 1
"""


def read_planning_inputs(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime, by: str) -> PlanningInputs:
    """The frames of a plan, as of the published version that ``connection`` reads. The first one gives the ledger its salt."""
    place, shop = settings.place, settings.shop
    publication = current_publication(place)
    if publication is None or publication.as_of is None:
        raise FileNotFoundError(f"nothing is published below {place.published} yet; run a slice first")
    touches = connection.execute("select * from campaign_touch_history order by touch_id").df()
    return PlanningInputs(
        customers=connection.execute(CUSTOMERS).df(),
        consents=connection.execute(consents_query(place, shop)).df(),
        suppressions=connection.execute(suppressions_query(place, shop)).df(),
        commitments=commitments(read_ledger(place, [APPROVED, SENT, SUPPRESSED]), touches, shop),
        salt=holdout_salt(place, shop.campaigns.global_holdout_salt, now, by),
        as_of=publication.as_of.replace(tzinfo=UTC),
    )


@dataclass
class PublishedAudiences:
    """Audiences by what is published; each is looked up once."""

    connection: duckdb.DuckDBPyConnection
    settings: Settings

    def __post_init__(self) -> None:
        """Nobody has asked yet."""
        self.found: dict[str, pd.Index[str]] = {}

    def __call__(self, campaign: Campaign) -> pd.Index[str]:
        """Ids of a campaign's audience, sorted. Raises ``AudienceError``."""
        if campaign.campaign_id not in self.found:
            self.found[campaign.campaign_id] = members(self.connection, campaign.audience, self.settings.shop)
        return self.found[campaign.campaign_id]
