"""The products that each customer most probably buys, made from the published version so that it blocks no slice."""

import dagster as dg
import pandas as pd

from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from customer360.lake.warehouse.frames import write_parquet
from ml.datasets.targets import PRODUCT
from ml.markdown import table
from ml.recommendations.affinity import INTERVALS, TABLE, product_affinity, repurchase_intervals
from ml.recommendations.baskets import RULES, serving_order
from ml.versions.manifest import serves_text
from ml.versions.shop_models import servable_for_shop
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform

KEY = dg.AssetKey(["predictions", TABLE])
CHECK = "product_champion_is_served"


@dg.asset(
    key=KEY,
    deps=[["predictions", "product_model"], ["predictions", "product_backtest"], ["publishing", "published"]],
    group_name=groups.PREDICTIONS,
    kinds={"catboost", "duckdb"},
    owners=[ML_TEAM],
    tags=groups.tags("predictions", TABLES[TABLE].columns),
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset=KEY,
            description="The champion of product scores; warns when it was refused and an older one serves, or none.",
        )
    ],
)
def affinity(platform: Platform) -> dg.MaterializeResult:
    """The 20 products that each customer most probably buys, with reasons. One row per customer and product."""
    settings = platform.settings()
    servable = servable_for_shop(settings, PRODUCT)
    rows, intervals, loaded = TABLES[TABLE].empty(), TABLES[INTERVALS].empty(), servable.loaded
    with platform.snapshot() as snapshot:
        if loaded is not None and snapshot.has("interactions"):
            frames = product_affinity(
                snapshot.connection,
                naive(snapshot.as_of),
                loaded.model,
                loaded.version,
                settings.shop.label_horizon_days,
                order=RULES.get(serving_order(settings.place)),
            )
            rows = pd.concat([rows, *frames], ignore_index=True)
            intervals = repurchase_intervals(snapshot.connection, naive(snapshot.as_of))
    for name, frame in ((TABLE, rows), (INTERVALS, intervals)):
        write_parquet(settings.place.recommendations / f"{name}.parquet", frame)
    publish_files(settings.place, platform.now())
    refusals = [f"{refusal.version}: {refusal.reason}" for refusal in servable.refusals]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "customers": rows["customer_id"].nunique(),
            "products": rows["product_id"].nunique(),
            "model_version": loaded.version if loaded else "none",
            "serves": serves_text(loaded.manifest) if loaded else "none: training_job makes the model",
            "ordered_by": serving_order(settings.place),
            "first_rows": dg.MetadataValue.md(table(rows.head(10))),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=CHECK,
                passed=loaded is not None and not refusals,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"refused": "; ".join(refusals) or "none"},
            )
        ],
    )
