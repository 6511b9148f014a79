"""The response model on the leads of Microsoft's published Campaign Optimization: how well it ranks, what its plan is worth.

As there, 70% of the leads teach and the AUC is that of the others' latest touch. All is the product's own: history, training
set, training, calibration, store, scoring; a random forest of scikit-learn is fitted on the same rows. The best combination of
every lead is taken without any constraint, and judged by the true probabilities, which the generator gives.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from benchmarks.leads import ATTRIBUTES, JUDGED_CAMPAIGN, Leads, draw_leads
from benchmarks.measuring import output_of
from customer360.settings import REPOSITORY, Shop, load_shop
from ml.arrays import SingleFloats
from ml.datasets.targets import CONVERTED, RESPONSE, target_of
from ml.datasets.training_sets import TrainingSet
from ml.fitting.boosting_settings import CONTACTS
from ml.fitting.class_model import ClassModel
from ml.fitting.training import train
from ml.frames import feature_matrix
from ml.judging.evaluation import evaluate
from ml.measures import auc
from ml.responses.contact_rows import CampaignFacts, ResponseInputs, contact_rows
from ml.responses.features import response_features
from ml.responses.scoring import response_predictions, rows_at
from ml.responses.training_set import build_response_training_set
from ml.versions.model_store import ModelStore

LEADS, SEED, HELD_OUT = 100_000, 360, 0.3
VERSION, SCORES = "v1", "scores.npy"
CAMPAIGN = CampaignFacts("published", None)

Forest = Callable[[pd.DataFrame], np.ndarray]  # feature matrix to P(convert) of each row


@dataclass(frozen=True)
class ScoredLeads:
    """The leads with their truth, what the model says of every combination (as ``posterior``), and the figures so far."""

    leads: Leads
    conversion: SingleFloats
    figures: dict[str, float]


def scored_leads(count: int = LEADS, seed: int = SEED) -> ScoredLeads:
    """Draw, train, judge and score; the scoring in a process of its own, so that its memory can be seen."""
    leads = draw_leads(base_shop(), count, seed)
    inputs, known_at = as_published(leads)
    is_held = np.random.default_rng(seed).random(count) < HELD_OUT
    latest = leads.touches.iloc[leads.judged]
    training_set = build_response_training_set(inputs, leads.shop, known_at, latest.loc[~is_held, "touch_id"])
    started = time.process_time()
    trained = train(training_set, seed=seed, threads=os.cpu_count() or 1, settings=CONTACTS)
    training_seconds = time.process_time() - started
    judged = evaluate(training_set, trained)
    rows = inputs.touches.iloc[leads.judged[is_held]]
    matrix = feature_matrix(contact_rows(rows, inputs, leads.shop), training_set.features, "held-out leads")
    hit = rows["is_converted"].to_numpy(dtype=bool)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ModelStore(folder).save(
            RESPONSE, VERSION, trained=trained, training_set=training_set, evaluation=judged, created_at=datetime.now(UTC)
        )
        inputs.touches.to_parquet(folder / "touches.parquet")
        inputs.attributes.to_parquet(folder / "attributes.parquet")
        measured = json.loads(output_of("benchmarks.campaign_response", name, known_at.isoformat()))
        conversion: SingleFloats = np.load(folder / SCORES)
    true_means = leads.posterior.reshape(count, -1)
    forest = forest_of(training_set, seed)
    return ScoredLeads(
        leads,
        conversion,
        {
            "leads": count,
            "auc": auc(share(trained.model, matrix), hit),
            "bayes_auc": auc(leads.of(latest[is_held]), hit),
            "forest_auc": auc(forest(matrix), hit),
            "plan_value": best_value(leads, conversion),
            "oracle_value": float(true_means.max(axis=1).mean()),
            "forest_value": best_value(leads, forest_scores(forest, training_set, inputs, leads, known_at)),
            "random_value": float(true_means.mean()),
            "single_value": float(true_means.mean(axis=0).max()),
            "used_value": float(leads.of(latest).mean()),
            "trees": trained.tree_count,
            "training_cpu_seconds": training_seconds,
            **measured,
        },
    )


def base_shop() -> Shop:
    """The synthetic shop, for channels, dayparts and time zone."""
    return load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")


def as_published(leads: Leads) -> tuple[ResponseInputs, datetime]:
    """The leads as the published tables have contacts and customers, and a moment by which every outcome is known."""
    shop = leads.shop
    plain = {
        name: pd.to_datetime(leads.touches[name], utc=True).dt.tz_localize(None) for name in ("touched_at", "converted_at")
    }
    hours = {name: daypart.start for name, daypart in shop.dayparts.items()}
    touches = leads.touches.assign(
        **plain, day_of_week=leads.touches["day"] + 1, local_hour=leads.touches["daypart"].map(hours).astype("int64")
    )
    attributes = leads.customers.assign(
        valid_from=pd.Timestamp("1970-01-01"), valid_to=pd.Series(pd.NaT, dtype="datetime64[us]")
    )
    known_at = plain["touched_at"].max() + timedelta(days=shop.campaigns.attribution_days)
    return ResponseInputs(touches, attributes, *_campaigns()), known_at.to_pydatetime()


def _campaigns() -> tuple[pd.DataFrame, pd.DataFrame]:
    campaigns = pd.DataFrame({"campaign_id": [JUDGED_CAMPAIGN], "kind": [CAMPAIGN.kind], "offer_id": [None]}, dtype=object)
    return campaigns, pd.DataFrame({"offer_id": [], "category_id": []}, dtype=object)


def forest_of(training_set: TrainingSet, seed: int) -> Forest:
    """P(convert) of each row of a feature matrix by scikit-learn's random forest, uncalibrated.

    Text features are coded by their share of conversions, a missing number below all others. Half of the features at each
    split: AUC on 10,000 later contacts .918 at 10 rows a leaf, .919 at 20 and at 5; their square root .915 at 5, .906 at 20.
    """
    train, converted = training_set.train, training_set.train_labels == CONVERTED
    texts = [feature.name for feature in training_set.features if feature.kind == "categorical"]
    shares = {name: pd.Series(converted).groupby(train[name].to_numpy(dtype=object)).mean() for name in texts}

    def codes(matrix: pd.DataFrame) -> np.ndarray:
        coded = {name: matrix[name].map(shares[name]).fillna(-1.0) for name in texts}
        return matrix.assign(**coded).fillna(-1e30).to_numpy(np.float32)

    fitted = RandomForestClassifier(
        n_estimators=100, min_samples_leaf=10, max_features=0.5, random_state=seed, n_jobs=os.cpu_count()
    ).fit(codes(train), converted, sample_weight=training_set.train_weights)
    return lambda matrix: np.asarray(fitted.predict_proba(codes(matrix))[:, 1])


def forest_scores(forest: Forest, training_set: TrainingSet, inputs: ResponseInputs, leads: Leads, at: datetime) -> np.ndarray:
    """All combinations of all leads, in the order of ``response_predictions``."""
    rows = rows_at(pd.Index(leads.customers["customer_id"]), at, inputs, leads.shop)
    rows = rows.assign(campaign_kind=CAMPAIGN.kind, offer_category_id=CAMPAIGN.offer_category_id)
    options = product(leads.shop.channels, map(str, range(1, 8)), leads.shop.dayparts)
    columns = [
        forest(feature_matrix(rows.assign(channel=channel, day_of_week=day, daypart=daypart), training_set.features, "leads"))
        for channel, day, daypart in options
    ]
    return np.column_stack(columns)


def share(model: ClassModel, matrix: pd.DataFrame) -> np.ndarray:
    """P(convert) of each row."""
    return model.probabilities(matrix)[:, model.categories.index(CONVERTED)]


def best_value(leads: Leads, conversion: np.ndarray) -> float:
    """Mean true conversion where every lead gets the combination that these scores rank first."""
    best = conversion.reshape(len(conversion), -1).argmax(axis=1)
    return float(leads.posterior.reshape(len(conversion), -1)[np.arange(len(best)), best].mean())


def main() -> None:
    """Score the leads in a folder, write the scores there and print what that took: history, attributes and 63 combinations."""
    folder, known_at = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
    shop = base_shop().model_copy(update={"attributes": ATTRIBUTES})
    target = target_of(RESPONSE, shop)
    model = ModelStore(folder).load(RESPONSE, VERSION, response_features(shop), target.classes, target.horizon_days).model
    frames = (pd.read_parquet(folder / f"{name}.parquet") for name in ("touches", "attributes"))
    inputs = ResponseInputs(*frames, *_campaigns())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    rows = rows_at(pd.Index(inputs.attributes["customer_id"]), known_at, inputs, shop)
    conversion = response_predictions(model, CAMPAIGN, rows, shop)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(folder / SCORES, conversion)
    sys.stdout.write(
        json.dumps(
            {"scoring_cpu_seconds": seconds, "scoring_peak_mib": peak / 1024, "scoring_added_mib": (peak - before) / 1024}
        )
    )


if __name__ == "__main__":
    main()
