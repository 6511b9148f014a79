"""Scores of every customer by the champion, as of the last slice."""

import dagster as dg

from customer360.lake.frames import keep_daily_snapshot
from customer360.lake.known_then import known_now
from ml import serving
from ml.model_store import AFFINITY
from ml.serving_tables import Tables
from ml.shop_models import servable_for_shop
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.partitions import WAREHOUSE_POOL
from orchestration.resources import Platform


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
    servable = servable_for_shop(settings, AFFINITY)
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        tables = Tables()
        rows = serving.serve(connection, servable.loaded, shop, tables)
        keep_daily_snapshot(
            settings.place, shop, connection, tables.scores, lambda: known_now(settings, platform.now()).to_metadata()
        )
        customers, whole = serving.count_whole(connection, len(shop.category_ids) + 1, tables)
    served = servable.loaded.version if servable.loaded else "none"
    refusals = [f"{refusal.version}: {refusal.reason}" for refusal in servable.refusals]
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows, "customers": customers, "model_version": served},
        check_results=[
            dg.AssetCheckResult(
                check_name="champion_is_served",
                passed=servable.loaded is not None and not refusals,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"model_version": served, "refused": "; ".join(refusals) or "none"},
            ),
            dg.AssetCheckResult(
                check_name="probabilities_sum_to_one",
                passed=whole == (customers if servable.loaded else 0),
                metadata={"customers": customers, "customers_with_whole_scores": whole},
            ),
        ],
    )
