"""Customer profiles: one row per customer with segment, scores, reasons and next contact. Made after scores and plan."""

from __future__ import annotations

from collections.abc import Mapping

from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import ATTRIBUTE_TYPES
from customer360.settings import NONE, Shop, slug

PROFILES, PLAN, LEDGER = "customer_profiles", "campaign_plan", "campaign_ledger"
# Column of a planned contact -> column of a profile.
CONTACT_COLUMNS = {
    "contact_date": "next_contact_on",
    "channel": "next_contact_channel",
    "daypart": "next_contact_daypart",
    "campaign_id": "next_contact_campaign_id",
    "status": "next_contact_status",
}


def profiles_query(shop: Shop, tables: Mapping[str, str]) -> str:
    """SQL of the profiles.

    ``tables`` maps customer_features, customer_attributes, rfm_segments, customer_scores, customer_value,
    customer_reasons and last_activity (customer_id, last_event_at) to relations.

    Columns: customer_id, as_of, segment, recency_days, frequency, monetary, label (the class that the model's decision names),
    one probability a class, purchase and churn probability, expected spend, top category with three reasons, last activity,
    attributes.
    """
    classes = [*shop.category_ids, NONE]
    probabilities = ", ".join(
        f"max(probability) filter (where category_id = {literal(c)}) as probability_{slug(c)}" for c in classes
    )
    attributes = "".join(f", attributes.{quoted(name)}" for name in shop.attributes)
    values = "".join(
        f", cast(max(value) filter (where attribute_name = {literal(name)}) as {ATTRIBUTE_TYPES[spec.type]}) as {quoted(name)}"
        for name, spec in shop.attributes.items()
    )
    return f"""
        with scored as (
            select customer_id, max(category_id) filter (where is_label) as label, {probabilities},
                arg_min(category_id, rank) filter (where category_id <> {literal(NONE)}) as top_category_id,
                max(model_version) as model_version
            from {tables["customer_scores"]} group by customer_id
        ),
        attributes as (select customer_id{values} from {tables["customer_attributes"]} group by customer_id)
        select features.customer_id, features.as_of, segments.segment, segments.recency_days, segments.frequency,
            segments.monetary, scored.* exclude (customer_id, top_category_id), value.purchase_probability,
            value.expected_spend, value.churn_probability, scored.top_category_id,
            reasons.reason_1, reasons.reason_2, reasons.reason_3, reasons.reasons_as_of,
            activity.last_event_at as last_activity_at{attributes}
        from {tables["customer_features"]} as features
        left join {tables["rfm_segments"]} as segments using (customer_id)
        left join scored using (customer_id)
        left join {tables["customer_value"]} as value using (customer_id)
        left join {tables["customer_reasons"]} as reasons using (customer_id)
        left join {tables["last_activity"]} as activity using (customer_id)
        left join attributes using (customer_id)
    """


def with_next_contact(profiles: str, contacts: str) -> str:
    """SQL of ``profiles`` (a query) with the next of the ``contacts`` (a relation as of ``planned_contacts``) of each customer.

    The next one is the first whose day is not over as of the profile, of one day an approved one. Contact columns that
    ``profiles`` has already, of an earlier version, are replaced.
    """
    names = "[" + ", ".join(literal(name) for name in CONTACT_COLUMNS.values()) + "]"
    struct = ", ".join(f"{literal(name)}: {name}" for name in CONTACT_COLUMNS)
    columns = ", ".join(f"next_contact.{name} as {alias}" for name, alias in CONTACT_COLUMNS.items())
    return f"""
        with planned as (
            select customer_id, list({{{struct}}} order by contact_date, status, campaign_id) as contacts
            from {contacts} group by customer_id
        ),
        bare as (select columns(lambda name: not list_contains({names}, name)) from ({profiles})),
        joined as (
            select bare.*,
                list_filter(
                    planned.contacts, lambda contact: contact.contact_date >= cast(bare.as_of as date)
                )[1] as next_contact
            from bare left join planned using (customer_id)
        )
        select * exclude (next_contact), {columns}
        from joined order by customer_id
    """


def planned_contacts(plan: str | None, ledger: str | None) -> str:
    """A relation of the contacts that are still to come: customer_id, contact_date, channel, daypart, campaign_id, status.

    ``plan`` and ``ledger``: queries of ``campaign_plan`` and ``campaign_ledger``, None before there is one. Status is
    ``approved`` until the ledger has the contact as sent or suppressed, or ``draft``: of the newest plan, nobody has approved
    it.
    """
    columns = "customer_id, cast(contact_date as date) as contact_date, channel, daypart, campaign_id"
    key = "campaign_id, plan_version, customer_id"
    texts = ", ".join(f"null::varchar as {name}" for name in ("channel", "daypart", "campaign_id", "status"))
    parts = [f"select null::varchar as customer_id, null::date as contact_date, {texts} where false"]
    if ledger:
        ended = f"select ({key}) from ({ledger}) where event in ('sent', 'suppressed') and customer_id is not null"
        is_open = f"event = 'approved' and arm = 'contact' and ({key}) not in ({ended})"
        parts.append(f"select {columns}, 'approved' from ({ledger}) where {is_open}")
    if plan:
        parts.append(f"select {columns}, 'draft' from ({plan}) where decision = 'contact'")
    return f"({' union all '.join(parts)})"
