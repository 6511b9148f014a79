"""The published ledger and next contacts: an approval, a withdrawal and a hand-over are seen at once, not with a slice."""

from __future__ import annotations

from datetime import datetime

from customer360.campaigns.ledger import ledger_parts
from customer360.campaigns.planned_contacts import planned_contacts
from customer360.lake.publishing.profiles import with_next_contact
from customer360.lake.publishing.publications import linked_files
from customer360.lake.publishing.publishing import republish
from customer360.lake.publishing.version import current_publication
from customer360.settings import Place


def publish_ledger(place: Place, now: datetime) -> None:
    """Publish the current version again with the ledger's parts of now; nothing before the first publication.

    Profiles show the next contact by it, as approved or not at all any more.
    """
    publication = current_publication(place)
    if ledger_parts(place) and publication is not None:
        profiles = "select * from customer_profiles"
        replaced = {"customer_profiles": with_next_contact(profiles, planned_contacts(place))}
        known = replaced if "customer_profiles" in publication.rows else {}
        republish(place, known, now, linked_files(place))
