"""The published ledger: readers see an approval, a withdrawal and a hand-over at once, not with the next slice."""

from __future__ import annotations

from datetime import datetime

from customer360.campaigns.ledger import ledger_parts
from customer360.lake.publishing.publications import linked_files
from customer360.lake.publishing.publishing import current_publication, republish
from customer360.settings import Place


def publish_ledger(place: Place, now: datetime) -> None:
    """Publish the current version again with the ledger's parts of now; nothing before the first publication."""
    if ledger_parts(place) and current_publication(place) is not None:
        republish(place, {}, now, linked_files(place))
