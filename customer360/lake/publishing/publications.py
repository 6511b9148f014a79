"""Which tables are published, and where each comes from. Names are stable: BI tools depend on them."""

from __future__ import annotations

from pathlib import Path

import duckdb

from customer360.lake.engine import file_list, quoted
from customer360.lake.publishing.nightly_tables import nightly_files
from customer360.lake.warehouse.frames import snapshot_folder
from customer360.settings import Place, Settings

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
    "customer_consents",
    "customer_purchase_times",
    "customer_time_zones",
    "campaign_touch_history",
    "customer_orders",
    "campaign_activity",
)
PARQUET_ONLY = ("training_features",)
LEDGER = "campaign_ledger"
# Frames have no dates, so these columns become dates when they are published.
DATES = {
    "campaign_plan": ("plan_date", "contact_date"),
    "campaign_briefs": ("plan_date",),
    "drift_metrics": ("report_date",),
}
REFERENCE = ("products", "categories", "offers", "campaigns")
SLICE_LOG = """
    select slice, source, raw_fingerprint,
        is_archived or coalesce(transformed_fingerprint = raw_fingerprint || '.' || code.fingerprint, false) as is_transformed,
        files, lines, good, quarantined, duplicates, repeats, planned_at, transformed_at, repaired_at
    from ops.slice_log cross join ops.code order by slice
"""


def warehouse_tables(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, str]:
    """Published name to query: what the warehouse has, reference rows in force, files of plans, scores and reports."""
    found = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
    wanted = [("marts", name) for name in MARTS]
    wanted += [("predictions", "customer_scores"), ("predictions", "customer_value"), ("publishing", "customer_profiles")]
    tables = {name: f"select * from {schema}.{quoted(name)}" for schema, name in wanted if (schema, name) in found}
    in_force = {
        name: f"select * exclude (valid_from, valid_to) from raw.{quoted(name)} where valid_to is null" for name in REFERENCE
    }
    return {**tables, **in_force, "slice_log": SLICE_LOG, **file_tables(settings.place)}


def file_tables(place: Place) -> dict[str, str]:
    """Tables kept as Parquet files beside the warehouse, so that plans and reports block no slice. Only those that exist."""
    plan = newest_plan(place)
    files = {
        "campaign_plan": sorted(plan.glob("campaign_plan.parquet")) if plan else [],
        "campaign_briefs": sorted(plan.glob("campaign_briefs.parquet")) if plan else [],
        "campaign_results": sorted(place.campaigns.glob("campaign_results.parquet")),
        "campaign_result_deciles": sorted(place.campaigns.glob("campaign_result_deciles.parquet")),
        "drift_metrics": sorted((place.reports / "drift").glob("*.parquet")),
        "model_versions": sorted(place.models.glob("model_versions.parquet")),
    }
    return {name: _union(paths, DATES.get(name, ())) for name, paths in files.items() if paths}


def newest_plan(place: Place) -> Path | None:
    """The folder of the newest day's plans; None before the first."""
    return max((path.parent for path in place.plans.glob("*/campaign_plan.parquet")), default=None)


def linked_files(place: Place) -> dict[str, dict[str, Path]]:
    """Tables of Parquet only whose files a version shares with the one before, by published name: those of days and nights.

    Written again with every slice, as other tables are, ninety days of scores would take seconds of 6,000 customers, and more
    than a slice lasts of a million.
    """
    days = {
        f"{day.parent.name.removeprefix('day_key=')}.parquet": day
        for day in sorted(snapshot_folder(place).glob("day_key=*/part.parquet"))
    }
    # The ledger only grows, by files that never change: a version links to those that there are.
    entries = {part.name: part for part in sorted((place.campaigns / "ledger").glob("[0-9]*.parquet"))}
    often = {"customer_scores_daily": days, LEDGER: entries}
    return {**{name: files for name, files in often.items() if files}, **nightly_files(place)}


def _union(paths: list[Path], dates: tuple[str, ...]) -> str:
    """All rows of these files; frames have no dates, so these columns become dates here."""
    casts = ", ".join(f"cast({name} as date) as {name}" for name in dates)
    replaced = f" replace ({casts})" if casts else ""
    return f"select *{replaced} from read_parquet({file_list(paths)}, hive_partitioning = false, union_by_name = true)"
