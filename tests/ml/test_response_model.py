"""The response model: close to the truth, judged with its AUC, and let through the gate."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.datasets.leakage import strongest_features
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.training import MODEL, TrainedModel, train
from ml.judging.evaluation import Evaluation, evaluate
from ml.judging.promotion import decide
from ml.measures import auc
from ml.responses.training_set import build_response_training_set
from tests.ml.contacts import KNOWN_AT, drawn_inputs, truth
from tests.ml.published_frames import small_shop

SHOP = small_shop()
INPUTS = drawn_inputs(SHOP, customers=500, touches=6_000)
SET = build_response_training_set(INPUTS, SHOP, KNOWN_AT)


@pytest.fixture(scope="module")
def made() -> TrainedModel:
    return train(SET, seed=1, threads=2, settings=BoostingSettings(iterations=150))


@pytest.fixture(scope="module")
def judged(made: TrainedModel) -> Evaluation:
    return evaluate(SET, made)


def test_its_probabilities_come_close_to_the_true_ones(made: TrainedModel) -> None:
    rows = SET.validation
    known = truth(rows["age"].to_numpy(), rows["channel"].to_numpy(), rows["day_of_week"].astype(int).to_numpy())
    hit = SET.validation_labels == "converted"
    share = made.model.probabilities(rows)[:, 0]
    assert roc_auc_score(hit, share) > roc_auc_score(hit, known) - 0.02
    assert np.abs(share - known).mean() < 0.05


def test_the_evaluation_has_the_auc_with_its_interval(made: TrainedModel, judged: Evaluation) -> None:
    measured = judged.intervals.set_index("measure").loc["auc"]
    hit = SET.validation_labels == "converted"
    assert measured["estimate"] == pytest.approx(roc_auc_score(hit, made.model.probabilities(SET.validation)[:, 0]))
    assert measured["low"] < measured["estimate"] < measured["high"] < measured["low"] + 0.2
    assert judged.best_baseline[0] in {"prior", "channel", "channel, day and daypart"}
    assert judged.log_loss(MODEL) < judged.best_baseline[1]
    assert "the newest fifth of the contacts" in judged.to_markdown()
    assert set(judged.groups["grouping"]) == {"channel", "campaign_kind", "contacts_before"}


def test_it_passes_the_gate_and_no_feature_predicts_the_outcome_alone(judged: Evaluation) -> None:
    strongest = strongest_features(SET)
    assert not any(feature.is_alarming for feature in strongest)
    assert decide(judged, strongest).is_promoted


@pytest.mark.parametrize("seed", range(3))
def test_the_auc_is_scikit_learns_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, hit = rng.integers(0, 9, 200) / 9, rng.random(200) < 0.3
    assert auc(scores, hit) == pytest.approx(roc_auc_score(hit, scores))
    assert np.isnan(auc(scores, np.ones(200, dtype=bool)))
