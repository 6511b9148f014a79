"""The columns that an audience may ask for: what each means, and how its values are spread over the customers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import duckdb
import numpy as np

from customer360.audiences.sizes import kept_column
from customer360.campaigns.audience import FEATURES, SEGMENTS, Column, audience_columns, audience_relation
from customer360.campaigns.conditions import Value
from customer360.features import feature_list
from customer360.lake.engine import quoted
from customer360.lake.publishing.tables import declared_tables
from customer360.settings import Shop
from customer360.snapshot import Snapshot

PROFILES = "customer_profiles"  # has a column for each category, which customer_scores has as rows
MOST_VALUES = 20
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class DescribedColumn:
    """A column of audiences with its meaning; ``is_personal``: an attribute that shop.yaml calls personal."""

    column: Column
    description: str
    is_personal: bool


@dataclass(frozen=True)
class Distribution:
    """The values of a column. ``empty``: customers without one; ``distinct``: values, about (HyperLogLog).

    ``values``: the most frequent with their customers, at most ``MOST_VALUES`` and none of a single customer; of numbers only
    where there are no more. ``quantiles`` of numbers, as ``QUANTILES`` names them.
    """

    customers: int
    empty: int
    distinct: int
    values: tuple[tuple[Value, int], ...]
    quantiles: tuple[float, ...]


def described_columns(shop: Shop, descriptions: Mapping[str, Mapping[str, str]]) -> dict[str, DescribedColumn]:
    """Every column of audiences by name; ``descriptions``: of a publication, by table and column."""
    declared = declared_tables(shop)
    of_features = {feature.name: feature.description for feature in feature_list(shop)}
    found = {}
    for name, column in audience_columns(shop).items():
        texts = [descriptions.get(table, {}).get(name) for table in (column.table, PROFILES)]
        texts += [
            next((known.description for known in declared[table].columns if known.name == name), None)
            for table in (column.table, PROFILES)
            if table in declared
        ]
        attribute = shop.attributes.get(name)
        text = next(filter(None, [*texts, of_features.get(name)]), "")
        found[name] = DescribedColumn(column, text, attribute is not None and attribute.personal)
    return found


class Distributions:
    """The distributions of one version's columns, each computed when it is first asked for; a newer version begins anew."""

    def __init__(self) -> None:
        self._folder = Path()
        self._found: dict[str, Distribution] = {}
        self._lock = Lock()

    def of(self, snapshot: Snapshot, column: Column) -> Distribution | None:
        """None where the table of the column is not published yet."""
        if not all(map(snapshot.has, (column.table, FEATURES, SEGMENTS))):
            return None
        folder = snapshot.version.folder
        with self._lock:
            if self._folder != folder:
                self._folder, self._found = folder, {}
            known = self._found.get(column.name)
        if known is None:
            known = distribution(snapshot.connection, column, kept_column(snapshot, column))
            with self._lock:
                if self._folder == folder:
                    self._found[column.name] = known
        return known


def distribution(connection: duckdb.DuckDBPyConnection, column: Column, kept: str | None = None) -> Distribution:
    """How the values of a column are spread over the customers of the published tables; ``kept``: a table of its values."""
    relation, bound = audience_relation([column])
    value = f"{quoted(column.table)}.{quoted(column.name)}"
    if kept is not None:
        relation, bound, value = quoted(kept), [], quoted(column.name)
    is_number = column.kind == "number"
    customers, filled, distinct = connection.execute(
        f"select count(*), count({value}), approx_count_distinct({value}) from {relation}", bound
    ).fetchone() or (0, 0, 0)
    counted = f"select {value}, count(*) from {relation} where {value} is not null group by all having count(*) > 1"
    rows = connection.execute(f"{counted} order by 2 desc, 1 limit {MOST_VALUES + 1}", bound).fetchall()
    if is_number and (len(rows) > MOST_VALUES or distinct > MOST_VALUES):
        rows = []
    values = tuple((float(value) if is_number else value, count) for value, count in rows[:MOST_VALUES])
    quantiles = _quantiles(connection, f"{value}::double", relation, bound) if is_number and filled else ()
    return Distribution(customers, customers - filled, distinct, values, quantiles)


def _quantiles(connection: duckdb.DuckDBPyConnection, value: str, relation: str, bound: list[Value]) -> tuple[float, ...]:
    """Those of ``QUANTILES``, between neighbours where they fall between; of how often each value is there, not of all rows."""
    query = f"select {value} as value, count(*) as customers from {relation} where {value} is not null group by all order by 1"
    counted = connection.execute(query, bound).fetchnumpy()
    ends = np.cumsum(counted["customers"])
    places = np.array(QUANTILES) * (ends[-1] - 1)
    below, above = (counted["value"][np.searchsorted(ends, at, side="right")] for at in (np.floor(places), np.ceil(places)))
    return tuple(float(quantile) for quantile in below + (above - below) * (places - np.floor(places)))
