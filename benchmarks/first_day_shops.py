"""The shops of ``benchmarks.first_day``, as purchases with a moment that stands for the first day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import yaml

from customer360.adapters.completejourney import package_data
from customer360.lake.atomic import write_text
from customer360.lake.engine import literal
from customer360.simulation import Retailer, simulate_retailer
from customer360.simulation.writing import write_csv

CDNOW_FILE = "CDNOW_master.txt"
CDNOW_CATEGORY = "cds"


@dataclass(frozen=True)
class FirstDayShop:
    """A shop's data and its first day.

    Attributes:
        purchases: order lines in the contract's columns, ``category_id`` among them (None where unknown), times naive UTC.
        customers: the customers that the shop lists on its first day.
        first_day: the moment until which data are known, naive UTC.
        settings: fields of shop.yaml beside those of ``write``.

    """

    name: str
    purchases: pd.DataFrame
    customers: pd.DataFrame
    first_day: datetime
    settings: dict[str, Any]

    def write(self, folder: Path, root: Path, moment: datetime) -> None:
        """Write shop.yaml into ``folder`` and what is known at ``moment`` into landing of the place ``root``."""
        start = moment.replace(tzinfo=UTC)
        values = {
            "name": self.name,
            "title": self.name,
            "slice_minutes": 15,
            "slices_start": start,
            "slices_end": start + timedelta(minutes=15),
            "live": False,
            "channels": ["email"],
            "dayparts": {"day": {"from": 8, "to": 20}},
            **self.settings,
        }
        write_text(folder / "shop.yaml", yaml.safe_dump(values, sort_keys=False))
        known = self.purchases[self.purchases["purchased_at"] < moment]
        products = self.purchases.drop_duplicates("product_id")[["product_id", "category_id"]]
        for table, frame in (
            ("purchases", known.drop(columns="category_id")),
            ("products", products),
            ("customers", self.customers),
        ):
            write_csv(root / "landing" / "reference" / table / f"{table}.csv", frame)


def cdnow(folder: Path) -> FirstDayShop:
    """CDNOW: 23,570 customers who first bought in the first quarter of 1997, until June 1998; one category, dates alone.

    Lines of a customer on a day are an order. Fader and Hardie publish the file (brucehardie.com/datasets).
    """
    names = ["customer_id", "date", "quantity", "amount"]
    lines = pd.read_csv(folder / CDNOW_FILE, sep=r"\s+", header=None, names=names, dtype=str)
    lines = lines[lines["date"].str.isdigit()]  # some copies of the file have a header
    purchases = pd.DataFrame(
        {
            "order_id": lines["customer_id"] + "-" + lines["date"],
            "product_id": "cd",
            "line_no": np.arange(1, len(lines) + 1),
            "customer_id": lines["customer_id"],
            "purchased_at": pd.to_datetime(lines["date"], format="%Y%m%d") + pd.Timedelta(hours=17),
            "quantity": lines["quantity"].astype(int),
            "amount": lines["amount"],
            "category_id": CDNOW_CATEGORY,
        }
    )
    settings = {"time_zone": "America/New_York", "currency": "USD", "categories": [CDNOW_CATEGORY], **_monthly()}
    first_day = datetime(1998, 1, 1)  # noqa: DTZ001  naive UTC
    return FirstDayShop("cdnow", purchases, _buyers(purchases, first_day), first_day, settings)


def journey(_: Path) -> FirstDayShop:
    """Complete Journey 2.0: 2,469 households of a grocery chain in 2017; a department is a category."""
    source = {
        name: f"read_parquet({literal(str(package_data() / f'{name}.parquet'))})" for name in ("transactions", "products")
    }
    with duckdb.connect() as connection:
        purchases = connection.execute(
            f"""
            select cast(basket_id as varchar) as order_id, cast(product_id as varchar) as product_id, 1 as line_no,
                cast(household_id as varchar) as customer_id, transaction_timestamp as purchased_at, quantity,
                cast(cast(sales_value as decimal(18, 2)) as varchar) as amount, department as category_id
            from {source["transactions"]} as sold left join {source["products"]} as listed using (product_id)
            order by purchased_at, order_id, product_id
            """
        ).df()
    settings = {
        "time_zone": "America/New_York",
        "currency": "USD",
        "categories": {"top": 10},
        "windows_days": [7, 30, 90],
        "label_horizon_days": 7,
        "churn_horizon_days": 28,
    }
    first_day = datetime(2017, 11, 5)  # noqa: DTZ001  naive UTC
    return FirstDayShop("journey", purchases, _buyers(purchases, first_day), first_day, settings)


def generated(_: Path) -> FirstDayShop:
    """The generated retailer: 200,000 lines of 6,000 customers, of whom those are listed who are there on the first day."""
    first_day = datetime(2026, 3, 2)  # noqa: DTZ001  naive UTC
    simulated = simulate_retailer(Retailer(lines=200_000, customers=6_000, lines_per_order=6))
    category = dict(zip(simulated.products["product_id"], simulated.products["category_id"], strict=True))
    purchases = simulated.purchases.assign(category_id=simulated.purchases["product_id"].map(category).replace("", None))
    has_arrived = (simulated.people["arrived_at"] < first_day).to_numpy()
    settings = {
        "time_zone": "Europe/London",
        "currency": "GBP",
        "categories": ["kitchen", "garden", "lighting", "toys", "stationery", "textiles", "candles", "christmas"],
        "attributes": {"country": {"type": "text"}, "is_business": {"type": "boolean"}},
        **_monthly(),
    }
    return FirstDayShop("generated", purchases, simulated.customers[has_arrived], first_day, settings)


SHOPS: dict[str, Callable[[Path], FirstDayShop]] = {"cdnow": cdnow, "journey": journey, "generated": generated}


def _monthly() -> dict[str, Any]:
    """Windows and horizons of a shop whose customers buy every few months.

    Churn of 35 days needs 7 of the 8 weekly cut-offs, and five weeks held back after the last moment that is compared.
    """
    return {"windows_days": [30, 90, 180], "label_horizon_days": 28, "churn_horizon_days": 35}


def _buyers(purchases: pd.DataFrame, first_day: datetime) -> pd.DataFrame:
    """Every customer who bought before the first day, with consent to e-mail."""
    bought = purchases.loc[purchases["purchased_at"] < first_day, "customer_id"]
    return pd.DataFrame({"customer_id": sorted(bought.unique()), "consent_email": "true"})
