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
    """Customers by id with what differs from ``PROFILE``, the customer of each visitor, and who consents to personalisation."""

    root: Path
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    visitors: dict[str, str] = field(default_factory=dict)
    consented: set[str] = field(default_factory=set)
    slices: int = 0

    @property
    def settings(self) -> Settings:
        shop = small_shop(serving=True, attributes=ATTRIBUTES)
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
            tables = {"customer_profiles": "from profiles", "visitor_customers": _rows(self.visitors.items())}
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
