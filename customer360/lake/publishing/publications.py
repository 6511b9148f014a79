"""The published tables and their sources. Names are stable, since BI tools depend on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from customer360.lake.engine import connect, quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.nightly_tables import NIGHTLY, nightly_files
from customer360.lake.publishing.profiles import LEDGER, PROFILES
from customer360.lake.publishing.publishing import Descriptions, TableSource, publish
from customer360.lake.publishing.tables import MARTS, REFERENCE, TABLES, TRAINING
from customer360.lake.publishing.version import Publication, current_folder, current_publication, parquet_query
from customer360.lake.reference.customer_queries import personalised_query
from customer360.lake.reference.reference_history import history_file
from customer360.lake.warehouse.frames import snapshot_folder
from customer360.lake.warehouse.unchanged import built_contents
from customer360.settings import Place, Settings

SCORED = ("customer_scores", "customer_value", "current_offers", "cold_start")
SCORES_DAILY, VISITORS = "customer_scores_daily", "visitor_customers"
DELIVERIES = "email_deliveries"
OFFER_INPUTS, DECISIONS = "offer_inputs", "offer_decisions"
SERVED = (VISITORS, OFFER_INPUTS, DECISIONS)  # of shops with `serving: true`
REPLACED = (
    *("product_affinity", "repurchase_intervals", "recommendation_backtest"),
    *("offer_results", "offer_policy_values"),
    "channel_attribution",
    *("customer_lifetime", "lifetime_backtest"),
    "delivery_metrics",
    *("campaign_plan", "campaign_briefs", "campaign_results", "campaign_result_days", "campaign_result_deciles"),
    "campaign_variant_results",
    *("drift_metrics", "model_versions"),
)
SLICE_LOG = """
    select slice, source, raw_fingerprint,
        is_archived or coalesce(transformed_fingerprint = raw_fingerprint || '.' || code.fingerprint, false) as is_transformed,
        files, lines, good, quarantined, duplicates, repeats, planned_at, transformed_at, repaired_at
    from ops.slice_log cross join ops.code order by slice
"""


def warehouse_tables(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, TableSource]:
    """Published name to source: tables of the warehouse, reference rows in force, and ``file_tables``."""
    found = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
    views = set(connection.execute("select schema_name, view_name from duckdb_views()").fetchall())
    contents, contracts = built_contents(connection), reference_tables(settings.shop)
    wanted = [("marts", name) for name in MARTS]
    wanted += [*(("predictions", name) for name in SCORED), ("publishing", PROFILES)]
    if settings.shop.serving:
        wanted += [("predictions", OFFER_INPUTS), ("marts", DECISIONS)]
    tables = {
        name: TableSource(f"select * from {schema}.{quoted(name)}", content=contents.get(name))
        for schema, name in wanted
        if (schema, name) in found
    }
    in_force = {
        name: TableSource(
            f"select * exclude (valid_from, valid_to) from raw.{quoted(name)} where valid_to is null",
            content=_content_of(
                [file for file in [history_file(settings.place, name)] if file.exists()], repr(contracts[name].columns)
            ),
        )
        for name in REFERENCE  # also those that were never loaded, without rows: readers find every table
        if ("raw", name) in views
    }
    if settings.shop.serving and ("intermediate", "int_visitor_customers") in found:
        consented = personalised_query(settings.place, settings.shop)
        tables[VISITORS] = TableSource(
            "select visitor_id, customer_id from intermediate.int_visitor_customers "
            f"semi join ({consented}) as consented using (customer_id) order by visitor_id"
        )
    return {**tables, **in_force, "slice_log": TableSource(SLICE_LOG), **file_tables(settings.place)}


def file_tables(place: Place) -> dict[str, TableSource]:
    """Tables that are made beside the warehouse, so that plans and reports block no slice. Only those that exist.

    Files of plans, results, reports and models are written again where they are replaced: dates become dates, and descriptions
    come along. The others are linked: a version written again with each slice would hold ninety days of scores.
    """
    plan = newest_plan(place) or place.plans / "none"
    folders = {
        "campaign_plan": plan,
        "campaign_briefs": plan,
        "model_versions": place.models,
        "product_affinity": place.recommendations,
        **dict.fromkeys(("offer_results", "offer_policy_values"), place.offers),
        "repurchase_intervals": place.recommendations,
        **dict.fromkeys(("customer_lifetime", "lifetime_backtest"), place.lifetime),
        "delivery_metrics": place.mail,
    }
    replaced = {name: sorted(folders.get(name, place.campaigns).glob(f"{name}.parquet")) for name in REPLACED}
    replaced["recommendation_backtest"] = sorted((place.recommendations / "backtest").glob("*.parquet"))
    replaced["drift_metrics"] = sorted((place.reports / "drift").glob("*.parquet"))
    linked = {
        SCORES_DAILY: _days(snapshot_folder(place)),
        DELIVERIES: _days(place.mail / "deliveries"),
        LEDGER: {part.name: part for part in sorted((place.campaigns / "ledger").glob("[0-9]*.parquet"))},
        **nightly_files(place),
    }
    return {
        **{name: _converted(name, paths) for name, paths in replaced.items() if paths},
        **{name: TableSource(files=files) for name, files in linked.items() if files},
    }


def _days(folder: Path) -> dict[str, Path]:
    """The files of a folder with one for each day, by published name."""
    return {
        f"{file.parent.name.removeprefix('day_key=')}.parquet": file for file in sorted(folder.glob("day_key=*/part.parquet"))
    }


def publish_warehouse(
    connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime, descriptions: Descriptions, least: int = 1
) -> Publication:
    """Publish all tables as the warehouse and the files beside it have them now, as of the last slice."""
    known = {
        *MARTS,
        *REFERENCE,
        *REPLACED,
        *NIGHTLY,
        PROFILES,
        LEDGER,
        TRAINING,
        SCORES_DAILY,
        DELIVERIES,
        *SCORED,
        "slice_log",
    }
    if settings.shop.serving:
        known.update(SERVED)
    past = current_publication(settings.place)
    return publish(
        settings.place,
        connection,
        warehouse_tables(connection, settings),
        _as_of(connection),
        now,
        descriptions=descriptions,
        dropped=past.rows.keys() - known if past else (),
        least=least,
    )


def publish_training_set(
    connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime, descriptions: Descriptions
) -> Publication:
    """Publish the training set as the warehouse has it now; before the first publication all other tables too."""
    is_first = current_publication(settings.place) is None
    tables = warehouse_tables(connection, settings) if is_first else {}
    training = TableSource(f"from marts.{TRAINING}")
    as_of = _as_of(connection) if is_first else None
    return publish(settings.place, connection, {**tables, TRAINING: training}, as_of, now, descriptions=descriptions)


def publish_files(place: Place, now: datetime) -> Publication | None:
    """Publish the plans, results, reports, model versions and ledger as their files are now; None before the first publication.

    Only what changed is written. The warehouse is not touched, so this blocks no run.
    """
    if not current_folder(place).exists():
        return None
    with connect(place.scratch) as connection:
        return publish(place, connection, file_tables(place), None, now)


def _as_of(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    (as_of,) = connection.execute("select max(as_of) from ops.clock").fetchone() or (None,)
    return as_of.replace(tzinfo=UTC) if as_of else None


def newest_plan(place: Place) -> Path | None:
    """The folder of the newest day's plans; None before the first."""
    return max((path.parent for path in place.plans.glob("*/campaign_plan.parquet")), default=None)


def _converted(name: str, paths: list[Path]) -> TableSource:
    query = TABLES[name].select_casts(parquet_query(paths))
    return TableSource(query, content=_content_of(paths, query))


def _content_of(paths: Iterable[Path], form: str) -> str:
    """Content version of files that are only replaced by rename: inode, time and size tell them apart. ``form``: how read."""
    states = [(path.name, status.st_ino, status.st_mtime_ns, status.st_size) for path in paths for status in [path.stat()]]
    return hashlib.sha256(f"{form} {states}".encode()).hexdigest()
