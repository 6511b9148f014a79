"""Customer profiles: what a person would want to read of a customer, one row each. Made after scores and plan."""

from __future__ import annotations

from collections.abc import Mapping

from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import ATTRIBUTE_TYPES
from customer360.settings import NONE, Shop, slug

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


def with_next_contact(profiles: str, contacts: str | None) -> str:
    """SQL of ``profiles`` (a query) with the next of the ``contacts`` that are planned of each customer.

    ``contacts``: a relation of customer_id, contact_date, channel, daypart, campaign_id and status (approved or draft), or None
    before the first plan. The next one is the first whose day is not over as of the profile, of one day an approved one.
    Contact columns that ``profiles`` has already, of an earlier plan, are replaced.
    """
    names = "[" + ", ".join(literal(name) for name in CONTACT_COLUMNS.values()) + "]"
    bare = f"select columns(lambda name: not list_contains({names}, name)) from ({profiles})"
    nobody = (
        "(select null::varchar as customer_id, null::date as contact_date, null::varchar as channel, null::varchar as daypart, "
        "null::varchar as campaign_id, null::varchar as status where false)"
    )
    one = ", ".join(f"{literal(name)}: {name}" for name in CONTACT_COLUMNS)
    columns = ", ".join(f"next_one.{name} as {alias}" for name, alias in CONTACT_COLUMNS.items())
    return f"""
        with planned as (
            select customer_id,
                list({{{one}}} order by contact_date, status, campaign_id) as days
            from {contacts or nobody} group by customer_id
        ),
        next_ones as (
            select profiles.*,
                list_filter(planned.days, lambda one: one.contact_date >= cast(profiles.as_of as date))[1] as next_one
            from ({bare}) as profiles left join planned using (customer_id)
        )
        select * exclude (next_one), {columns}
        from next_ones order by customer_id
    """
