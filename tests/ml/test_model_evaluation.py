from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from trained_models import Trained

from customer360.features import Feature
from ml.datasets.leakage import StrongFeature
from ml.fitting.baselines import class_prior, group_frequencies, main_category
from ml.judging.evaluation import Evaluation, evaluate
from ml.judging.promotion import decide
from ml.measures import class_recall, confusion, lift, reliability, score

CATEGORIES = ("a", "b", "none")


def test_the_prior_is_the_add_one_share_of_the_training_labels() -> None:
    labels = np.array(["a", "a", "none", "none", "none"], dtype=object)
    assert class_prior(labels, CATEGORIES) == pytest.approx([3 / 8, 1 / 8, 4 / 8])


def test_a_group_is_smoothed_towards_the_prior_by_as_many_rows_as_categories() -> None:
    groups = pd.Series(["a", "a", "b"], dtype=object)
    labels = np.array(["a", "none", "b"], dtype=object)
    prior = np.array([0.5, 0.2, 0.3])
    found = group_frequencies(groups, labels, prior, CATEGORIES)
    # Group a: one a, one none, two rows; strength 3.
    assert found["a"] == pytest.approx([(1 + 1.5) / 5, 0.6 / 5, (1 + 0.9) / 5])
    assert found["b"] == pytest.approx([1.5 / 4, (1 + 0.6) / 4, 0.9 / 4])


def test_the_main_category_is_the_largest_spend_of_the_longest_window_with_ties_by_id() -> None:
    features = [
        Feature(f"spend_{category}_{days}d", "numeric", "", "spend", category, days) for category in "ba" for days in (3, 30)
    ] + [Feature("spend_30d", "numeric", "", "spend", None, 30)]
    rows = pd.DataFrame(
        {
            "spend_b_3d": [9.0, 0, 0, 0],
            "spend_b_30d": [9.0, 5, 0, np.nan],
            "spend_a_3d": [0.0, 0, 0, 0],
            "spend_a_30d": [10.0, 5, -2, np.nan],
            "spend_30d": [99.0, 99, 99, 99],
        }
    )
    assert main_category(rows, features).tolist() == ["a", "a", "none", "none"]


def test_the_measures_are_those_worked_out_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.6, 0.2, 0.2]])
    truth = np.array([0, 1, 2, 2])
    found = score(probabilities, truth)
    assert found["log_loss"] == pytest.approx(-(math.log(0.7) + math.log(0.3) + math.log(0.8) + math.log(0.2)) / 4)
    # 0.09 + 0.04 + 0.01, 0.25 + 0.49 + 0.04, 0.01 + 0.01 + 0.04, 0.36 + 0.04 + 0.64
    assert found["brier"] == pytest.approx((0.14 + 0.78 + 0.06 + 1.04) / 4)
    assert found["accuracy"] == 0.5
    # Predicted 0, 0, 2, 0. F1: class 0 2*1/(3+1), class 1 0, class 2 2*1/(1+2).
    assert found["macro_f1"] == pytest.approx((0.5 + 0 + 2 / 3) / 3)
    # Bins of a tenth: (.7, .5, .1, .6) of class 0 against (1, 0, 0, 0), and so on; |gap| of each bin over 4 rows, 3 classes.
    gaps = [0.3 + 0.5 + 0.1 + 0.6, abs(0.2 + 0.2 - 0) + abs(0.3 - 1) + 0.1, 0.1 + abs(0.2 + 0.2 - 1) + 0.2]
    assert found["calibration_error"] == pytest.approx(sum(gaps) / 12)
    # One row of four is taken: the first, who buys; half of the rows buy.
    assert found["lift_10"] == pytest.approx(2)
    predicted = probabilities.argmax(axis=1)
    assert class_recall(truth, predicted, 3) == pytest.approx([1, 0, 0.5])
    assert np.isnan(class_recall(truth[:1], predicted[:1], 3)[1])
    assert confusion(truth, predicted, CATEGORIES).to_numpy().tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1]]


def test_decisions_change_what_is_named_and_not_what_is_probable() -> None:
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7]])
    plain, decided = score(probabilities, np.array([1, 1])), score(probabilities, np.array([1, 1]), np.array([1, 1]))
    assert (plain["accuracy"], decided["accuracy"]) == (0.5, 1.0)
    assert plain["log_loss"] == decided["log_loss"]


def test_the_lift_counts_ties_at_the_border_by_their_mean() -> None:
    scores = np.array([0.9, *[0.5] * 9, *[0.1] * 10])
    is_hit = np.array([False, *[True] * 3, *[False] * 6, *[False] * 9, True])
    # Two of twenty are taken: the first, no hit, and one of nine of whom a third are hits; a fifth of all are.
    assert lift(scores, is_hit) == pytest.approx((0 + 3 / 9) / 2 / 0.2)
    assert math.isnan(lift(scores, np.zeros(20, dtype=bool)))


def test_reliability_compares_prediction_and_outcome_by_bin() -> None:
    found = reliability(np.array([[0.9, 0.1], [1.0, 0.0]]), np.array([0, 1]), bins=2)
    assert found["rows"].tolist() == [2, 2]
    assert found["predicted"].tolist() == pytest.approx([0.05, 0.95])
    assert found["observed"].tolist() == pytest.approx([0.5, 0.5])


def test_the_evaluation_reads_as_markdown(trained: Trained) -> None:
    text = trained.evaluation.to_markdown()
    assert "2,100 rows to train on, 700 to validate on" in text
    assert "| last category bought |" in text
    assert trained.evaluation.importance["importance"].sum() == pytest.approx(100)


def evaluation(model: float, baseline: float, champion: float | None, worst: float = -0.01, group: float = 0.5) -> Evaluation:
    losses = {"model": model, "prior": baseline, "last category bought": baseline + 1}
    if champion is not None:
        losses["champion"] = champion
    empty = pd.DataFrame()
    scores = pd.DataFrame({"contender": list(losses), "log_loss": list(losses.values())})
    differences = pd.DataFrame({"contender": ["champion"], "high": [worst]})
    groups = pd.DataFrame(
        {"grouping": "segment", "customers": ["Loyal", "Lost"], "rows": [400, 100], "log_loss": [group, 9.0]}
    ).assign(champion_log_loss=0.5)
    return Evaluation(scores, empty, differences, groups, empty, empty, empty, empty, rows_train=1, rows_validation=1_000)


@pytest.mark.parametrize(
    ("found", "is_promoted", "reason"),
    [
        (evaluation(0.9, 1.0, None), True, "beats the baseline 'prior' (1.0000); there was no champion"),
        (evaluation(0.9, 1.0, 0.95), True, "and the champion (0.9500) by at least 0.0100"),
        (evaluation(0.9, 1.0, 0.91, worst=0.002), False, "may be 0.0020 higher"),
        (evaluation(0.9, 1.0, 0.9, worst=0.0), False, "not better than the champion's 0.9000 beyond chance"),
        (evaluation(0.9, 1.0, 0.95, group=0.53), False, "segment Loyal has 0.5300 against 0.5000"),
        (evaluation(0.9, 1.0, 0.95, group=0.52), True, "and the champion"),
        (evaluation(1.0, 1.0, None), False, "does not beat the baseline 'prior'"),
        (evaluation(1.1, 1.0, 1.2), False, "does not beat the baseline 'prior'"),
        (evaluation(math.nan, 1.0, None), False, "does not beat the baseline"),
    ],
)
def test_a_model_is_promoted_when_it_beats_the_baselines_and_the_champion_beyond_chance_in_every_large_group(
    found: Evaluation, is_promoted: bool, reason: str
) -> None:
    decision = decide(found)
    assert decision.is_promoted is is_promoted
    assert reason in decision.reason


def test_a_model_with_target_leakage_is_never_promoted() -> None:
    leak, honest = StrongFeature("spend_after", "fitness", 0.999), StrongFeature("views_3d", "fitness", 0.9)
    found = evaluation(0.1, 1.0, None)
    assert decide(found, [honest]).is_promoted
    decision = decide(found, [honest, leak])
    assert not decision.is_promoted
    assert "spend_after predicts fitness with an AUC of 0.9990" in decision.reason


def test_the_champion_is_scored_on_the_same_rows(trained: Trained) -> None:
    model = trained.trained.model
    found = evaluate(trained.training_set, trained.trained, champion=model)
    assert found.champion_log_loss == pytest.approx(found.log_loss("model"))
    assert found.worst_difference("champion") == 0
    assert not decide(found).is_promoted


def test_intervals_hold_the_estimate_and_groups_hold_every_row(trained: Trained) -> None:
    found = trained.evaluation
    assert (found.intervals["low"] < found.intervals["high"]).all()
    of = found.intervals.set_index("measure").loc["log_loss"]
    assert of["low"] < found.log_loss("model") < of["high"]
    assert found.worst_difference("prior") < 0
    assert (found.groups.groupby("grouping")["rows"].sum() == found.rows_validation).all()
    assert found.confusion.to_numpy().sum() == found.rows_validation
