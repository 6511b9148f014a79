"""The ETL on pandas: a group-by for each window, joined to the customers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reference import columns as c


def write_profiles(folder: Path, number: int, target: Path) -> None:
    """Write the profiles of a slice; see ``columns``."""
    customers = pd.read_csv(folder / "customer.csv", names=list(c.CUSTOMER)).set_index("customerID")
    purchases = pd.read_csv(folder / "purchase.csv", names=list(c.PURCHASE), parse_dates=["purchased_at"])
    browsing = pd.read_csv(folder / f"browsing_{number}.csv", parse_dates=["userDatetime"])
    parts: list[pd.DataFrame | pd.Series[Any]] = []
    for days in c.WINDOWS:
        parts += [_seconds(browsing, days), _spend(purchases, days).add_suffix(f"spend_{days}d")]
    parts += [_spend(purchases, c.RFM_DAYS).add_suffix(f"_m_{c.RFM_DAYS}d"), _rfm(purchases)]
    profiles = customers.join(parts)
    amounts = [*c.ACTIVITY, *c.MONETARY]
    profiles[amounts] = profiles[amounts].fillna(0).round(2)
    profiles[c.FREQUENCY] = profiles[c.FREQUENCY].fillna(0).astype("int64")
    profiles[c.RECENCY] = profiles[c.RECENCY].astype("Int64")
    profiles["label"] = 0
    for place, product in reversed(list(enumerate(c.PRODUCTS, 1))):
        profiles.loc[profiles[f"{product}spend_{min(c.WINDOWS)}d"] > 0, "label"] = place
    profiles.sort_index().reset_index()[c.COLUMNS].to_csv(target, index=False)


def _within(table: pd.DataFrame, column: str, days: int) -> pd.DataFrame:
    return table[(table[column] >= c.AS_OF - pd.Timedelta(days=days)) & (table[column] < c.AS_OF)]


def _seconds(browsing: pd.DataFrame, days: int) -> pd.DataFrame:
    """The seconds of the window. One row a customer who browsed, one column a product group."""
    columns = [f"category_{product}" for product in c.PRODUCTS]
    seconds = _within(browsing, "userDatetime", days).groupby("customerID")[columns].sum()
    return seconds.set_axis([f"{product}count_{days}d" for product in c.PRODUCTS], axis="columns")


def _spend(purchases: pd.DataFrame, days: int) -> pd.DataFrame:
    """The money of the window. One row a customer who bought, one column a product group."""
    bought = _within(purchases, "purchased_at", days)
    return bought.groupby(["customerID", "product"])["amount"].sum().unstack().reindex(columns=list(c.PRODUCTS))


def _rfm(purchases: pd.DataFrame) -> pd.DataFrame:
    """Recency in days and frequency. One row a customer who bought."""
    rfm = _within(purchases, "purchased_at", c.RFM_DAYS).groupby("customerID")["purchased_at"].agg(["max", "size"])
    days = (pd.Timestamp(c.AS_OF).normalize() - rfm["max"].dt.normalize()).dt.days
    return pd.DataFrame({c.RECENCY: days, c.FREQUENCY: rfm["size"]})


if __name__ == "__main__":
    c.each_slice("pandas", write_profiles)
