"""A small shop with a published version that a test writes, for the store and the services."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from customer360.lake.engine import literal
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.publishing import publish
from customer360.lake.reference.reference_history import history_file
from customer360.services.store.writing import Refresh, refresh_store
from customer360.settings import Place, Settings
from customer360.snapshot import open_snapshot
from tests.support.random_shop import small_shop

AS_OF = datetime(2026, 5, 1, 10, tzinfo=UTC)
ATTRIBUTES = {
    "city": {},
    "age": {"type": "integer", "personal": True},
    "email": {"personal": True},
    "is_member": {"type": "boolean"},
}
COLUMNS = (
    "customer_id varchar, as_of timestamp, segment varchar, recency_days bigint, frequency bigint, monetary decimal(18, 2), "
    "label varchar, probability_books double, probability_music double, probability_garden_home double, "
    "probability_other double, probability_none double, model_version varchar, purchase_probability double, "
    "expected_spend double, churn_probability double, top_category_id varchar, reason_1 varchar, reason_2 varchar, "
    "reason_3 varchar, reasons_as_of timestamp, last_activity_at timestamp, city varchar, age bigint, email varchar, "
    "is_member boolean, next_contact_campaign_id varchar"
)


@dataclass
class ServedShop:
    """Customers by id with what differs from ``PROFILE``, the customer of each visitor, and who consents to personalisation.

    ``tables``: further published tables by name, as SQL. ``rules``: of shop.yaml.
    """

    root: Path
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    visitors: dict[str, str] = field(default_factory=dict)
    consented: set[str] = field(default_factory=set)
    tables: dict[str, str] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    slices: int = 0

    @property
    def settings(self) -> Settings:
        shop = small_shop(**{"serving": True, "attributes": ATTRIBUTES, **self.rules})
        return Settings(shop=shop, place=Place(root=self.root / "data"), shop_folder=self.root)

    def publish(self) -> None:
        """Publish the customers as they are now, as of the next slice."""
        self.slices += 1
        as_of = AS_OF + self.slices * timedelta(minutes=15)
        with duckdb.connect() as connection:
            connection.execute(f"create table profiles ({COLUMNS})")
            at = as_of.replace(tzinfo=None)
            rows = [{**PROFILE, "customer_id": name, "as_of": at, **own} for name, own in self.customers.items()]
            connection.register("rows", pd.DataFrame(rows))
            connection.execute("insert into profiles by name from rows")
            tables = {"customer_profiles": "from profiles", "visitor_customers": _rows(self.visitors.items()), **self.tables}
            self._write_consents(connection)
            publish(self.settings.place, connection, tables, as_of, datetime.now(UTC))

    def _write_consents(self, connection: duckdb.DuckDBPyConnection) -> None:
        history = history_file(self.settings.place, "customers")
        history.parent.mkdir(parents=True, exist_ok=True)
        contract = reference_tables(self.settings.shop)["customers"]
        connection.execute(
            f"create table consents ({', '.join(f'{column.name} {column.type}' for column in contract.columns)}, "
            "valid_from timestamp, valid_to timestamp)"
        )
        given = pd.DataFrame({"customer_id": [*self.customers]})
        given = given.assign(
            consent_personalisation=given["customer_id"].isin(self.consented), valid_from=pd.Timestamp("1970-01-01")
        )
        connection.register("given", given)
        connection.execute("insert into consents by name from given")
        connection.execute(f"copy consents to {literal(str(history))} (format parquet)")

    def refresh(self, *, anew: bool = False) -> Refresh:
        with open_snapshot(self.settings) as snapshot:
            return refresh_store(snapshot, anew=anew)

    def publish_and_refresh(self) -> Refresh:
        self.publish()
        return self.refresh()


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    values = [f"select {literal(visitor)} as visitor_id, {literal(customer)} as customer_id" for visitor, customer in pairs]
    return " union all ".join(values) or "select '' as visitor_id, '' as customer_id where false"


# What a small shop sells, and what is known of it: C1 likes p2 and p1, and has bought p4 for ever; p3 is sold out.
SHELVES = {
    "products": """
        select col0 as product_id, col1 as name, col2 as category_id, col3::decimal(18, 2) as price,
            true as is_for_sale, col4::double as stock
        from (values ('p1', 'Novel', 'books', 9.5, null), ('p2', 'Guitar', 'music', 120, 3),
            ('p3', 'Spade', 'garden & home', 15, 0), ('p4', 'Atlas', 'books', 30, null), ('p5', 'Drum', 'music', 80, 1),
            ('p6', 'Rose', 'garden & home', 5, null))
    """,
    "product_affinity": """
        select 'C' || c as customer_id, col0 as product_id, col1 as rank, col2 as probability, col3 as reason
        from (values ('p2', 1, .25, 'you viewed this lately'), ('p1', 2, .125, 'popular in Books')),
            range(1, 4) as customers (c)
    """,
    "cold_start": """
        select col0 as entry, col1 as product_id, col2 as rank, col3 as score, col4 as reason
        from (values ('all', 'p6', 1, .5, 'popular in the shop'), ('all', 'p1', 2, .3, 'popular in the shop'),
            ('all', 'p3', 3, .2, 'popular in the shop'), ('music', 'p5', 1, .7, 'popular after Music'))
    """,
    "related_products": """
        select col0 as product_id, col1 as related_product_id, col2 as relation, col3 as rank, col4 as score,
            col5 as reason
        from (values ('p2', 'p5', 'also_viewed', 1, .6, 'viewed together with Guitar'),
            ('p2', 'p3', 'also_viewed', 2, .5, 'viewed together with Guitar'),
            ('p2', 'p1', 'also_bought', 1, .4, 'bought together with Guitar'))
    """,
    "interactions": """
        select 'C1' as customer_id, 'purchase' as kind, 'p4' as product_id, timestamp '2026-04-30' as happened_at union all
        select 'C2', 'view', 'p1', timestamp '2026-05-01'
    """,
    "repurchase_intervals": "select 'books' as category_id, 'infinity'::double as least_days",
    "offers": """
        select offer_id, name, null::varchar as product_ids, null::varchar as product_id, category_id, condition, parameters,
            priority, is_default, null::date as starts_on, null::date as ends_on, most_shown_24h,
            null::bigint as most_shown_30d, null::bigint as stock, null::varchar as campaign_id
        from (values ('o-music', 'Strings for free', 'music', 'specific_products', null, 1, false, null),
            ('o-loyal', '5% off for champions', null, 'segment', 'segments=Champions', 2, false, 2),
            ('o-all', 'The newsletter', null, 'always', null, 3, true, null))
            as offers (offer_id, name, category_id, condition, parameters, priority, is_default, most_shown_24h)
    """,
    "offer_activity": (
        "select null::timestamp as event_slice, null::varchar as offer_id, null::bigint as purchases where false"
    ),
    "offer_inputs": """
        select 'C' || c as customer_id, format('{{"customer_id":"C{}","segment":"{}","products":[["p2",0.25]],"tastes":'
            '{{"books":0.5,"music":0.25}}}}', c, if(c = 1, 'Champions', 'Lost')) as inputs, 'b1' as basis
        from range(1, 4) as customers (c)
    """,
}
PROFILE: dict[str, Any] = {
    "segment": "Champion",
    "recency_days": 3,
    "frequency": 4,
    "monetary": 99.5,
    "label": "garden & home",
    "probability_books": 0.1,
    "probability_music": 0.05,
    "probability_garden_home": 0.3,
    "probability_other": 0.03,
    "probability_none": 0.52,
    "model_version": "v7",
    "purchase_probability": 0.48,
    "expected_spend": 12.5,
    "churn_probability": None,
    "top_category_id": "garden & home",
    "reason_1": "4 views of garden & home in 3 days",
    "reason_2": "bought garden & home 2 times",
    "reason_3": None,
    "reasons_as_of": "2026-05-01 09:30:00",
    "last_activity_at": "2026-05-01 09:59:59.5",
    "city": "Utrecht",
    "age": 41,
    "email": "someone@example.org",
    "is_member": True,
    "next_contact_campaign_id": "K1",
}
