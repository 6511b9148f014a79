"""The one declaration of the store's tables: of which published tables each is made, and what the value of a key is.

Values are JSON, made by DuckDB. What is answered as it is kept needs no work when it is asked for. Nothing in a value changes
with every slice, such as the point in time, so that an unchanged customer is no changed row.
"""

from __future__ import annotations

from dataclasses import dataclass

from customer360.lake.engine import literal, quoted
from customer360.settings import NONE, Shop, slug

PROFILES, VISITORS, OFFERS, AFFINITIES = "profiles", "visitors", "offers", "affinities"
HOLDOUTS, BOUGHT, RELATED, PRODUCTS, COLD_START = "holdouts", "bought", "related", "products", "cold_start"
CONSENTED = "consented"  # the temporary table of the customers who consent to personalisation
LONGEST_KEY = 511  # bytes, as LMDB is built
LONG_KEY = "sha256:"  # in place of a longer id, and of one that begins so


@dataclass(frozen=True)
class StoreTable:
    """``rows``: SQL on the published ``sources``; ``id`` is the key. ``value``: SQL of the JSON of a row.

    Without ``order`` a key has one row, and its value is that row's; with it a list of the rows in this order (SQL). The table
    is empty until all its sources are published. ``{probabilities}`` and such are filled in for a shop (``_fillings``).
    """

    name: str
    sources: tuple[str, ...]
    rows: str
    value: str
    order: str = ""

    def rows_of(self, shop: Shop) -> str:
        """SQL of the rows, with ``key``."""
        key = (
            f"case when strlen(id) > {LONGEST_KEY} or starts_with(id, {literal(LONG_KEY)}) "
            f"then {literal(LONG_KEY)} || sha256(id) else id end"
        )
        return f"select {key} as key, * from ({self.rows.format(**_fillings(shop))})"

    def value_of(self, shop: Shop) -> str:
        """SQL of the JSON text of a row."""
        return f"cast({self.value.format(**_fillings(shop))} as varchar)"


TABLES = (
    StoreTable(
        PROFILES,
        ("customer_profiles",),
        """
        select customer_id as id, consented.customer_id is not null as may_personalise, segment, recency_days, frequency,
            monetary, label, model_version, purchase_probability, expected_spend, churn_probability, top_category_id, reason_1,
            reason_2, reason_3, reasons_as_of, last_activity_at{columns}
        from customer_profiles left join consented using (customer_id)
        """,
        # in the order of schemas.Profile, but for the consent, which is looked for at the beginning
        """
        json_object(
            'may_personalise', may_personalise, 'customer_id', id, 'segment', segment, 'recency_days', recency_days,
            'frequency', frequency, 'monetary', cast(monetary as double), 'label', label,
            'affinities', case when model_version is null then [] else list_transform(
                list_sort([{probabilities}]),
                lambda entry: struct_pack(category_id := entry.category_id, probability := entry.probability)
            ) end,
            'model_version', model_version, 'purchase_probability', purchase_probability, 'expected_spend', expected_spend,
            'churn_probability', churn_probability, 'top_category_id', top_category_id,
            'reasons', list_filter([reason_1, reason_2, reason_3], lambda reason: reason is not null),
            'reasons_as_of', strftime(reasons_as_of, '%Y-%m-%dT%H:%M:%S.%gZ'),
            'last_activity_at', strftime(last_activity_at, '%Y-%m-%dT%H:%M:%S.%gZ'), 'attributes', json_object({attributes})
        )
        """,
    ),
    StoreTable(
        VISITORS,
        ("visitor_customers",),
        "select visitor_id as id, customer_id from visitor_customers semi join consented using (customer_id)",
        "customer_id",
    ),
    # of customers who consent alone: nothing else is decided by them
    StoreTable(
        OFFERS,
        ("offer_inputs",),
        "select customer_id as id, inputs from offer_inputs semi join consented using (customer_id)",
        "inputs",
    ),
    # of the others, what campaigns hold them out of: a holdout is drawn by the id alone, and they are measured by it too
    StoreTable(
        HOLDOUTS,
        ("offer_inputs",),
        """
        select customer_id as id, json_object(
            'customer_id', customer_id, 'is_held_out', coalesce(inputs::json->'is_held_out', false),
            'withheld', coalesce(inputs::json->'withheld', '[]'::json)
        ) as held
        from offer_inputs anti join consented using (customer_id)
        where contains(inputs, '"is_held_out":') or contains(inputs, '"withheld":')
        """,
        "held",
    ),
    StoreTable(
        AFFINITIES,
        ("product_affinity",),
        "select customer_id as id, rank, product_id, probability, reason from product_affinity",
        "json_array(product_id, probability, reason)",
        order="rank",
    ),
    # what a customer is not shown again yet, until when in seconds since 1970 (null: for ever)
    StoreTable(
        BOUGHT,
        ("interactions", "products", "repurchase_intervals"),
        """
        select customer_id as id, product_id,
            case when isfinite(least_days) then epoch(max(happened_at)) + least_days * 86400 end as until
        from interactions inner join products using (product_id) inner join repurchase_intervals using (category_id)
        where kind = 'purchase' and customer_id is not null and (
            not isfinite(least_days)
            or happened_at + to_seconds(least_days * 86400) > (select max(happened_at) from interactions)
        )
        group by customer_id, product_id, least_days
        """,
        "json_array(product_id, until)",
        order="product_id",
    ),
    StoreTable(
        RELATED,
        ("related_products",),
        "select product_id as id, relation, rank, related_product_id, score, reason from related_products",
        "json_array(relation, related_product_id, score, reason)",
        order="relation, rank",
    ),
    # in the order of recommend.Product
    StoreTable(
        PRODUCTS,
        ("products",),
        "select product_id as id, name, category_id, is_for_sale, stock, cast(price as double) as price from products",
        "json_array(name, category_id, is_for_sale, stock, price)",
    ),
    StoreTable(
        COLD_START,
        ("cold_start",),
        "select entry as id, rank, product_id, score, reason from cold_start",
        "json_array(product_id, score, reason)",
        order="rank",
    ),
)


def categories(shop: Shop) -> tuple[str, ...]:
    """The classes of the affinity model."""
    return (*shop.category_ids, NONE)


def attributes(shop: Shop) -> tuple[str, ...]:
    """The attributes that a profile holds: those that shop.yaml does not mark as personal."""
    return tuple(name for name, spec in shop.attributes.items() if not spec.personal)


def _fillings(shop: Shop) -> dict[str, str]:
    """The most probable category first, equal ones by id; attributes by name."""
    probabilities = (
        f"struct_pack(falling := -{column}, category_id := {literal(category)}, probability := {column})"
        for category in categories(shop)
        for column in [quoted(f"probability_{slug(category)}")]
    )
    own = [(literal(name), quoted(name)) for name in attributes(shop)]
    columns = [*(quoted(f"probability_{slug(category)}") for category in categories(shop)), *(column for _, column in own)]
    return {
        "columns": "".join(f", {column}" for column in columns),
        "probabilities": ", ".join(probabilities),
        "attributes": ", ".join(f"{name}, {column}" for name, column in own),
    }
