"""Activity in a window of complete days before a moment, from published tables alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb
import pandas as pd

from customer360.lake.engine import column_types, literal
from customer360.settings import Shop, slug
from ml.monitoring.samples import MAX_ROWS, QUALITY, Values, drawn

MEASURES = ("views", "dwell_seconds", "carts", "orders", "spend", "offers_shown", "offers_clicked")
BY_CATEGORY = ("views", "spend")
DAY = timedelta(days=1)

Columns = dict[tuple[str, str], Values]  # (kind, column) to values


class WindowReader:
    """Windows before ``as_of`` (plain UTC, what is published), read from ``connection``.

    ``first_day`` is the number of the oldest day in ``monitoring_activity`` (0 are the last 24 hours), -1 while it is empty.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, shop: Shop, as_of: datetime, seed: int) -> None:
        self.connection = connection
        self.shop = shop
        self.as_of = as_of
        self.seed = seed
        self.first_day: int = _value(connection, "select coalesce(max(day_no), -1) from monitoring_activity")
        # release 0.1.0 published none; there is one after the first night of this release
        self.knows_returns = "returned_amount" in column_types(connection, "monitoring_activity")

    def end(self, day_no: int) -> datetime:
        """When day ``day_no`` ends."""
        return self.as_of - day_no * DAY

    def prices(self, day_no: int, days: int) -> dict[str, float]:
        """Mean revenue of an order with the product, by product, in the window of ``days`` that ends with day ``day_no``."""
        rows = self.connection.execute(
            f"select product_id, sum(revenue) / sum(purchases) from product_activity where {self._within(day_no, days)} "
            "and purchases > 0 group by product_id having sum(revenue) > 0"
        ).fetchall()
        return {str(product): float(price) for product, price in rows}

    def window(self, kind: str, day_no: int, days: int, prices: dict[str, float]) -> Columns:
        """Every watched column of the window of ``days`` days that ends with day ``day_no``.

        Of each sampled customer, who did nothing included: the measures, in all and by category, and, where the table knows
        returns, 1 where goods were returned (``has_returned``), else 0. Of each buyer: the mean value of an order. The median
        over products and slices with orders of revenue an order, in multiples of ``prices``. Of each visit: medium and device.
        Of all lines: the shares of quarantined and repeated ones.
        """
        return {
            **self._activity(kind, day_no, days),
            (kind, "price_level"): self._price_level(day_no, days, prices),
            **self._visits(kind, day_no, days),
            **self._quality(kind, day_no, days),
        }

    def _activity(self, kind: str, day_no: int, days: int) -> Columns:
        sums = [f"coalesce(sum(a.{name}), 0)::double as {name}" for name in MEASURES]
        # whether, not how much: spend holds the amounts, and one return of a wholesale buyer would be drift
        if self.knows_returns:
            sums.append("(coalesce(sum(a.returned_amount), 0) > 0)::double as has_returned")
        sums += [
            f"coalesce(sum(a.{name}) filter (where a.category_id = {literal(category)}), 0)::double as {name}_{slug(category)}"
            for name in BY_CATEGORY
            for category in self.shop.category_ids
        ]
        frame = self.connection.execute(
            f"""
            select {", ".join(sums)}
            from monitoring_customers as c
            left join monitoring_activity as a
                on c.customer_id = a.customer_id and a.day_no >= {day_no} and a.day_no < {day_no + days}
            where c.known_at <= ? group by c.customer_id order by c.customer_id
            """,
            [self.end(day_no)],
        ).df()
        bought = frame[frame["orders"] > 0]
        columns = {(kind, str(name)): frame[name] for name in frame.columns}
        return {**columns, (kind, "order_value"): (bought["spend"] / bought["orders"]).reset_index(drop=True)}

    def _price_level(self, day_no: int, days: int, prices: dict[str, float]) -> Values:
        frame = self.connection.execute(
            f"select product_id, (revenue / purchases)::double as price from product_activity "
            f"where {self._within(day_no, days)} and purchases > 0 order by event_slice, product_id"
        ).df()
        level = frame["price"] / frame["product_id"].map(prices).astype("float64")
        return pd.Series(
            [level.median()], dtype="float64"
        )  # a distribution does not show prices 20% higher, because orders differ in pieces

    def _visits(self, kind: str, day_no: int, days: int) -> Columns:
        found = {}
        for column in ("utm_medium", "device"):
            counts = self.connection.execute(
                f"select {column} as name, sum(visits)::bigint as visits from traffic_sources "
                f"where {self._within(day_no, days)} group by 1 having sum(visits) > 0 order by 1"
            ).df()
            values = counts["name"].astype("object").repeat(counts["visits"].astype(int).tolist())
            found[kind, column] = drawn(values, MAX_ROWS, self.seed)
        return found

    def _quality(self, kind: str, day_no: int, days: int) -> Columns:
        """As columns of kind ``quality``: one number each, named after the window."""
        row = self.connection.execute(
            f"""
            select sum(quarantined) / nullif(sum(lines), 0), sum(duplicates + repeats) / nullif(sum(lines), 0)
            from slice_log where {self._within(day_no, days, "slice")}
            """
        ).fetchone() or (None, None)
        names = (f"quarantined_share ({kind})", f"repeated_share ({kind})")
        return {(QUALITY, name): pd.Series([share], dtype="float64") for name, share in zip(names, row, strict=True)}

    def _within(self, day_no: int, days: int, column: str = "event_slice") -> str:
        start, end = self.end(day_no + days), self.end(day_no)
        return f"{column} >= timestamp '{start}' and {column} < timestamp '{end}'"


def _value(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    (value,) = connection.execute(query).fetchone() or (None,)
    return value
