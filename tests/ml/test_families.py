"""Boosted trees beside a random forest: the better one is kept, and why is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ml.datasets.leakage import strongest_features
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.families import BOOSTED, FOREST, chosen_family, train_families
from ml.fitting.training import TrainedModel
from ml.judging.evaluation import MODEL, Evaluation, evaluate
from ml.judging.measures import auc
from ml.judging.promotion import decide
from ml.responses.training_set import build_response_training_set
from tests.ml.contacts import KNOWN_AT, drawn_inputs, truth
from tests.ml.published_frames import small_shop

SHOP = small_shop()
INPUTS = drawn_inputs(SHOP, customers=500, touches=6_000)
SET = build_response_training_set(INPUTS, SHOP, KNOWN_AT)


@pytest.fixture(scope="module")
def made() -> TrainedModel:
    return train_families(SET, seed=1, threads=2, settings=BoostingSettings(iterations=150))


@pytest.fixture(scope="module")
def judged(made: TrainedModel) -> Evaluation:
    return evaluate(SET, made.model, None, made.rivals)


def figures(boosted: tuple[float, float], forest: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame([(BOOSTED, *boosted), (FOREST, *forest)], columns=["family", "log_loss", "auc"])


def test_the_better_by_both_is_kept() -> None:
    assert chosen_family(figures((0.4, 0.7), (0.3, 0.8))) == (
        FOREST,
        "random forest has log loss 0.3000 and AUC 0.8000 on the tuning rows, CatBoost 0.4000 and 0.7000: random forest is "
        "better by both",
    )


def test_where_they_disagree_the_log_loss_decides_and_says_so() -> None:
    best, reason = chosen_family(figures((0.3, 0.7), (0.4, 0.8)))
    assert best == BOOSTED
    assert reason == (
        "CatBoost has log loss 0.3000 and AUC 0.7000 on the tuning rows, random forest 0.4000 and 0.8000: the two disagree, "
        "and the log loss decides"
    )


def test_both_are_trained_and_the_one_with_the_lower_log_loss_serves(made: TrainedModel) -> None:
    assert made.families is not None
    rows = made.families.set_index("family")
    best = str(rows["log_loss"].idxmin())
    assert made.settings["family"] == best
    assert rows.index[rows["chosen"]].tolist() == [best]
    assert set(made.rivals) == {BOOSTED, FOREST} - {best}
    assert (rows["auc"] > 0.6).all()


def test_the_one_that_serves_comes_close_to_the_truth(made: TrainedModel) -> None:
    rows = SET.validation
    known = truth(rows["age"].to_numpy(), rows["channel"].to_numpy(), rows["day_of_week"].astype(int).to_numpy())
    hit = SET.validation_labels == "converted"
    share = made.model.probabilities(rows)[:, 0]
    assert roc_auc_score(hit, share) > roc_auc_score(hit, known) - 0.02
    assert np.abs(share - known).mean() < 0.05


def test_the_evaluation_has_the_auc_with_its_interval_and_the_other_family_is_no_baseline(
    made: TrainedModel, judged: Evaluation
) -> None:
    measured = judged.intervals.set_index("measure").loc["auc"]
    hit = SET.validation_labels == "converted"
    assert measured["estimate"] == pytest.approx(roc_auc_score(hit, made.model.probabilities(SET.validation)[:, 0]))
    assert measured["low"] < measured["estimate"] < measured["high"] < measured["low"] + 0.2
    (rival,) = made.rivals
    assert rival in set(judged.scores["contender"])
    assert judged.best_baseline[0] in {"prior", "channel", "channel, day and daypart"}
    assert judged.log_loss(MODEL) < judged.best_baseline[1]
    assert "the newest fifth of the contacts" in judged.to_markdown()
    assert set(judged.groups["grouping"]) == {"channel", "campaign_kind", "contacts_before"}


def test_it_passes_the_gate_and_no_feature_tells_the_outcome(judged: Evaluation) -> None:
    strongest = strongest_features(SET)
    assert not any(one.is_alarming for one in strongest)
    assert decide(judged, strongest).is_promoted


@pytest.mark.parametrize("seed", range(3))
def test_the_auc_is_scikit_learns_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, hit = rng.integers(0, 9, 200) / 9, rng.random(200) < 0.3
    assert auc(scores, hit) == pytest.approx(roc_auc_score(hit, scores))
    assert np.isnan(auc(scores, np.ones(200, dtype=bool)))
