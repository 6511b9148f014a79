"""The check that no feature of the training set sees what became known after its cut-off."""

import tempfile
from datetime import timedelta
from pathlib import Path

import dagster as dg

from customer360.features import feature_list
from customer360.lake.warehouse.sampled_copy import copy_sample
from ml.datasets.look_ahead import CUSTOMERS, look_ahead
from ml.markdown import table
from orchestration.dbt import compiled_model
from orchestration.resources import Platform


@dg.asset_check(
    asset=["marts", "training_features"],
    blocking=True,
    description="Features stay equal when all that became known after a cut-off, the newest and the oldest, is altered.",
)
def features_do_not_see_the_future(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """Compute features again from a copy with another future, for 1,000 customers. The warehouse is held for the copy only.

    Not in the warehouse's pool, as the training set is not: a run holds a pool's slot to its end.
    """
    settings = platform.settings()
    model = compiled_model(settings, "training_models", context.run.run_id, "training_features")
    scratch = settings.place.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="look-ahead-", dir=scratch) as folder:
        sampled = Path(folder) / "sampled.duckdb"
        with platform.warehouse(f"run {context.run.run_id}") as connection:
            customers = copy_sample(connection, model.relations, CUSTOMERS, sampled)
        found = look_ahead(
            sampled,
            model.sql,
            database=model.database,
            relations=model.relations,
            features=[feature.name for feature in feature_list(settings.shop)],
            horizon=timedelta(days=settings.shop.label_horizon_days),
        )
    return dg.AssetCheckResult(
        passed=not found.changed,
        description=found.verdict,
        metadata={
            "customers": customers,
            "cutoffs": len(found.cutoffs),
            "rows_added": found.added,
            "labels_changed": found.labels,
            **({"features_that_changed": dg.MetadataValue.md(table(found.to_frame()))} if found.changed else {}),
        },
    )
