"""The training set and the models: trained from the published version, so that training blocks no slice."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
import pandas as pd
from dagster_dbt import dbt_assets

from assets.transform.warehouse import MANIFEST
from customer360.lake.publishing.publications import PARQUET_ONLY, warehouse_tables
from customer360.lake.publishing.publishing import publish, reader
from customer360.lake.slices import EPOCH
from customer360.lake.warehouse.cutoffs import set_training_cutoffs
from ml.datasets import leakage, training_sets
from ml.datasets.targets import AFFINITY, CHURN, SPEND, target_of
from ml.datasets.training_outlook import outlook
from ml.fitting import training
from ml.fitting.tuning import Budget, Search, trials_frame
from ml.judging import evaluation, model_card, promotion
from ml.markdown import picture_in_text, table
from ml.monitoring.alarms import CHANGES, read_changes
from ml.versions.model_store import version_name
from ml.versions.shop_models import publish_versions, servable_for_shop, store_of
from orchestration import groups
from orchestration.dbt import ShopTranslator
from orchestration.dbt_events import with_row_counts
from orchestration.dbt_run import Dbt
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform

SEED = 360
LONGEST_WAIT = 1800.0
NOT_TRAINED = "No model was trained: the metadata say what is missing."


@dbt_assets(
    manifest=MANIFEST,
    select="tag:training",
    name="training_models",
    dagster_dbt_translator=ShopTranslator(),
)
def training_features(context: dg.AssetExecutionContext, dbt: Dbt, platform: Platform) -> Iterator[Any]:
    """Features and labels at weekly cut-offs, by the macro that also makes ``customer_features``."""
    settings = platform.settings()
    # Not in the warehouse's pool, which a run holds to its end: slices wait for these seconds, not for the training after them.
    with platform.lock(f"run {context.run.run_id}", LONGEST_WAIT):
        with platform.opened() as connection:
            changes = [change.since for change in read_changes(settings.place.reports / "drift" / CHANGES)]
            cutoffs = set_training_cutoffs(connection, settings, changes)
        context.log.info(f"{len(cutoffs)} cut-offs: {', '.join(str(cutoff) for cutoff in cutoffs)}")
        yield from with_row_counts(context, dbt.build(context), platform.count_rows)
        with platform.opened() as connection:
            as_of = connection.execute("select as_of from ops.clock").fetchone()
            moment = as_of[0].replace(tzinfo=EPOCH.tzinfo) if as_of else None
            tables = warehouse_tables(connection, settings)
            only = {name: f"from marts.{name}" for name in PARQUET_ONLY}
            publish(settings.place, connection, tables, moment, platform.now(), parquet_only=only)


def model_asset(name: str, description: str) -> dg.AssetsDefinition:
    """The asset of a model: its versions in the model store, with its checks. One function makes those of all targets."""
    key = dg.AssetKey(["predictions", f"{name}_model"])

    @dg.asset(
        key=key,
        deps=[["marts", "training_features"]],
        group_name=groups.PREDICTIONS,
        kinds={"catboost"},
        owners=[ML_TEAM],
        tags={"domain": "predictions"},
        description=(
            f"{description} A version in the model store.\n\nThe last known cut-off judges; the champion is replaced only by a "
            "model that beats the baselines and is better than it beyond chance."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "beats_baselines",
                asset=key,
                description="The new model's log loss on the last known cut-off is below every baseline's.",
            ),
            dg.AssetCheckSpec(
                "no_feature_tells_the_label",
                asset=key,
                description=f"No feature tells a class alone, with an AUC above {leakage.ALARM_AUC}: it would be made of it.",
            ),
        ],
    )
    def model(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        return _trained(context, platform, name)

    return model


def _trained(context: dg.AssetExecutionContext, platform: Platform, name: str) -> dg.MaterializeResult:
    settings = platform.settings()
    target, store = target_of(name, settings.shop), store_of(settings, name)
    with reader(settings.place) as connection:
        frame = connection.execute("select * from training_features order by cutoff_no, customer_id").df()
        first = connection.execute("select min(slice) from slice_log").fetchone()
    try:
        training_set = training_sets.build_training_set(frame, settings.shop, target)
    except training_sets.TrainingSetError as error:
        if target.is_needed:
            raise
        return _not_trained(outlook(frame, settings.shop, target, first[0] if first else None, error))
    minutes = settings.shop.training.tuning_minutes
    budget = Budget(minutes * 60, time.monotonic) if minutes else None
    trained = training.train(training_set, seed=SEED, threads=os.cpu_count() or 1, budget=budget)
    champion = servable_for_shop(settings, name).loaded
    judged = evaluation.evaluate(training_set, trained.model, champion.model if champion else None)
    now = platform.now()
    version = version_name(now, training_set.fingerprint)
    manifest = store.save(name, version, trained=trained, training_set=training_set, evaluation=judged, created_at=now)
    strongest = leakage.strongest_features(training_set)
    decision = promotion.decide(judged, strongest)
    store.record(name, version, decision, now)
    folder = settings.place.reports / "models" / name / version
    drawn = model_card.write_card(folder, manifest, judged, decision, target.purpose)
    publish_versions(settings, now)
    context.log.info(decision.reason)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": judged.rows_train,
            "rows_validation": judged.rows_validation,
            "model_version": version,
            "log_loss": judged.log_loss(evaluation.MODEL),
            "decision": "promoted" if decision.is_promoted else "rejected",
            "reason": decision.reason,
            "evaluation": dg.MetadataValue.md(judged.to_markdown()),
            **{f"plot_{name}": dg.MetadataValue.md(picture_in_text(name, png)) for name, png in drawn.items()},
            **_tuning_metadata(trained.search),
            "model_card": dg.MetadataValue.path(folder / "card.md"),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="beats_baselines",
                passed=judged.log_loss(evaluation.MODEL) < judged.best_baseline[1],
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"best_baseline": judged.best_baseline[0], "its_log_loss": judged.best_baseline[1]},
            ),
            dg.AssetCheckResult(
                check_name="no_feature_tells_the_label",
                passed=not any(one.is_alarming for one in strongest),
                metadata={"strongest_features": dg.MetadataValue.md(table(pd.DataFrame([asdict(one) for one in strongest])))},
            ),
        ],
    )


def _tuning_metadata(search: Search | None) -> dict[str, Any]:
    if search is None:
        return {}
    return {"tuning": search.reason, "tuning_trials": dg.MetadataValue.md(table(trials_frame(search.trials)))}


def _not_trained(missing: dict[str, str]) -> dg.MaterializeResult:
    """No fault of the run: the model waits for history or rows, and what it would say stays null."""
    return dg.MaterializeResult(
        metadata={"decision": "not trained", **missing},
        check_results=[
            dg.AssetCheckResult(
                check_name=check, passed=False, severity=dg.AssetCheckSeverity.WARN, description=NOT_TRAINED, metadata=missing
            )
            for check in ("beats_baselines", "no_feature_tells_the_label")
        ],
    )


affinity_model = model_asset(AFFINITY, 'Category affinity: which category a customer buys from next, "none" included.')
spend_model = model_asset(SPEND, "Spend: in which band the net spend of a customer who buys lies.")
churn_model = model_asset(CHURN, "Churn: whether a customer orders nothing within the churn horizon.")
MODEL_ASSETS = [affinity_model, spend_model, churn_model]
