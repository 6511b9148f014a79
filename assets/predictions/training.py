"""The training set and the models: trained from the published version, so that training blocks no slice."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

import dagster as dg
import pandas as pd
from dagster_dbt import dbt_assets

from assets.transform.warehouse import MANIFEST
from customer360.lake.publishing.publications import PARQUET_ONLY, warehouse_tables
from customer360.lake.publishing.publishing import publish
from customer360.lake.slices import EPOCH
from customer360.lake.warehouse.cutoffs import set_training_cutoffs
from customer360.settings import Settings, Shop
from customer360.snapshot import Snapshot
from ml.datasets import leakage, training_sets
from ml.datasets.targets import AFFINITY, CHURN, ORGANIC_RESPONSE, RESPONSE, SPEND, Target, target_of
from ml.datasets.training_outlook import outlook
from ml.datasets.training_sets import TrainingSet, TrainingSetError
from ml.effects.judged_effect import Trained, judge_effect
from ml.fitting import boosting_settings, families, training
from ml.fitting.training import TrainedModel
from ml.fitting.tuning import Budget, Search, trials_frame
from ml.judging import evaluation, model_card, promotion
from ml.judging.model_card import Section
from ml.markdown import picture_in_text, table
from ml.monitoring.alarms import CHANGES, read_changes
from ml.responses.contact_rows import ResponseInputs, response_inputs
from ml.responses.training_set import build_response_training_set
from ml.responses.without_contact import build_organic_training_set
from ml.versions.model_store import version_name
from ml.versions.shop_models import publish_versions, servable_for_shop, store_of
from orchestration import groups
from orchestration.dbt import ShopTranslator
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform
from orchestration.runtime.dbt_run import build

SEED = 360
LONGEST_WAIT = 1800.0
NOT_TRAINED = "No model was trained: the metadata say what is missing."


@dbt_assets(
    manifest=MANIFEST,
    select="tag:training",
    name="training_models",
    dagster_dbt_translator=ShopTranslator(),
)
def training_features(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
    """Features and labels at weekly cut-offs, by the macro that also makes ``customer_features``."""
    settings = platform.settings()
    # Not in the warehouse's pool, which a run holds to its end: slices wait for these seconds, not for the training after them.
    with platform.lock(f"run {context.run.run_id}", LONGEST_WAIT):
        with platform.opened() as connection:
            changes = [change.since for change in read_changes(settings.place.reports / "drift" / CHANGES)]
            cutoffs = set_training_cutoffs(connection, settings, changes)
        context.log.info(f"{len(cutoffs)} cut-offs: {', '.join(str(cutoff) for cutoff in cutoffs)}")
        yield from build(context, platform)
        with platform.opened() as connection:
            as_of = connection.execute("select as_of from ops.clock").fetchone()
            moment = as_of[0].replace(tzinfo=EPOCH.tzinfo) if as_of else None
            tables = warehouse_tables(connection, settings)
            only = {name: f"from marts.{name}" for name in PARQUET_ONLY}
            publish(settings.place, connection, tables, moment, platform.now(), parquet_only=only)


@dataclass(frozen=True)
class Course:
    """How a model learns: what its asset reads, once, how its training set is made of that, how it is trained, what judges it.

    ``untold`` says more of a training set that could not be made, where the model is one to wait for. ``more`` tells what a new
    model is worth beside others that serve.
    """

    deps: list[list[str]]
    read: Callable[[Snapshot], Any]
    training_set: Callable[[Any, Shop, Target], TrainingSet]
    train: Callable[..., TrainedModel]
    untold: Callable[[Any, Shop, Target, Exception], dict[str, str]]
    kinds: set[str]
    judge: str
    more: Callable[[Any, Settings, TrainingSet, TrainedModel], Section] | None = None


def model_asset(name: str, description: str, course: Course) -> dg.AssetsDefinition:
    """The asset of a model: its versions in the model store, with its checks. One function makes those of all targets."""
    key = dg.AssetKey(["predictions", f"{name}_model"])

    @dg.asset(
        key=key,
        deps=course.deps,
        group_name=groups.PREDICTIONS,
        kinds=course.kinds,
        owners=[ML_TEAM],
        tags={"domain": "predictions"},
        description=(
            f"{description} A version in the model store.\n\n{course.judge.capitalize()} judges; the champion is replaced only "
            "by a model that beats the baselines and is better than it beyond chance."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "beats_baselines",
                asset=key,
                description=f"The new model's log loss on {course.judge} is below every baseline's.",
            ),
            dg.AssetCheckSpec(
                "no_feature_tells_the_label",
                asset=key,
                description=f"No feature tells a class alone, with an AUC above {leakage.ALARM_AUC}: it would be made of it.",
            ),
        ],
    )
    def model(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        return _trained(context, platform, name, course)

    return model


def _trained(context: dg.AssetExecutionContext, platform: Platform, name: str, course: Course) -> dg.MaterializeResult:
    settings = platform.settings()
    target, store = target_of(name, settings.shop), store_of(settings, name)
    inputs = None
    try:
        with platform.snapshot() as snapshot:
            inputs = course.read(snapshot)
        training_set = course.training_set(inputs, settings.shop, target)
    except TrainingSetError as error:
        if target.is_needed:
            raise
        return _not_trained(course.untold(inputs, settings.shop, target, error))
    minutes = settings.shop.training.tuning_minutes
    budget = Budget(minutes * 60, time.monotonic) if minutes else None
    trained = course.train(training_set, seed=SEED, threads=os.cpu_count() or 1, budget=budget)
    champion = servable_for_shop(settings, name).loaded
    judged = evaluation.evaluate(training_set, trained.model, champion.model if champion else None, trained.rivals)
    now = platform.now()
    version = version_name(now, training_set.fingerprint)
    manifest = store.save(name, version, trained=trained, training_set=training_set, evaluation=judged, created_at=now)
    strongest = leakage.strongest_features(training_set)
    decision = promotion.decide(judged, strongest)
    store.record(name, version, decision, now)
    folder = settings.place.reports / "models" / name / version
    more = course.more(inputs, settings, training_set, trained) if course.more else None
    drawn = model_card.write_card(folder, manifest, judged, decision, target.purpose, more=more)
    publish_versions(settings, now)
    context.log.info(decision.reason)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": judged.rows_train,
            "rows_validation": judged.rows_validation,
            "model_version": version,
            "log_loss": judged.log_loss(evaluation.MODEL),
            **_family_metadata(trained, judged),
            "decision": "promoted" if decision.is_promoted else "rejected",
            "reason": decision.reason,
            "evaluation": dg.MetadataValue.md(judged.to_markdown()),
            **({more.title: dg.MetadataValue.md(more.text)} if more else {}),
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


def _family_metadata(trained: TrainedModel, judged: evaluation.Evaluation) -> dict[str, Any]:
    if trained.families is None:
        return {}
    (auc,) = judged.intervals[judged.intervals["measure"] == "auc"].to_dict("records")
    return {
        "auc": auc["estimate"],
        "auc_interval": f"{auc['low']:.4f} to {auc['high']:.4f} (95%)",
        "family": trained.family_reason,
        "families": dg.MetadataValue.md(table(trained.families)),
    }


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


def _read_cutoffs(snapshot: Snapshot) -> tuple[pd.DataFrame, datetime | None]:
    """``training_features``, and the start of the first slice (plain UTC)."""
    first = snapshot.connection.execute("select min(slice) from slice_log").fetchone()
    return snapshot.read("from training_features order by cutoff_no, customer_id"), first[0] if first else None


def _of_customers(inputs: tuple[pd.DataFrame, datetime | None], shop: Shop, target: Target) -> TrainingSet:
    return training_sets.build_training_set(inputs[0], shop, target)


def _outlook(inputs: tuple[pd.DataFrame, datetime | None], shop: Shop, target: Target, error: Exception) -> dict[str, str]:
    return outlook(inputs[0], shop, target, inputs[1], error)


def _read_contacts(snapshot: Snapshot) -> tuple[ResponseInputs, datetime]:
    """The inputs, and until when outcomes are known (plain UTC)."""
    return response_inputs(snapshot), snapshot.outcomes_known_at


def _of_contacts(inputs: tuple[ResponseInputs, datetime], shop: Shop, target: Target) -> TrainingSet:
    return build_response_training_set(inputs[0], shop, inputs[1])


def _of_controls(inputs: tuple[ResponseInputs, datetime], shop: Shop, target: Target) -> TrainingSet:
    return build_organic_training_set(inputs[0], shop, inputs[1])


def _effect(
    inputs: tuple[ResponseInputs, datetime], settings: Settings, training_set: TrainingSet, trained: TrainedModel
) -> Section:
    """What contacts add by the response model that serves and the new model of customers without contact."""
    serving = servable_for_shop(settings, RESPONSE).loaded
    response = None
    if serving is not None:
        until, judged_from = serving.manifest.train_cutoffs[-1], serving.manifest.validation_cutoff
        response = Trained(serving.model, until.replace(tzinfo=None), judged_from.replace(tzinfo=None))
    without = Trained(trained.model, training_set.train_cutoffs[-1], training_set.validation_cutoff)
    found = judge_effect(inputs[0], settings.shop, inputs[1], response, without)
    if isinstance(found, str):
        return Section("effect", f"{found.capitalize()}.", {})
    return Section("effect", found.to_markdown(), {"qini": found.plot()})


CUSTOMERS = Course(
    deps=[["marts", "training_features"]],
    read=_read_cutoffs,
    training_set=_of_customers,
    train=training.train,
    untold=_outlook,
    kinds={"catboost"},
    judge="the last known cut-off",
)
CONTACTS = Course(
    deps=[
        *(["marts", name] for name in ("campaign_touch_history", "customer_orders")),
        *(["raw", name] for name in ("customers", "campaigns", "offers")),
    ],
    read=_read_contacts,
    training_set=_of_contacts,
    train=partial(families.train_families, settings=boosting_settings.CONTACTS),
    untold=lambda inputs, shop, target, error: {"missing": str(error)},
    kinds={"catboost", "scikitlearn"},
    judge="the newest fifth of the contacts",
)
CONTROLS = Course(
    deps=[*CONTACTS.deps, ["predictions", f"{RESPONSE}_model"]],
    read=_read_contacts,
    training_set=_of_controls,
    train=partial(training.train, settings=boosting_settings.CONTACTS),
    untold=CONTACTS.untold,
    kinds={"catboost"},
    judge="the newest fifth of the control groups",
    more=_effect,
)

affinity_model = model_asset(
    AFFINITY, 'Category affinity: which category a customer buys from next, "none" included.', CUSTOMERS
)
spend_model = model_asset(SPEND, "Spend: in which band the net spend of a customer who buys lies.", CUSTOMERS)
churn_model = model_asset(CHURN, "Churn: whether a customer orders nothing within the churn horizon.", CUSTOMERS)
response_model = model_asset(
    RESPONSE,
    "Response: whether a contact converts, by customer, campaign, channel, day of the week and daypart. Boosted trees beside a "
    "random forest, the better one by log loss.",
    CONTACTS,
)
organic_response_model = model_asset(
    ORGANIC_RESPONSE,
    "Response without contact: whether a customer of a control group converts, so that plans may count what a contact adds. "
    "Its metadata show whether the effect, response less this, finds those whom a contact changes.",
    CONTROLS,
)
MODEL_ASSETS = [affinity_model, spend_model, churn_model, response_model, organic_response_model]
