"""The training set and the models: trained from the published version, so that training blocks no slice."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar

import dagster as dg
import pandas as pd
from dagster_dbt import dbt_assets

from assets.publishing.published import DESCRIPTIONS
from assets.transform.warehouse import MANIFEST
from customer360.lake.publishing.publications import publish_training_set
from customer360.lake.slices import naive
from customer360.lake.warehouse.cutoffs import history_start, set_training_cutoffs
from customer360.lake.warehouse.slice_log import code_fingerprint, is_of_other_code
from customer360.settings import Settings, Shop
from customer360.snapshot import Snapshot
from ml.datasets import leakage, training_sets
from ml.datasets.targets import AFFINITY, CHURN, ORGANIC_RESPONSE, PRODUCT, RESPONSE, SPEND, Target, target_of
from ml.datasets.training_sets import TrainingSet, TrainingSetError
from ml.effects.judged_effect import Trained, judge_effect
from ml.fitting import boosting_settings, training
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.training import TrainedModel
from ml.fitting.tuning import Budget, Search, trials_frame
from ml.judging import evaluation, promotion
from ml.markdown import picture_in_text, table
from ml.monitoring.alarms import CHANGES, read_changes
from ml.recommendations.training_set import CandidateRows, build_product_training_set, read_candidates
from ml.responses.contact_rows import ResponseInputs, response_inputs
from ml.responses.training_set import build_response_training_set
from ml.responses.without_contact import build_organic_training_set
from ml.versions import model_card
from ml.versions.manifest import serves_text
from ml.versions.model_card import Section
from ml.versions.model_store import version_name
from ml.versions.shop_models import publish_versions, servable_for_shop, store_of
from orchestration import groups
from orchestration.dbt import ShopTranslator
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform
from orchestration.runtime.dbt_run import build

SEED = 360
LONGEST_WAIT = 1800.0
OTHER_CODE = (
    "the warehouse was made by another release of the models: the next slice brings it up to this one, and training can run "
    "then; in a replay that has ended, run warehouse_job"
)
NOT_TRAINED = "No model was trained: the metadata say what is missing."
CHECKS = ("beats_baselines", "no_target_leakage")

Inputs = TypeVar("Inputs")


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
            if is_of_other_code(connection, code_fingerprint(settings)):
                raise dg.Failure(OTHER_CODE)
            changes = [change.since for change in read_changes(settings.place.reports / "drift" / CHANGES)]
            cutoffs = set_training_cutoffs(connection, settings, changes)
        context.log.info(f"{len(cutoffs)} cut-offs: {', '.join(str(cutoff) for cutoff in cutoffs)}")
        yield from build(context, platform)
        with platform.opened() as connection:
            publish_training_set(connection, settings, platform.now(), DESCRIPTIONS)


@dataclass(frozen=True)
class Recipe(Generic[Inputs]):
    """How a model is made of the inputs that its step reads.

    ``judge``: the rows that judge, in words. ``outlook``: metadata of a model that waits for history. ``section``: a part of
    the model card that other models do not have.
    """

    name: str
    description: str
    deps: list[list[str]]
    judge: str
    boosting: BoostingSettings
    training_set: Callable[[Inputs, Shop, Target], TrainingSet]
    outlook: Callable[[Inputs, Shop, Target], dict[str, str]] | None = None
    section: Callable[[Inputs, Settings, TrainingSet, TrainedModel], Section] | None = None

    @property
    def key(self) -> dg.AssetKey:
        """The asset whose versions are in the model store."""
        return dg.AssetKey(["predictions", f"{self.name}_model"])

    @property
    def asset_spec(self) -> dg.AssetSpec:
        """The asset as the UI describes it."""
        return dg.AssetSpec(
            self.key,
            deps=self.deps,
            group_name=groups.PREDICTIONS,
            kinds={"catboost"},
            owners=[ML_TEAM],
            tags={"domain": "predictions"},
            description=(
                f"{self.description} A version in the model store.\n\n{self.judge.capitalize()} judges; the champion is "
                "replaced only by what is better than it beyond chance. Of customers' models a baseline serves until trees or "
                "a blend beat it."
            ),
        )

    @property
    def check_specs(self) -> list[dg.AssetCheckSpec]:
        """What is checked of every version."""
        baselines = (
            f"Warns when no model is better than every baseline on {self.judge}; of customers' models a baseline serves then."
        )
        leak = f"Fails when a feature alone predicts a class with an AUC above {leakage.ALARM_AUC}: it was made of the label."
        return [
            dg.AssetCheckSpec(check, asset=self.key, description=text)
            for check, text in zip(CHECKS, (baselines, leak), strict=True)
        ]


def training_step(step: str, read: Callable[[Snapshot], Inputs], *recipes: Recipe[Inputs]) -> dg.AssetsDefinition:
    """A step that trains models of the same inputs, which it reads once: their versions in the model store, with checks."""

    @dg.multi_asset(
        name=f"predictions__{step}",
        specs=[recipe.asset_spec for recipe in recipes],
        check_specs=[spec for recipe in recipes for spec in recipe.check_specs],
        can_subset=len(recipes) > 1,
    )
    def models(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[dg.MaterializeResult]:
        @cache
        def inputs() -> Inputs:
            with platform.snapshot() as snapshot:
                return read(snapshot)

        for recipe in recipes:
            if recipe.key in context.selected_asset_keys:
                yield _trained(context, platform, recipe, inputs)

    return models


def _trained(
    context: dg.AssetExecutionContext, platform: Platform, recipe: Recipe[Inputs], read: Callable[[], Inputs]
) -> dg.MaterializeResult:
    settings, inputs, name = platform.settings(), None, recipe.name
    target, store = target_of(name, settings.shop), store_of(settings, name)
    try:
        inputs = read()
        training_set = recipe.training_set(inputs, settings.shop, target)
    except TrainingSetError as error:
        if target.is_needed and store.champion_version(name) is not None:
            raise  # it could be trained before: something broke
        outlook = recipe.outlook(inputs, settings.shop, target) if recipe.outlook and inputs is not None else {}
        return _not_trained(recipe.key, {"missing": str(error), **outlook})
    minutes = settings.shop.training.tuning_minutes
    budget = Budget(minutes * 60, time.monotonic) if minutes else None
    threads = os.cpu_count() or 1
    trained = training.train(training_set, seed=SEED, threads=threads, settings=recipe.boosting, budget=budget)
    earlier = training.train_earlier(training_set, trained, seed=SEED, threads=threads)
    champion = servable_for_shop(settings, name).loaded
    judged = evaluation.evaluate(training_set, trained, champion.model if champion else None, earlier)
    now = platform.now()
    version = version_name(now, training_set.fingerprint)
    manifest = store.save(name, version, trained=trained, training_set=training_set, evaluation=judged, created_at=now)
    strongest = leakage.strongest_features(training_set)
    decision = promotion.decide(judged, strongest)
    store.record(name, version, decision, now)
    folder = settings.place.reports / "models" / name / version
    section = recipe.section(inputs, settings, training_set, trained) if recipe.section else None
    plots = model_card.write_card(folder, manifest, judged, decision, target.purpose, section=section)
    publish_versions(settings, now)
    context.log.info(decision.reason)
    return dg.MaterializeResult(
        asset_key=recipe.key,
        metadata={
            "dagster/row_count": judged.rows_train,
            "rows_validation": judged.rows_validation,
            "model_version": version,
            "serves": serves_text(manifest),
            "log_loss": judged.log_loss(judged.serves),
            **_auc_metadata(judged),
            "decision": "promoted" if decision.is_promoted else "rejected",
            "reason": decision.reason,
            "evaluation": dg.MetadataValue.md(judged.to_markdown()),
            **({section.title: dg.MetadataValue.md(section.text)} if section else {}),
            **{f"plot_{plot}": dg.MetadataValue.md(picture_in_text(plot, png)) for plot, png in plots.items()},
            **_tuning_metadata(trained.search),
            "model_card": dg.MetadataValue.path(folder / "card.md"),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="beats_baselines",
                asset_key=recipe.key,
                passed=judged.beats_baselines,
                severity=dg.AssetCheckSeverity.WARN,
                description=judged.choice.reason if judged.choice else None,
                metadata={"best_baseline": judged.best_baseline[0], "its_log_loss": judged.best_baseline[1]},
            ),
            dg.AssetCheckResult(
                check_name="no_target_leakage",
                asset_key=recipe.key,
                passed=not any(feature.is_alarming for feature in strongest),
                metadata={
                    "strongest_features": dg.MetadataValue.md(table(pd.DataFrame([asdict(feature) for feature in strongest])))
                },
            ),
        ],
    )


def _auc_metadata(judged: evaluation.Evaluation) -> dict[str, Any]:
    """The area under the ROC curve, of buying anything where there are several categories; with its interval."""
    return {
        key: value
        for row in judged.intervals[judged.intervals["measure"] == "auc"].to_dict("records")
        for key, value in (("auc", row["estimate"]), ("auc_interval", f"{row['low']:.4f} to {row['high']:.4f} (95%)"))
    }


def _tuning_metadata(search: Search | None) -> dict[str, Any]:
    if search is None:
        return {}
    return {"tuning": search.reason, "tuning_trials": dg.MetadataValue.md(table(trials_frame(search.trials)))}


def _not_trained(key: dg.AssetKey, missing: dict[str, str]) -> dg.MaterializeResult:
    """Not a failure of the run: the model waits for history or rows, and its columns stay null."""
    return dg.MaterializeResult(
        asset_key=key,
        metadata={"decision": "not trained", **missing},
        check_results=[
            dg.AssetCheckResult(
                check_name=check,
                asset_key=key,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description=NOT_TRAINED,
                metadata=missing,
            )
            for check in CHECKS
        ],
    )


@dataclass(frozen=True)
class CustomerInputs:
    """``training_features``, one row a cut-off and customer, and since when behaviour is known (UTC; None where nothing is).

    ``at_cutoffs``: see ``customers_at_cutoffs``.
    """

    frame: pd.DataFrame
    first_slice: datetime | None
    at_cutoffs: pd.DataFrame


@dataclass(frozen=True)
class ContactInputs:
    """The inputs of the models of response, and until when outcomes are known (plain UTC)."""

    inputs: ResponseInputs
    known_at: datetime


def _read_customers(snapshot: Snapshot) -> CustomerInputs:
    first = history_start(snapshot.connection, snapshot.settings, "slice_log")
    frame = snapshot.read("from training_features order by cutoff_no, customer_id")
    return CustomerInputs(frame, first, training_sets.customers_at_cutoffs(snapshot.connection))


def _read_candidates(snapshot: Snapshot) -> CandidateRows:
    if not snapshot.has("interactions"):
        raise TrainingSetError("interactions are not published yet: warehouse_job or history_job makes them")
    return read_candidates(snapshot.connection, snapshot.shop, naive(snapshot.as_of))


def _read_contacts(snapshot: Snapshot) -> ContactInputs:
    return ContactInputs(response_inputs(snapshot), snapshot.outcomes_known_at)


def _customers_at_cutoffs(customers: CustomerInputs, _: Settings, __: TrainingSet, ___: TrainedModel) -> Section:
    left_out = (
        "Customers who were not known yet at a cut-off are in none of its rows: known_since is later, or they had no event, no "
        "order and no load that listed them."
    )
    return Section("customers", f"{left_out}\n\n{table(customers.at_cutoffs)}", {})


def _effect(contacts: ContactInputs, settings: Settings, training_set: TrainingSet, trained: TrainedModel) -> Section:
    """The effect of contacts by the response model that serves and the new model of customers without contact."""
    serving = servable_for_shop(settings, RESPONSE).loaded
    response = None
    if serving is not None:
        until, judged_from = serving.manifest.train_cutoffs[-1], serving.manifest.validation_cutoff
        response = Trained(serving.model, until.replace(tzinfo=None), judged_from.replace(tzinfo=None))
    without = Trained(trained.model, training_set.train_cutoffs[-1], training_set.validation_cutoff)
    found = judge_effect(contacts.inputs, settings.shop, contacts.known_at, response, without)
    if isinstance(found, str):
        return Section("effect", f"{found.capitalize()}.", {})
    return Section("effect", found.to_markdown(), {"qini": found.plot()})


def _of_customers(name: str, description: str) -> Recipe[CustomerInputs]:
    return Recipe(
        name,
        description,
        deps=[["marts", "training_features"]],
        judge="the last known cut-offs",
        boosting=BoostingSettings(),
        training_set=lambda customers, shop, target: training_sets.build_training_set(customers.frame, shop, target),
        outlook=lambda customers, shop, target: training_sets.training_outlook(
            customers.frame, shop, target, customers.first_slice
        ),
        section=_customers_at_cutoffs,
    )


CUSTOMERS = [
    _of_customers(AFFINITY, 'Category affinity: which category a customer buys from next, "none" included.'),
    _of_customers(SPEND, "Spend: in which band the net spend of a customer who buys lies."),
    _of_customers(CHURN, "Churn: whether a customer orders nothing within the churn horizon."),
]
CONTACTS = Recipe[ContactInputs](
    RESPONSE,
    "Response: whether a contact converts, by customer, campaign, channel, day of the week and daypart.",
    deps=[
        *(["marts", name] for name in ("campaign_touch_history", "customer_orders")),
        *(["raw", name] for name in ("customers", "campaigns", "offers")),
    ],
    judge="the newest fifth of the contacts",
    boosting=boosting_settings.CONTACTS,
    training_set=lambda contacts, shop, _: build_response_training_set(contacts.inputs, shop, contacts.known_at),
)
CONTROLS = Recipe[ContactInputs](
    ORGANIC_RESPONSE,
    "Response without contact: whether a customer of a control group converts, so that plans may count the "
    "effect of a contact. Its metadata show whether the effect, response less this, ranks those whom a contact changes.",
    deps=[*CONTACTS.deps, ["predictions", f"{RESPONSE}_model"]],
    judge="the newest fifth of the control groups",
    boosting=boosting_settings.CONTACTS,
    training_set=lambda contacts, shop, _: build_organic_training_set(contacts.inputs, shop, contacts.known_at),
    section=_effect,
)
PRODUCTS = Recipe[CandidateRows](
    PRODUCT,
    "Products: whether a customer buys a product within the label horizon, of the products that may be next.",
    deps=[["marts", "interactions"], ["raw", "products"]],
    judge="the last known cut-offs",
    boosting=BoostingSettings(),
    training_set=lambda candidates, _, target: build_product_training_set(candidates, target),
)

# Customers' models are steps of their own, so that one which fails stops no other. The one of controls needs that of contacts.
TRAINING_STEPS = [
    *(training_step(f"{recipe.name}_model", _read_customers, recipe) for recipe in CUSTOMERS),
    training_step(f"{PRODUCT}_model", _read_candidates, PRODUCTS),
    training_step("response_models", _read_contacts, CONTACTS, CONTROLS),
]
MODEL_KEYS = [key for step in TRAINING_STEPS for key in step.keys]
