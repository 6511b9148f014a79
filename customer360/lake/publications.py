"""Which tables are published, and what a person reads first of each. Names are stable: BI tools depend on them."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from customer360.lake.engine import literal, quoted
from customer360.lake.frames import snapshot_folder
from customer360.settings import Settings

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
    "customer_consents",
    "customer_purchase_times",
    "campaign_touch_history",
    "training_features",
)
PREDICTIONS = ("customer_scores",)
PUBLISHING = ("customer_profiles",)
SLICE_LOG = """
    select slice, source, raw_fingerprint, transformed_fingerprint is not null as is_transformed, files, lines, good, quarantined,
        duplicates, repeats, planned_at, transformed_at, repaired_at
    from ops.slice_log order by slice
"""


def warehouse_tables(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, str]:
    """Published name to query for everything in the warehouse, and for the files that plans, scores and reports leave."""
    present = {
        (schema, name) for schema, name in connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
    }
    wanted = [("marts", MARTS), ("predictions", PREDICTIONS), ("publishing", PUBLISHING)]
    tables = {
        name: f"select * from {schema}.{quoted(name)}"
        for schema, names in wanted
        for name in names
        if (schema, name) in present
    }
    return {**tables, "slice_log": SLICE_LOG, **file_tables(settings)}


def file_tables(settings: Settings) -> dict[str, str]:
    """Tables that are kept as Parquet files beside the warehouse, so that plans and reports block no slice."""
    place = settings.place
    folders = {
        "campaign_plan": place.plans.glob("*/campaign_plan.parquet"),
        "campaign_results": place.plans.glob("*/campaign_results.parquet"),
        "customer_scores_daily": snapshot_folder(place).glob("*/part.parquet"),
        "drift_metrics": (place.reports / "drift").glob("*.parquet"),
        "model_versions": place.models.glob("model_versions.parquet"),
    }
    return {name: query for name, files in folders.items() if (query := _latest_first(name, (str(file) for file in files)))}


def _latest_first(name: str, files: Iterable[str]) -> str | None:
    listed = sorted(files)
    if not listed:
        return None
    if name == "campaign_plan":
        listed = listed[-1:]
    paths = ", ".join(literal(path) for path in listed)
    return f"select * from read_parquet([{paths}], hive_partitioning = false, union_by_name = true)"
