"""Scores of every customer by the champion, as of the last slice."""

import dagster as dg
import duckdb
import pandas as pd

from customer360.features import feature_list
from customer360.lake.frames import keep_daily_snapshot, replace_table
from customer360.lake.known_then import known_now
from customer360.settings import NONE, Settings
from ml import model_store, reason_refresh, scoring
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.partitions import WAREHOUSE_POOL
from orchestration.resources import Platform

AFFINITY = model_store.AFFINITY


@dg.asset(
    key=["predictions", "customer_scores"],
    deps=[["marts", "customer_features"]],
    group_name=groups.PREDICTIONS,
    kinds={"catboost", "duckdb"},
    owners=[ML_TEAM],
    tags={"domain": "predictions", "personal_data": "yes"},
    pool=WAREHOUSE_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            "champion_is_served",
            asset=["predictions", "customer_scores"],
            description="The champion scores; warns when it was refused and an older model serves, or there is none yet.",
        ),
        dg.AssetCheckSpec(
            "probabilities_sum_to_one",
            asset=["predictions", "customer_scores"],
            description="Every customer has every class once, and the probabilities sum to 1.",
        ),
    ],
)
def customer_scores(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Probability that each customer buys next from each category, as of the last slice. One row per customer and category.

    Classes include "none" (buys nothing within the horizon). ``predictions.customer_reasons`` holds the three strongest
    reasons for each customer's top category, made anew for at most 2,000 customers a run.
    """
    settings = platform.settings()
    shop = settings.shop
    store = model_store.ModelStore(settings.place.models)
    servable = store.load_servable(AFFINITY, feature_list(shop), [*shop.category_ids, NONE])
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        features = connection.execute("select * from marts.customer_features order by customer_id").df()
        scores, why = _score(features, servable.loaded, settings, _kept_reasons(connection))
        replace_table(connection, "predictions.customer_scores", scores)
        replace_table(connection, "predictions.customer_reasons", why)
    if servable.loaded is not None and len(scores):
        keep_daily_snapshot(settings.place, shop, scores, known_now(settings, platform.now()).to_metadata())
    sums = scores.groupby("customer_id")["probability"].agg(["sum", "size"])
    is_whole = bool(((sums["sum"] - 1).abs() < 1e-6).all() and (sums["size"] == len(shop.category_ids) + 1).all())
    served = servable.loaded.version if servable.loaded else "none"
    refusals = [f"{refusal.version}: {refusal.reason}" for refusal in servable.refusals]
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(scores), "customers": len(features), "model_version": served},
        check_results=[
            dg.AssetCheckResult(
                check_name="champion_is_served",
                passed=servable.loaded is not None and not refusals,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"model_version": served, "refused": "; ".join(refusals) or "none"},
            ),
            dg.AssetCheckResult(check_name="probabilities_sum_to_one", passed=is_whole, metadata={"customers": len(sums)}),
        ],
    )


def _kept_reasons(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Reasons of earlier runs; none before the first, or where they were kept in another form."""
    columns = connection.execute(
        "select column_name from duckdb_columns() where schema_name = 'predictions' and table_name = 'customer_reasons'"
    ).fetchall()
    if {name for (name,) in columns} != set(reason_refresh.KEPT_COLUMNS):
        return reason_refresh.nothing_kept()
    return connection.execute("from predictions.customer_reasons").df().astype(reason_refresh.KEPT_COLUMNS)


def _score(
    features: pd.DataFrame, loaded: model_store.LoadedModel | None, settings: Settings, kept: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and reasons; typed and empty before the first champion."""
    if loaded is None:
        return scoring.empty_scores(), reason_refresh.nothing_kept()
    scores = scoring.score(features, loaded)
    return scores, reason_refresh.refreshed_reasons(features, scores, loaded, settings.shop, kept)
