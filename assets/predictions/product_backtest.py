"""Which order of products serves, by what customers bought lately: the model's, or that of the best simple rule."""

from typing import Any

import dagster as dg

from customer360.lake.publishing.publications import publish_files
from customer360.lake.slices import naive
from ml.datasets.targets import PRODUCT
from ml.judging.plots import picture
from ml.markdown import picture_in_text, table
from ml.recommendations.affinity import TABLE
from ml.recommendations.backtest_table import Outcome, keep_backtest
from ml.recommendations.baskets import MODEL, backtest, judged_moments, keep_order
from ml.recommendations.measures import draw_recall
from ml.versions.shop_models import servable_for_shop
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform

KEY = dg.AssetKey(["predictions", "product_backtest"])
CHECK = "model_orders_better_than_rules"


@dg.asset(
    key=KEY,
    deps=[["predictions", "product_model"], ["publishing", "published"]],
    group_name=groups.PREDICTIONS,
    kinds={"catboost", "duckdb"},
    owners=[ML_TEAM],
    tags={"domain": "predictions"},
    check_specs=[
        dg.AssetCheckSpec(
            CHECK, asset=KEY, description="Warns while the best simple rule orders the products, since the model is not better."
        )
    ],
)
def product_backtest(platform: Platform) -> dg.MaterializeResult:
    """Recall, NDCG, reciprocal rank, coverage and novelty of the model of products and the rules that it has to beat.

    At weekly cut-offs that the model was not trained on, by the number of orders before: rows of ``recommendation_backtest``.
    ``product_affinity`` has the order that serves: ``recommendations/product_order.json``.
    """
    settings = platform.settings()
    loaded, found = servable_for_shop(settings, PRODUCT).loaded, None
    with platform.snapshot() as snapshot:
        as_of = naive(snapshot.as_of)
        if loaded is not None and snapshot.has("interactions"):
            moments = judged_moments(snapshot.shop, as_of, naive(loaded.manifest.validation_cutoff))
            found = backtest(snapshot.connection, loaded.model, moments, snapshot.shop.label_horizon_days)
    serves = found.serves if found else MODEL
    keep_order(settings.place, serves)
    reason = found.reason if found else "not judged: no model, or no purchase after a cut-off that it was not trained on"
    outcomes = [Outcome(TABLE, found.comparison, serves, reason)] if found else []
    keep_backtest(settings.place, "product_backtest", outcomes, as_of)
    publish_files(settings.place, platform.now())
    details: dict[str, dg.MetadataValue[Any] | int] = {}
    if found:
        plot = picture(lambda axes: draw_recall(axes, found.comparison.table))
        details = {
            "backtest": dg.MetadataValue.md(table(found.comparison.table)),
            "plot_recall": dg.MetadataValue.md(picture_in_text("recall", plot)),
            "cutoffs": found.comparison.splits,
        }
    return dg.MaterializeResult(
        metadata={"serves": serves, "reason": reason, **details},
        check_results=[
            dg.AssetCheckResult(
                check_name=CHECK,
                passed=found is not None and serves == MODEL,
                severity=dg.AssetCheckSeverity.WARN,
                description=reason,
            )
        ],
    )
