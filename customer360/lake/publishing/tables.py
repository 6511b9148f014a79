"""The declaration of each published table: its grain, and the type, unit and meaning of its columns.

``tables.yml`` declares the tables that dbt does not make. Those of dbt are declared in the yml of their models, which the
manifest holds, and reference tables in their contracts. The data dictionary, comments and Parquet metadata, the types of the
writers' frames and the casts of their files are made from these declarations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from customer360.features import Feature, feature_list, feature_type
from customer360.lake.engine import quoted
from customer360.lake.landing.contracts import ATTRIBUTE_TYPES, is_personal, reference_tables
from customer360.lake.publishing.nightly_tables import NIGHTLY
from customer360.settings import NONE, OUTCOMES, Shop, slug

MONEY = "DECIMAL(18,2)"
PARTS = "DECIMAL(18,4)"  # of something that is counted
EVERY_SLICE, NIGHTLY_REFRESH = "every slice", "nightly, with warehouse_job"
REFRESHED_BY_TAG = {"daily": NIGHTLY_REFRESH, "training": "every training"}
MARTS = (
    "customer_features",
    "customer_category_activity",
    "customer_attributes",
    "rfm_segments",
    "customer_product_activity",
    "customer_offer_activity",
    "product_activity",
    "offer_activity",
    "traffic",
    "traffic_sources",
    "orders_daily",
    "retention_cohorts",
    "product_performance",
    "customer_segments_weekly",
    "segment_moves",
    "arrivals_daily",
    "sessions",
    "funnel_daily",
    "conversion_paths",
    "customer_consents",
    "customer_purchase_times",
    "customer_time_zones",
    "campaign_touch_history",
    "customer_orders",
    "campaign_activity",
    "related_products",
)
TRAINING = "training_features"
REFERENCE = ("products", "categories", "offers", "campaigns")
FRAME_TYPES = {
    **{"VARCHAR": "str", "BIGINT": "Int64", "INTEGER": "Int32", "DOUBLE": "Float64", MONEY: "Float64", PARTS: "Float64"},
    "BOOLEAN": "boolean",
    **dict.fromkeys(("DATE", "TIMESTAMP"), "datetime64[us]"),
}
ARROW_TYPES: dict[str, pa.DataType] = {
    **{"VARCHAR": pa.string(), "BIGINT": pa.int64(), "INTEGER": pa.int32(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()},
    **{"DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us"), MONEY: pa.decimal128(18, 2)},
    PARTS: pa.decimal128(18, 4),
}
REQUIRED_FRAME_TYPES = {"Int64": "int64", "Float64": "float64", "boolean": "bool"}
# Suffixes of column names that denote a unit, by the naming convention of all tables.
UNITS = {
    "_at": "UTC",
    "as_of": "UTC",
    "slice": "UTC",
    "_seconds": "seconds",
    "_days": "days",
    "_on": "local day",
    "_date": "local day",
}


@dataclass(frozen=True)
class PublishedColumn:
    """A published column: its DuckDB type and meaning. ``required``: it is never null.

    Columns of one ``pattern`` are shown as one, under that name. ``frame_type`` is the pandas type where it is an unusual one.
    """

    name: str
    type: str
    description: str
    pattern: str | None = None
    required: bool = False
    personal: bool = False
    frame_type: str = ""

    @property
    def unit(self) -> str:
        """By its type and name: the shop's currency, UTC, seconds, days; "" where it has none."""
        if self.type == MONEY:
            return "currency"
        return next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")

    @property
    def pandas_type(self) -> str:
        """Type of the column in a frame. Dates are midnights, since pandas has no dates."""
        kind = FRAME_TYPES[self.type]
        return self.frame_type or (REQUIRED_FRAME_TYPES.get(kind, kind) if self.required else kind)


@dataclass(frozen=True)
class PublishedTable:
    """A published table: its grain, its key, and when it is made again."""

    name: str
    description: str
    grain: tuple[str, ...]
    columns: tuple[PublishedColumn, ...]
    refreshed: str = EVERY_SLICE

    @property
    def is_personal(self) -> bool:
        """The rows are about single customers."""
        return is_personal(self.columns)

    @cached_property
    def frame_types(self) -> dict[str, str]:
        """Column to pandas type, in the order of the columns."""
        return {column.name: column.pandas_type for column in self.columns}

    @cached_property
    def duckdb_types(self) -> dict[str, str]:
        """Column to DuckDB type, in the order of the columns."""
        return {column.name: column.type for column in self.columns}

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns as Arrow has them."""
        return pa.schema([(column.name, ARROW_TYPES[column.type]) for column in self.columns])

    def typed(self, rows: Any) -> pd.DataFrame:
        """Rows, a frame or what makes one, with exactly these columns and types; a column that is missing is null."""
        return pd.DataFrame(rows).reindex(columns=list(self.frame_types)).astype(self.frame_types)

    def empty(self) -> pd.DataFrame:
        """A frame without rows."""
        return self.typed([])

    @property
    def casts(self) -> str:
        """The columns of a select, each cast to its type."""
        return ", ".join(f"cast({quoted(name)} as {kind}) as {quoted(name)}" for name, kind in self.duckdb_types.items())

    @property
    def no_rows(self) -> str:
        """SQL of no rows with these columns and types."""
        return f"select {', '.join(f'null::{kind} as {quoted(name)}' for name, kind in self.duckdb_types.items())} where false"

    def select_casts(self, query: str) -> str:
        """SQL of the query's rows with exactly these columns and types; a column that is missing is null."""
        nulls = ", ".join(f"null as {quoted(name)}" for name in self.duckdb_types)
        return f"select {self.casts} from (select {nulls} where false union all by name from ({query}))"


def published_tables(shop: Shop, manifest: Mapping[str, Any]) -> dict[str, PublishedTable]:
    """Every table that a shop publishes, by name; ``manifest`` is dbt's. Raises ``KeyError`` on an unknown type."""
    return {**_dbt_tables(shop, manifest), **_reference(shop), **declared_tables(shop)}


def descriptions(tables: Mapping[str, PublishedTable]) -> dict[str, dict[str, str]]:
    """What ``publish`` writes as comments: by table, and below it by column; "" is the table itself."""
    return {
        name: {"": table.description, **{column.name: column.description for column in table.columns}}
        for name, table in tables.items()
    }


def declared_tables(shop: Shop) -> dict[str, PublishedTable]:
    """The tables of ``tables.yml`` for a shop: with its categories and attributes as columns, and its horizons in the texts."""
    texts = {name: str(getattr(shop, name)) for name in ("label_horizon_days", "churn_horizon_days")}
    return {name: replace(table, columns=tuple(_of_shop(shop, table.columns, texts))) for name, table in TABLES.items()}


def feature_columns(shop: Shop) -> list[PublishedColumn]:
    """The feature columns of ``customer_features`` and ``training_features``; a pattern where there is a window or category."""
    return [_feature_column(shop, feature) for feature in feature_list(shop)]


def _declarations() -> dict[str, PublishedTable]:
    document = yaml.load(Path(__file__).with_name("tables.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    tables: dict[str, PublishedTable] = {}
    for name, values in document.items():
        if "like" in values:
            columns = tables[values.pop("like")].columns
        else:
            columns = tuple(_declared_column(tables, column) for column in values["columns"])
        tables[name] = PublishedTable(**{**values, "name": name, "grain": tuple(values["grain"]), "columns": columns})
    return tables


def _declared_column(tables: Mapping[str, PublishedTable], values: dict[str, Any]) -> PublishedColumn:
    if "like" in values:
        return next(column for column in tables[values["like"]].columns if column.name == values["name"])
    return PublishedColumn(**{"type": "VARCHAR", "description": "", **values})


def _of_shop(shop: Shop, columns: tuple[PublishedColumn, ...], texts: Mapping[str, str]) -> Iterator[PublishedColumn]:
    for column in columns:
        if column.name == "<attribute>":
            yield from (_attribute(shop, name) for name in shop.attributes)
        elif "<category>" in column.name:
            for category in (*shop.category_ids, NONE):
                name, text = (
                    column.name.replace("<category>", slug(category)),
                    column.description.replace("<category>", category),
                )
                yield replace(column, name=name, description=text, pattern=column.name)
        else:
            yield replace(column, description=column.description.format(**texts))


def _reference(shop: Shop) -> dict[str, PublishedTable]:
    contracts = reference_tables(shop)
    return {
        name: PublishedTable(
            name,
            f"{contracts[name].description}, the rows in force. One row per {', '.join(contracts[name].key)}.",
            tuple(contracts[name].key),
            tuple(PublishedColumn(column.name, column.type, column.description) for column in contracts[name].columns),
            "when the reference tables are loaded: nightly and with daily_job",
        )
        for name in REFERENCE
    }


def _dbt_tables(shop: Shop, manifest: Mapping[str, Any]) -> dict[str, PublishedTable]:
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    grains = {
        node["attached_node"].rpartition(".")[2]: tuple(
            node["test_metadata"]["kwargs"].get("columns") or [node["test_metadata"]["kwargs"]["column_name"]]
        )
        for node in manifest["nodes"].values()
        if node.get("test_metadata", {}).get("name") in {"unique", "unique_combination"}
    }
    return {name: _from_dbt(shop, nodes[name], grains.get(name, ())) for name in (*MARTS, TRAINING, *NIGHTLY)}


def _from_dbt(shop: Shop, node: Mapping[str, Any], grain: tuple[str, ...]) -> PublishedTable:
    declared = {
        name: PublishedColumn(
            name, column["data_type"].upper().replace(", ", ",").replace("STRING", "VARCHAR"), _flat(column["description"])
        )
        for name, column in node["columns"].items()
    }
    refreshed = next((text for tag, text in REFRESHED_BY_TAG.items() if tag in node["tags"]), EVERY_SLICE)
    columns = tuple(_ordered_columns(shop, node["name"], declared))
    return PublishedTable(node["name"], _flat(node["description"]), grain, columns, refreshed)


def _ordered_columns(shop: Shop, table: str, declared: Mapping[str, PublishedColumn]) -> Iterator[PublishedColumn]:
    """The columns in their order; those that follow from shop.yaml take their place, with dbt's description if any."""
    if table not in {"customer_features", TRAINING}:
        yield from declared.values()
        return
    features = {column.name: column for column in feature_columns(shop)}
    yield from (column for name, column in declared.items() if name not in features and name not in OUTCOMES)
    yield from (declared.get(name, column) for name, column in features.items())
    yield from (declared[name] for name in OUTCOMES if name in declared)


def _feature_column(shop: Shop, feature: Feature) -> PublishedColumn:
    if feature.name in shop.attributes:
        return _attribute(shop, feature.name)
    declared = feature_type(shop, feature)
    kind = "VARCHAR" if declared == "string" else declared.upper().replace(", ", ",")  # dbt's name as DuckDB's
    text = feature.description[:1].upper() + feature.description[1:]
    category = "<category>_" if feature.category_id else ""
    pattern = None
    if feature.window_days is not None:
        pattern = f"{feature.measure}_{category}<n>d"
    elif feature.category_id is not None:
        pattern = f"{feature.measure}_<category>"
    return PublishedColumn(feature.name, kind, text, pattern)


def _attribute(shop: Shop, name: str) -> PublishedColumn:
    spec = shop.attributes[name]
    text = f"{spec.description or name}{' (personal)' if spec.personal else ''}"
    return PublishedColumn(name, ATTRIBUTE_TYPES[spec.type], text, personal=spec.personal)


def _flat(text: str) -> str:
    return " ".join(text.split())


# By name, with the columns that every shop has: for the writers of tables whose columns no shop changes.
TABLES = _declarations()
