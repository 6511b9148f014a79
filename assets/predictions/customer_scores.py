"""Scores and value of every customer by the champions, as of the last slice."""

from collections.abc import Iterator

import dagster as dg

from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import keep_daily_snapshot
from customer360.lake.warehouse.known_then import known_now
from ml.datasets.targets import AFFINITY, CHURN, MODELS, SPEND
from ml.serving import serving
from ml.serving.customer_value import Serving
from ml.serving.serving_tables import Tables
from ml.versions.model_store import Servable
from ml.versions.shop_models import servable_for_shop
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.partitions import WAREHOUSE_POOL
from orchestration.resources import Platform

SCORES, VALUE = dg.AssetKey(["predictions", "customer_scores"]), dg.AssetKey(["predictions", "customer_value"])
# Model -> asset and name of the check that its champion serves.
SERVED_CHECKS = {
    AFFINITY: (SCORES, "champion_is_served"),
    SPEND: (VALUE, "spend_champion_is_served"),
    CHURN: (VALUE, "churn_champion_is_served"),
}


def _spec(key: dg.AssetKey, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=[["marts", "customer_features"]],
        description=description,
        group_name=groups.PREDICTIONS,
        kinds={"catboost", "duckdb"},
        owners=[ML_TEAM],
        tags=groups.tags("predictions", TABLES["customer_scores"].columns),
    )


# One step, named as its first asset's: both are made from the same batches of features.
@dg.multi_asset(
    name="predictions__customer_scores",
    specs=[
        _spec(
            SCORES,
            "Probability that each customer buys next from each category, as of the last slice. One row per customer and "
            'category.\n\nClasses include "none" (buys nothing within the horizon). `predictions.customer_reasons` holds the '
            "three strongest reasons for each customer's top category, made anew for at most 2,000 customers a run.",
        ),
        _spec(
            VALUE,
            "Purchase probability, expected spend within the label horizon, and the probability of no order within the churn "
            "horizon, as of the last slice. One row per customer.\n\nThe purchase probability is that of the scores: 1 less "
            "that of none. Expected spend and churn are null while their models have no champion.",
        ),
    ],
    check_specs=[
        *(
            dg.AssetCheckSpec(
                check,
                asset=asset,
                description=f"The champion of {name} scores; warns when it was refused and an older one serves, or none does.",
            )
            for name, (asset, check) in SERVED_CHECKS.items()
        ),
        dg.AssetCheckSpec(
            "probabilities_sum_to_one",
            asset=SCORES,
            description=(
                "Every customer has every class once, and the probabilities sum to 1; 0 rows pass only before the first "
                "champion or customer."
            ),
        ),
        dg.AssetCheckSpec(
            "value_is_consistent",
            asset=VALUE,
            description=(
                "Every customer has one row, probabilities lie in [0, 1], expected spend is no less than 0, and the purchase "
                "probability is 1 less that of none in the scores."
            ),
        ),
    ],
    pool=WAREHOUSE_POOL,
)
def customer_scores(
    context: dg.AssetExecutionContext, platform: Platform
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """A refused or missing champion of one model stops neither the others nor the slice."""
    settings = platform.settings()
    shop = settings.shop
    servables = {name: servable_for_shop(settings, name) for name in MODELS}
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        tables = Tables()
        served = serving.serve(
            connection, Serving(**{name: servable.loaded for name, servable in servables.items()}), shop, tables
        )
        keep_daily_snapshot(
            settings.place, shop, connection, tables.scores, lambda: known_now(settings, platform.now()).to_metadata()
        )
        customers, complete = serving.count_complete(connection, len(shop.category_ids) + 1, tables)
        _, consistent = serving.count_consistent(connection, tables)
    yield dg.MaterializeResult(
        asset_key=SCORES,
        metadata={"dagster/row_count": served.scores, "customers": customers, "model_version": _version(servables[AFFINITY])},
    )
    yield dg.MaterializeResult(
        asset_key=VALUE,
        metadata={
            "dagster/row_count": served.customers,
            "mean_purchase_probability": _rounded(served.mean_purchase_probability, 4),
            "total_expected_spend": _rounded(served.total_expected_spend, 2),
            "currency": shop.currency,
            **{f"{name}_model_version": _version(servable) for name, servable in servables.items()},
        },
    )
    for name, (asset, check) in SERVED_CHECKS.items():
        refusals = [f"{refusal.version}: {refusal.reason}" for refusal in servables[name].refusals]
        yield dg.AssetCheckResult(
            check_name=check,
            asset_key=asset,
            passed=servables[name].loaded is not None and not refusals,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"model_version": _version(servables[name]), "refused": "; ".join(refusals) or "none"},
        )
    yield scores_check(served.scores, customers, complete, is_served=servables[AFFINITY].loaded is not None)
    yield dg.AssetCheckResult(
        check_name="value_is_consistent",
        asset_key=VALUE,
        passed=consistent == customers == served.customers,
        metadata={"customers": customers, "customers_with_consistent_value": consistent, "rows": served.customers},
    )


def scores_check(rows: int, customers: int, complete: int, *, is_served: bool) -> dg.AssetCheckResult:
    """Without a champion, or without customers, there are no rows to judge, and the result says so."""
    waits = f"0 rows: {'no customer is known' if is_served else 'no affinity model serves'} yet"
    return dg.AssetCheckResult(
        check_name="probabilities_sum_to_one",
        asset_key=SCORES,
        passed=rows == complete == 0 if not is_served else complete == customers,
        description=None if rows or (is_served and customers) else waits,
        metadata={"rows": rows, "customers": customers, "customers_with_complete_scores": complete},
    )


def _version(servable: Servable) -> str:
    return servable.loaded.version if servable.loaded else "none"


def _rounded(value: float | None, digits: int) -> float | str:
    return "none" if value is None else round(value, digits)
