"""What serves, of trees, blend and simple rules, by the rows of several judged cut-offs; values worked out by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from published_frames import customer_frame, feature_frame, small_shop, training_frame
from trained_models import NOW, Trained

from customer360.features import feature_list
from customer360.settings import NONE
from ml.bootstrap import clustered_mean_interval, mean_interval
from ml.datasets.training_sets import build_training_set
from ml.fitting.baselines import OWN_SHARES, PRIOR, Baseline, fit_baselines, smoothed_shares
from ml.fitting.class_model import pooled
from ml.fitting.training import BLEND, MODEL, pool_weight, train, train_earlier
from ml.frames import feature_matrix
from ml.judging.evaluation import Choice, choose, evaluate
from ml.judging.promotion import decide
from ml.serving.reasons import reasons
from ml.serving.scoring import score
from ml.versions.manifest import serves_text
from ml.versions.model_store import LoadedModel, ModelStore

pytestmark = pytest.mark.full

SHOP = small_shop()
FEATURES = feature_list(SHOP)
CUSTOMERS = np.array([f"c{number}" for number in range(40)], dtype=object)


def judged(*cutoffs: dict[str, float]) -> list[Any]:
    """Cut-offs at which every customer has the same loss by each contender."""
    return [
        (
            SimpleNamespace(validation_customers=CUSTOMERS),
            {name: np.full(len(CUSTOMERS), loss) for name, loss in losses.items()},
        )
        for losses in cutoffs
    ]


def test_the_better_one_of_trees_and_blend_serves_where_it_beats_the_best_baseline() -> None:
    found = choose(judged(*[{MODEL: 0.5, BLEND: 0.4, PRIOR: 0.9, "rule": 0.6}] * 3))
    assert (found.serves, found.baseline, found.better, found.cutoffs) == (BLEND, "rule", 3, 3)
    assert found.difference.estimate == pytest.approx(-0.2)
    assert "the blend is better than the best baseline 'rule' over 3 judged cut-offs (-0.2000 log loss" in found.reason


def test_a_large_gain_at_a_single_cutoff_does_not_outvote_losses_at_two() -> None:
    lucky, unlucky = {MODEL: 0.1, "rule": 1.0}, {MODEL: 1.1, "rule": 1.0}
    found = choose(judged(unlucky, lucky, unlucky))
    assert found.difference.estimate == pytest.approx((0.1 - 0.9 + 0.1) / 3)
    assert found.difference.high < 0
    assert (found.better, found.serves) == (1, "rule")
    assert found.reason == "'rule' serves until a model beats it: the model is better at only 1 of 3 judged cut-offs"


def test_a_gain_within_chance_leaves_the_baseline_serving() -> None:
    rows = np.random.default_rng(1).normal(0, 1, len(CUSTOMERS))
    losses = {MODEL: 1.0 + rows, "rule": np.full(len(CUSTOMERS), 1.0 + rows.mean() + 0.01)}
    found = choose([(SimpleNamespace(validation_customers=CUSTOMERS), losses)])
    assert found.difference.estimate == pytest.approx(-0.01)
    assert found.serves == "rule"
    assert "not better beyond chance over 1 judged cut-off (-0.0100 log loss" in found.reason


def test_no_difference_is_no_gain() -> None:
    assert choose(judged({MODEL: 0.5, BLEND: 0.5, "rule": 0.5})).serves == "rule"
    assert not Choice(MODEL, "rule", SimpleNamespace(high=math.nan), 1, 1).is_learned  # type: ignore[arg-type]


def test_copies_of_a_customers_rows_leave_the_interval_as_wide_as_it_was() -> None:
    values = np.random.default_rng(2).normal(0, 1, 50)
    customers = np.array([f"c{number}" for number in range(50)], dtype=object)
    found = clustered_mean_interval(np.repeat(values, 3), np.repeat(customers, 3), seed=5)
    expected = mean_interval(values, seed=5)
    assert (found.estimate, found.low, found.high) == pytest.approx((expected.estimate, expected.low, expected.high))


def test_a_logarithmic_pool_multiplies_odds_by_their_weights() -> None:
    trees, rule = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
    # Odds 9 to the power .5 times 1 to the power .5: 3 to 1.
    assert pooled(trees, rule, 0.5) == pytest.approx(np.array([[0.75, 0.25]]))
    assert pooled(trees, rule, 0) == pytest.approx(trees)
    assert pooled(trees, rule, 1) == pytest.approx(rule)


def test_the_weight_is_the_one_that_fits_the_choice_rows_best() -> None:
    truth = np.array([0] * 7 + [1] * 3)
    trees, rule = np.tile([0.9, 0.1], (10, 1)), np.tile([0.5, 0.5], (10, 1))
    # Seven of ten are of the first class: odds 7/3 = 9 ** (1 - weight).
    assert pool_weight(trees, rule, truth) == pytest.approx(1 - math.log(7 / 3) / math.log(9), abs=1e-4)
    assert pool_weight(trees, rule, np.zeros(10, dtype=np.int64)) < 1e-3
    assert pool_weight(trees, rule, np.array([0, 1] * 5)) > 1 - 1e-3


def test_own_shares_are_smoothed_towards_those_of_all_buyers() -> None:
    among = np.array([0.5, 0.3, 0.2])
    found = smoothed_shares(np.array([[3.0, 0, 1], [0, 0, 0]]), among, 4.0)
    assert found == pytest.approx(np.array([[5 / 8, 1.2 / 8, 1.8 / 8], among]))


def test_own_category_shares_are_purchase_probability_times_shares() -> None:
    rule = Baseline(
        target="affinity",
        name=OWN_SHARES,
        classes=("computers", "fitness", "beauty", "other", NONE),
        unseen=(0.4, 0.6),
        groups={"from 0, 2 to 4 orders": (0.8, 0.2)},
        among=(0.25, 0.25, 0.25, 0.25),
        strength=4.0,
    )
    frame = feature_frame(SHOP, 2, seed=1).assign(recency_days=[1.0, np.nan], frequency=[3, 0])
    lines = {"computers": [3, 0], "fitness": [1, 0], "beauty": [0, 0], "other": [0, 0]}
    matrix = feature_matrix(frame.assign(**{f"lifetime_lines_{name}": values for name, values in lines.items()}), FEATURES, "x")
    found = rule.probabilities(matrix, FEATURES)
    assert found[0] == pytest.approx([0.8 * 4 / 8, 0.8 * 2 / 8, 0.8 / 8, 0.8 / 8, 0.2])
    assert found[1] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.6])  # of a group that training has not seen, without a line
    pushes = rule.pushes(matrix, FEATURES, np.array([0, 0]))
    assert pushes["lifetime_lines_computers"] == pytest.approx([math.log(0.5 / 0.25), 0])
    assert pushes["recency_days"] == pytest.approx([math.log(0.8 / 0.4), 0])


def test_a_fitted_baseline_is_the_same_after_a_manifest_has_kept_it(trained: Trained) -> None:
    rows, features = trained.training_set.validation, trained.training_set.features
    for name, rule in fit_baselines(trained.training_set).items():
        kept = Baseline.model_validate_json(rule.model_dump_json())
        found = rule.probabilities(rows, features)
        assert found.sum(axis=1) == pytest.approx(1), name
        assert (kept.probabilities(rows, features) == found).all(), name


def test_each_judged_cutoff_has_a_model_of_the_rows_that_were_known_before_it() -> None:
    frame = training_frame(SHOP, customers=300, cutoffs=5)
    training_set = build_training_set(frame, SHOP)
    cutoffs = sorted(frame["as_of"].unique())
    assert [made.validation_cutoff for made in training_set.earlier] == [cutoffs[3], cutoffs[2]]
    assert [len(made.train_cutoffs) for made in (training_set, *training_set.earlier)] == [4, 3, 2]
    for made in training_set.earlier:  # labels of 7 days after the last training cut-off are complete
        assert max(made.train_cutoffs) + pd.Timedelta(days=7) <= made.validation_cutoff
    shared = train_earlier(training_set, train(training_set, seed=1, threads=1), seed=1, threads=1)
    for made, trained in shared:
        alone = train(made, seed=1, threads=1)
        assert (trained.model.probabilities(made.validation) == alone.model.probabilities(made.validation)).all()
        assert trained.blend is not None and alone.blend is not None
        assert trained.blend.baseline_weight == alone.blend.baseline_weight


def test_after_a_dated_change_only_the_newest_cutoff_judges() -> None:
    frame = training_frame(SHOP, customers=300, cutoffs=5)
    frame.loc[frame["cutoff_no"] > 3, "weight"] = 0.05
    assert build_training_set(frame, SHOP).earlier == ()


def labelled(frame: pd.DataFrame, flipped: set[int]) -> pd.DataFrame:
    """Who is head of a household buys fitness, everybody else nothing; at flipped cut-offs the other way round."""
    is_head = frame["is_head_of_household"].astype(bool) ^ frame["cutoff_no"].isin(flipped)
    return frame.assign(label=np.where(is_head, "fitness", NONE))


def test_a_past_that_flips_promotes_no_model_though_the_newest_cutoff_speaks_for_it() -> None:
    frame = labelled(training_frame(SHOP, customers=400, cutoffs=6), flipped={3})
    training_set = build_training_set(frame, SHOP)
    made = train(training_set, seed=1, threads=1)
    found = evaluate(training_set, made, None, train_earlier(training_set, made, seed=1, threads=1))
    assert found.log_loss(MODEL) < 0.1 < found.best_baseline[1]  # by the newest cut-off alone it would serve
    assert found.choice is not None
    assert (found.choice.better, found.choice.cutoffs) == (1, 3)
    assert not found.choice.is_learned
    assert found.serves not in {MODEL, BLEND}
    steady = build_training_set(labelled(training_frame(SHOP, customers=400, cutoffs=6), flipped=set()), SHOP)
    made = train(steady, seed=1, threads=1)
    assert evaluate(steady, made, None, train_earlier(steady, made, seed=1, threads=1)).serves in {MODEL, BLEND}


def by_habit(customers: int, cutoffs: int) -> pd.DataFrame:
    """Labels that follow the habit of a lifetime and nothing else: no feature but it says anything."""
    frame, rng = training_frame(SHOP, customers, cutoffs), np.random.default_rng(4)
    names = SHOP.category_ids
    shares = rng.dirichlet(np.full(len(names), 0.3), customers)
    for _, rows in frame.groupby("cutoff_no"):
        lines = np.stack([rng.multinomial(12, share) for share in shares])
        for place, name in enumerate(names):
            frame.loc[rows.index, f"lifetime_lines_{name}"] = lines[:, place]
            frame.loc[rows.index, f"lifetime_share_{name}"] = lines[:, place] / 12
        picked = (shares.cumsum(axis=1) > rng.random(customers)[:, None]).argmax(axis=1)
        bought = np.array(names, dtype=object)[picked]
        frame.loc[rows.index, "label"] = np.where(rng.random(customers) < 0.4, bought, NONE)
    return frame


@pytest.fixture(scope="module")
def habit(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A shop in which the own shares serve: promoted, saved and loaded as its champion."""
    training_set = build_training_set(by_habit(300, 4), SHOP)
    made = train(training_set, seed=1, threads=2)
    found = evaluate(training_set, made, None, train_earlier(training_set, made, seed=1, threads=2))
    decision = decide(found)
    assert (found.serves, decision.is_promoted) == (OWN_SHARES, True)
    assert "'own category shares' serves until a model beats it" in decision.reason
    store = ModelStore(tmp_path_factory.mktemp("habit"))
    store.save("affinity", "v1", trained=made, training_set=training_set, evaluation=found, created_at=NOW)
    store.record("affinity", "v1", decision, NOW)
    return store.load("affinity", str(store.champion_version("affinity")), training_set.features, training_set.categories)


def test_a_baseline_that_serves_scores_as_the_rule_it_is(habit: LoadedModel) -> None:
    assert (habit.manifest.serves, habit.model.baseline_weight) == (OWN_SHARES, 1)
    features = customer_frame(SHOP, 40)
    found = score(features, habit).to_pandas().pivot(index="customer_id", columns="category_id", values="probability")
    assert habit.model.baseline is not None
    matrix = feature_matrix(features, habit.model.features, "x")
    by_rule = habit.model.baseline.probabilities(matrix, habit.model.features)
    # 40% bought at every cut-off, so the correction by the newest is small
    assert habit.manifest.odds_factor == pytest.approx(1, abs=0.3)
    bought = by_rule * [1 if category == NONE else habit.manifest.odds_factor for category in habit.model.categories]
    expected = pd.DataFrame(bought / bought.sum(axis=1, keepdims=True), columns=habit.model.categories)
    assert found[list(habit.model.categories)].to_numpy() == pytest.approx(expected.to_numpy())


def test_the_reasons_of_a_baseline_are_what_it_is_made_of(habit: LoadedModel) -> None:
    features = customer_frame(SHOP, 200)
    found = reasons(features, habit, SHOP, {"fitness": "Fitness"})
    given = pd.concat([found[f"reason_{number}"] for number in (1, 2, 3)]).dropna()
    assert given.str.contains("bought|last order|no order yet").all()
    is_top = (found["category_id"] == "fitness") & (features["lifetime_lines_fitness"].to_numpy() > 1)
    assert found.loc[is_top, ["reason_1", "reason_2"]].stack().str.contains(r"bought Fitness \d+ times so far").any()
    assert set(habit.manifest.top_features(3)) <= habit.model.baseline.features_read(habit.model.features)  # type: ignore[union-attr]


def test_what_serves_expects_as_many_buyers_as_the_newest_cutoff_had(store: ModelStore) -> None:
    frame = by_habit(600, 4)
    is_newest = frame["cutoff_no"] == frame["cutoff_no"].min()
    fell = is_newest & (np.random.default_rng(9).random(len(frame)) < 0.5)  # half of the buyers stay away in the newest weeks
    training_set = build_training_set(frame.assign(label=frame["label"].where(~fell, NONE)), SHOP)
    made = train(training_set, seed=1, threads=2)
    found = evaluate(training_set, made, None, train_earlier(training_set, made, seed=1, threads=2))
    manifest = store.save("affinity", "v9", trained=made, training_set=training_set, evaluation=found, created_at=NOW)
    none = list(training_set.categories).index(NONE)
    as_learned = 1 - made.contenders[found.serves].probabilities(training_set.validation)[:, none]
    served = store.load("affinity", "v9", training_set.features, training_set.categories).model
    real = float((training_set.validation_labels != NONE).mean())
    assert as_learned.mean() > real + 0.1
    assert 1 - served.probabilities(training_set.validation)[:, none].mean() == pytest.approx(real, abs=1e-6)
    assert f"Odds times {manifest.odds_factor:.3f}" in serves_text(manifest)


def test_a_version_of_before_serves_its_trees(store: ModelStore, trained: Trained) -> None:
    manifest = store.root / "affinity" / "v1" / "manifest.json"
    content = json.loads(manifest.read_text())
    for name in ("serves", "baseline", "baseline_weight", "served_because", "judged_cutoffs", "negatives", "odds_factor"):
        del content[name]
    manifest.write_text(json.dumps(content))
    loaded = store.load("affinity", "v1", trained.training_set.features, trained.training_set.categories)
    rows = trained.training_set.validation
    assert loaded.manifest.serves == MODEL
    assert (loaded.model.probabilities(rows) == trained.trained.model.probabilities(rows)).all()
