"""Contacts that are still to come: of approved plans, and of the newest drafts."""

from __future__ import annotations

from customer360.campaigns.ledger import APPROVED, CONTACT, SENT, SUPPRESSED, ledger_parts, ledger_query
from customer360.lake.engine import literal
from customer360.lake.publishing.publications import file_tables
from customer360.settings import Place

COLUMNS = "customer_id, cast(contact_date as date) as contact_date, channel, daypart, campaign_id"


def planned_contacts(place: Place) -> str | None:
    """A relation of customer_id, contact_date, channel, daypart, campaign_id and status; None before the first plan.

    Status is ``approved`` until the contact is sent or suppressed, or ``draft``: of the newest plan, nobody has approved it.
    """
    parts = []
    if ledger_parts(place):
        entries = ledger_query(place, [APPROVED, SENT, SUPPRESSED])
        key = "campaign_id, plan_version, customer_id"
        contacts = f"event = {literal(APPROVED)} and arm = {literal(CONTACT)}"
        parts.append(
            f"select {COLUMNS}, 'approved' as status from ({entries}) where {contacts} "
            f"and ({key}) not in (select ({key}) from ({entries}) where event in ({literal(SENT)}, {literal(SUPPRESSED)}) "
            "and customer_id is not null)"
        )
    plan = file_tables(place).get("campaign_plan")
    if plan:
        parts.append(f"select {COLUMNS}, 'draft' as status from ({plan}) where decision = {literal(CONTACT)}")
    return f"({' union all '.join(parts)})" if parts else None
