"""A warehouse with the tables that decisions read, filled by hand, and a shop with campaigns and a ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import yaml

from customer360.campaigns.ledger import append
from customer360.lake.engine import quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference_history import history_file
from customer360.settings import Place, Settings
from tests.support.random_shop import small_shop

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = NOON.date()
ACTIVITY = [f"{measure}_{window} bigint" for window in ("24h", "30d") for measure in ("views", "carts", "orders")]
TABLES = {
    "marts.customer_features": "customer_id varchar",
    "marts.rfm_segments": "customer_id varchar, segment varchar",
    "marts.customer_attributes": "customer_id varchar, attribute_name varchar, value varchar",
    "marts.customer_product_activity": f"customer_id varchar, product_id varchar, {', '.join(ACTIVITY)}",
    "marts.customer_offer_activity": "customer_id varchar, offer_id varchar, shown_24h bigint, shown_30d bigint",
    "marts.offer_activity": "event_slice timestamp, offer_id varchar, purchases bigint",
    "predictions.customer_scores": "customer_id varchar, category_id varchar, probability double",
}


class Store:
    """The shop of a test."""

    def __init__(self, root: Path, connection: duckdb.DuckDBPyConnection) -> None:
        shop = small_shop(
            attributes={"distance_to_store": {"type": "double"}, "age": {"type": "integer"}},
            campaigns={"global_holdout_share": 0.0},
            offers={"exploration_share": 0.0},
        )
        self.settings = Settings(shop=shop, place=Place(root=root), shop_folder=root / "shop")
        self.connection = connection
        for schema in ("marts", "predictions", "raw"):
            connection.execute(f"create schema {schema}")
        for name, columns in TABLES.items():
            connection.execute(f"create table {name} ({columns})")
        for name in ("offers", "products"):
            columns = ", ".join(f"{quoted(column.name)} {column.type}" for column in reference_tables(shop)[name].columns)
            connection.execute(f"create table raw.{name} ({columns}, valid_from timestamp, valid_to timestamp)")

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        for row in rows:
            marks = ", ".join("?" * len(row))
            self.connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", [*row.values()])

    def customers(self, *names: str) -> None:
        self.add("marts.customer_features", *({"customer_id": name} for name in names))

    def consents(self, which: str = "true") -> None:
        """The customers for whom ``which`` holds, a condition, are those who consent to personalisation."""
        file = history_file(self.settings.place, "customers")
        file.parent.mkdir(parents=True, exist_ok=True)
        self.connection.execute(
            f"copy (select customer_id, {which} as consent_personalisation, timestamp '1970-01-01' as valid_from, "
            f"cast(null as timestamp) as valid_to from marts.customer_features) to '{file}' (format parquet)"
        )

    def rules(self, **rules: Any) -> None:
        """Other rules of campaigns and offers, as in shop.yaml."""
        values = self.settings.shop.model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, changed in rules.items():
            values[name] = values[name] | changed if isinstance(changed, dict) else changed
        self.settings = self.settings.model_copy(update={"shop": type(self.settings.shop).model_validate(values)})

    def campaign(self, name: str, **fields: Any) -> None:
        folder = self.settings.campaign_folder
        folder.mkdir(parents=True, exist_ok=True)
        base = {"title": name, "audience": "everyone", "value_per_conversion": 20, "channels": {"email": {"cost": 0.1}}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(base | fields), encoding="utf-8")

    def ledger(self, *rows: dict[str, Any]) -> None:
        frame = pd.DataFrame([{"event_at": pd.Timestamp("2026-05-01"), "plan_version": "v1", **row} for row in rows])
        frame["contact_date"] = pd.to_datetime(frame["contact_date"]) if "contact_date" in frame else pd.NaT
        append(self.settings.place, frame, NOON, "a test")


def offer(offer_id: str, **values: Any) -> dict[str, Any]:
    return {"offer_id": offer_id, "name": offer_id.title(), **values}


def many_customers(store: Store) -> None:
    """10,001 customers, some held out, with four offers: for a segment, for a product, and of a campaign with holdouts."""
    store.rules(offers={"exploration_share": 0.3, "threshold": 0.1}, campaigns={"global_holdout_share": 0.05}, serving=True)
    store.connection.execute("insert into marts.customer_features select 'c' || i from range(10001) as numbers (i)")
    store.consents()
    store.connection.execute(
        "insert into predictions.customer_scores select customer_id, category_id, hash(customer_id || category_id) / 4e19 "
        "from marts.customer_features cross join (values ('books'), ('music')) as categories (category_id)"
    )
    store.connection.execute(
        "insert into marts.customer_product_activity by name select customer_id, 'p1' as product_id, 1 as views_30d, "
        "1 as views_24h, 0 as carts_24h, 0 as orders_24h, 0 as carts_30d, 0 as orders_30d from marts.customer_features "
        "where hash(customer_id) % 2 = 0"
    )
    store.add("raw.products", {"product_id": "p1", "category_id": "books"})
    store.connection.execute(
        "insert into marts.rfm_segments select customer_id, if(hash(customer_id) % 3 = 0, 'Loyal', 'At Risk') "
        "from marts.customer_features"
    )
    store.add(
        "raw.offers",
        offer("o1", condition="segment", parameters="segments=Loyal", priority=1, stock=9, starts_on=DAY),
        *(offer("o2"), offer("o3"), offer("o4", product_ids="p1")),
    )
    store.campaign("spring", offer_id="o3", holdout_share=0.4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield Store(tmp_path, connection)
