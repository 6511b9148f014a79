"""Three targets through one machinery: which rows each learns from, by which horizon, and what it has to beat."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published_frames import LAST_CUTOFF, small_shop, training_frame
from trained_models import Trained

from customer360.features import Feature
from customer360.settings import Shop
from ml.datasets.bands import BAND_NAMES, Bands, quantile_bands, rebanded, steadied
from ml.datasets.leakage import strongest_features
from ml.datasets.segments import last_seen
from ml.datasets.targets import target_of
from ml.datasets.training_sets import TrainingSet, TrainingSetError, build_training_set, training_outlook
from ml.fitting.baselines import own_order_band, recency_band
from ml.fitting.training import MODEL, train
from ml.judging.evaluation import evaluate
from ml.judging.promotion import decide
from ml.versions.model_card import model_card
from ml.versions.model_store import ModelRefused, ModelStore

SHOP = small_shop(churn_horizon_days=14)


def week(number: int) -> datetime:
    """The cut-off of that number; 1 is the latest."""
    return LAST_CUTOFF - timedelta(weeks=number - 1)


def test_spend_learns_from_those_who_bought_and_is_judged_on_the_same_cutoffs_as_affinity() -> None:
    frame = training_frame(SHOP, customers=700, cutoffs=3)
    built = build_training_set(frame, SHOP, target_of("spend", SHOP))
    bought = frame["spend"] > 0
    assert len(built.train) == int((bought & (frame["cutoff_no"] > 1)).sum())
    assert len(built.validation) == len(built.validation_groups) == int((bought & (frame["cutoff_no"] == 1)).sum())
    assert (built.train_cutoffs, built.validation_cutoff) == ((week(3), week(2)), week(1))
    assert built.categories == BAND_NAMES
    # Eight bands that hold about as many training rows each.
    shares = pd.Series(built.train_labels).value_counts(normalize=True)
    assert shares.min() > 0.1
    assert shares.max() < 0.15


def test_the_groups_of_those_who_bought_are_those_that_they_have_among_everyone() -> None:
    frame = training_frame(SHOP, customers=700, cutoffs=2)
    everyone = build_training_set(frame, SHOP).validation_groups
    last = frame[frame["cutoff_no"] == 1].sort_values("customer_id", ignore_index=True)
    built = build_training_set(frame, SHOP, target_of("spend", SHOP))
    pd.testing.assert_frame_equal(built.validation_groups, everyone[last["spend"] > 0].reset_index(drop=True))


def test_churn_is_learned_and_judged_at_cutoffs_whose_window_has_passed_and_purged_by_its_own_horizon() -> None:
    built = build_training_set(training_frame(SHOP, customers=300, cutoffs=6), SHOP, target_of("churn", SHOP))
    # Of the latest cut-off churn is not known; the third lies 7 days before the one that judges, so its 14 days reach past it.
    assert built.validation_cutoff == week(2)
    assert built.train_cutoffs == (week(6), week(5), week(4))
    assert built.categories == ("churned", "active")
    (split,) = built.tuning  # the fourth tells after the sixth, not after the fifth
    assert (int(split.fitted.sum()), int(split.tuned.sum())) == (300, 300)
    assert split.fitted.tolist() == [True] * 300 + [False] * 600


def test_the_class_of_each_row_is_whether_that_customer_came_back() -> None:
    frame = training_frame(SHOP, customers=300, cutoffs=4)
    built = build_training_set(frame, SHOP, target_of("churn", SHOP))
    judged = frame[frame["cutoff_no"] == 2].sort_values("customer_id")
    assert (built.validation_labels == "churned").tolist() == judged["is_churned"].tolist()


def test_customers_without_a_single_event_or_order_train_and_judge_too() -> None:
    """They are scored, so that they are learned from; the evaluation shows them apart."""
    frame = training_frame(SHOP, customers=300, cutoffs=4)
    counts = [
        f.name for f in build_training_set(frame, SHOP).features if f.window_days or f.measure in ("frequency", "monetary")
    ]
    is_new = frame["customer_id"].isin(["c000000", "c000001"])
    frame[counts] = frame[counts].astype(float)
    frame.loc[is_new, counts] = 0.0
    frame.loc[is_new, ["recency_days", "days_since_last_activity"]] = np.nan
    frame.loc[is_new, "last_category_id"] = "none"
    for name in ("affinity", "churn"):
        built = build_training_set(frame, SHOP, target_of(name, SHOP))
        assert built.train["recency_days"].isna().any()
        assert (built.train[counts].sum(axis=1) == 0).sum() >= 2 * len(built.train_cutoffs)
        assert (built.validation_groups["last_seen"] == "no event or order yet").sum() == 2
        assert len(built.validation) == 300


def test_the_last_sign_of_life_is_the_later_of_event_and_order() -> None:
    rows = pd.DataFrame(
        {
            "days_since_last_activity": [2, 3, 40, np.nan, 29, np.nan],
            "recency_days": [50, np.nan, 30, 2, np.nan, np.nan],
        }
    )
    assert last_seen(rows, SHOP).tolist() == [
        "in the last 3 days",
        "in the last 30 days",
        "30 days ago or more",
        "in the last 3 days",
        "in the last 30 days",
        "no event or order yet",
    ]


def test_too_little_history_says_what_is_missing_and_from_when_there_is_enough() -> None:
    target, first = target_of("churn", SHOP), datetime(2026, 3, 1)  # noqa: DTZ001 (published times are plain UTC)
    for cutoffs, reason in ((1, "no cut-off of which 14 days"), (3, "two cut-offs that are 14 days")):
        frame = training_frame(SHOP, customers=300, cutoffs=cutoffs)
        with pytest.raises(TrainingSetError, match=reason):
            build_training_set(frame, SHOP, target)
        outlook = training_outlook(frame, SHOP, target, first)
        assert outlook["cutoffs"].startswith(
            f"{cutoffs}, of which {max(cutoffs - 1, 0)} are 14 days and 2 more ago; 4 are needed"
        )
        # 14 days of history, then four cut-offs a week apart, the label's 7 days and 2 more.
        assert outlook["enough_history_from"] == f"{first + timedelta(days=14 + 21 + 7 + 2):%Y-%m-%d %H:%M} UTC"
        assert "to_do" not in outlook
    build_training_set(training_frame(SHOP, customers=300, cutoffs=4), SHOP, target)


def test_a_shop_that_asks_for_too_few_cutoffs_is_told_how_many_it_needs(shop: Shop) -> None:
    """28 days: of three weeks' cut-offs churn is unknown, one judges, and one four weeks before it is learned from."""
    shop = shop.model_copy(update={"training": shop.training.model_copy(update={"cutoffs": 6})})
    target, frame = target_of("churn", shop), training_frame(shop, customers=300, cutoffs=6)
    with pytest.raises(TrainingSetError):
        build_training_set(frame, shop, target)
    assert training_outlook(frame, shop, target, None)["to_do"] == "raise training.cutoffs in shop.yaml from 6 to 8"
    build_training_set(training_frame(shop, customers=300, cutoffs=8), shop, target)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spend": 0.0}, "0 rows to train on|two cut-offs"),
        ({"spend": 5.0}, "every training label is 'band 8'"),
    ],
)
def test_without_buyers_or_with_one_amount_there_is_nothing_to_learn_of_spend(change: dict[str, float], reason: str) -> None:
    frame = training_frame(SHOP, customers=300, cutoffs=3).assign(**change)
    with pytest.raises(TrainingSetError, match=reason):
        build_training_set(frame, SHOP, target_of("spend", SHOP))


def test_one_class_of_churn_is_nothing_to_tell_apart() -> None:
    frame = training_frame(SHOP, customers=300, cutoffs=4)
    frame.loc[frame["is_churned"].notna(), "is_churned"] = True
    with pytest.raises(TrainingSetError, match="every training label is 'churned'"):
        build_training_set(frame, SHOP, target_of("churn", SHOP))


@pytest.mark.parametrize(("name", "beside"), [("spend", "own mean order"), ("churn", "days since the last order")])
def test_each_model_beats_its_baselines_and_no_feature_tells_its_label(
    every_trained: dict[str, Trained], name: str, beside: str
) -> None:
    made = every_trained[name]
    scores = made.evaluation.scores.set_index("contender")["log_loss"]
    assert set(scores.index) >= {MODEL, "blend", "prior", beside}
    assert scores[MODEL] == scores.drop("blend").min()
    assert decide(made.evaluation, strongest_features(made.training_set)).is_promoted


def test_a_spend_model_expects_about_as_much_as_comes_and_its_card_says_the_bands(
    every_trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = every_trained["spend"]
    scores = made.evaluation.scores.set_index("contender")
    assert scores.loc[MODEL, "total_ratio"] == pytest.approx(1, abs=0.1)
    assert scores.loc[MODEL, "absolute_error"] < scores.loc["prior", "absolute_error"]
    store = ModelStore(tmp_path_factory.mktemp("spend"))
    made.save(store, "v1")
    manifest = store.manifest("spend", "v1")
    assert manifest.bands == made.training_set.amounts.bands
    card = model_card(manifest, made.evaluation, decide(made.evaluation), made.training_set.target.purpose)
    assert "| band 8 |" in card
    assert f"{manifest.bands.means[-1]:.4g}" in card


def test_a_file_of_one_target_is_refused_where_another_is_expected(every_trained: dict[str, Trained], tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for name in ("spend", "churn"):
        every_trained[name].save(store, "v1")
    spend, features = every_trained["spend"].training_set, every_trained["spend"].training_set.features
    folder = store.root / "spend" / "v1"
    own = (folder / "manifest.json").read_text()
    for file in ("model.cbm", "manifest.json"):
        (folder / file).write_bytes((store.root / "churn" / "v1" / file).read_bytes())
    with pytest.raises(ModelRefused, match=r"spend/v1/model.cbm lies beside the manifest of churn v1"):
        store.load("spend", "v1", features, spend.categories)
    # A manifest that says spend does not help: the file's own classes are churn's.
    (folder / "manifest.json").write_text(own)
    with pytest.raises(ModelRefused, match="was damaged or exchanged"):
        store.load("spend", "v1", features, spend.categories)
    digest = store.manifest("churn", "v1").model_sha256
    (folder / "manifest.json").write_text(own.replace(store.manifest("spend", "v1").model_sha256, digest))
    with pytest.raises(ModelRefused, match=r"predicts \['active', 'churned'\], which are not the classes of spend"):
        store.load("spend", "v1", features, spend.categories)


@pytest.mark.parametrize(
    ("bands", "reason"),
    [
        (None, "its manifest does not say which"),
        ({"edges": [1.0], "means": [0.5, 2.0]}, "its manifest does not say which"),
        ({"edges": [1.0, 2.0], "means": [0.5, 2.0]}, "is not a manifest"),
        ({"edges": [2.0, 1.0], "means": [0.5, 2.0, 3.0]}, "is not a manifest"),
    ],
)
def test_a_spend_model_without_its_bands_is_refused(
    every_trained: dict[str, Trained], tmp_path: Path, bands: object, reason: str
) -> None:
    store, training_set = ModelStore(tmp_path), every_trained["spend"].training_set
    every_trained["spend"].save(store, "v1")
    manifest = store.root / "spend" / "v1" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "bands": bands}))
    with pytest.raises(ModelRefused, match=reason):
        store.load("spend", "v1", training_set.features, training_set.categories)


def test_a_champion_with_bands_of_its_own_is_judged_in_those_of_the_training_set(every_trained: dict[str, Trained]) -> None:
    made = every_trained["spend"]
    training_set = made.training_set
    same = evaluate(training_set, made.trained, champion=made.trained.model)
    assert same.champion_log_loss == pytest.approx(same.log_loss(MODEL))
    half = np.arange(len(training_set.train)) % 2 == 0
    bands = quantile_bands(training_set.amounts.train[half] * 1.1)
    older = with_bands(training_set, bands)
    champion = train(older, seed=3, threads=2).model
    found = evaluate(training_set, made.trained, champion=champion)
    assert champion.bands == bands != training_set.amounts.bands
    # As good as the model but for the width of its bands, and far better than the prior.
    assert found.log_loss(MODEL) - 0.1 < found.champion_log_loss < found.log_loss("prior")


def with_bands(training_set: TrainingSet, bands: Bands) -> TrainingSet:
    amounts = replace(training_set.amounts, bands=bands)
    return replace(training_set, amounts=amounts, train_labels=bands.labels(amounts.train))


def test_bands_are_quantiles_with_their_means_and_an_edge_belongs_above() -> None:
    found = quantile_bands(np.arange(1.0, 17.0))
    # np.quantile of 1..16 at k/8 is 1 + 15 k / 8.
    assert found.edges == pytest.approx([2.875, 4.75, 6.625, 8.5, 10.375, 12.25, 14.125])
    assert found.means == pytest.approx([1.5, 3.5, 5.5, 7.5, 9.5, 11.5, 13.5, 15.5])
    assert found.labels(np.array([0.5, 2.875, 100.0])).tolist() == ["band 1", "band 2", "band 8"]
    assert found.expected(np.array([[0.5, 0.5, 0, 0, 0, 0, 0, 0]])) == pytest.approx([2.5])


def test_equal_amounts_leave_bands_empty_and_their_mean_is_the_edge() -> None:
    found = quantile_bands(np.array([10.0] * 6 + [20.0, 30.0]))
    assert np.isfinite(found.means).all()
    assert found.positions(np.array([9.0, 10.0])).tolist() == [0, 5]
    assert found.means[0] == 10.0


def test_the_highest_mean_is_shrunk_by_how_few_customers_decide_it() -> None:
    """Sixteen amounts of 16 customers, 1,600 of a wholesale buyer: worked out by the formulas."""
    amounts = np.array([*np.arange(1.0, 16.0), 1600.0])
    bands = quantile_bands(amounts)
    found = steadied(bands, amounts, np.array([f"C{row}" for row in range(16)], dtype=object))
    mean = (120 + 1600) / 16
    error = (((amounts - mean) ** 2).sum() ** 0.5) / 1720
    weight = error**2 / (error**2 + 0.04)
    lognormal = np.exp(np.log(amounts).mean() + np.log(amounts).var() / 2)
    shrunk = np.exp((1 - weight) * np.log(mean) + weight * np.log(lognormal))
    assert (found.edges, found.means[:-1]) == (bands.edges, bands.means[:-1])
    assert found.means[-1] == pytest.approx((15 + 1600) / 2 - (mean - shrunk) * 8)
    assert found.expected(np.full((1, 8), 1 / 8)) == pytest.approx([shrunk])


def test_what_many_customers_spent_is_left_as_it_is_and_one_customers_rows_count_once() -> None:
    amounts = np.random.default_rng(0).gamma(2.0, 30.0, 8000)
    bands = quantile_bands(amounts)
    by_many = steadied(bands, amounts, np.arange(8000).astype(str).astype(object))
    assert by_many.means[-1] == pytest.approx(bands.means[-1], rel=0.002)
    # four rows of each customer, all alike: the error is twice as large, so the weight of the log-normal mean four times
    repeated = np.repeat(amounts[:2000], 4)
    bands = quantile_bands(repeated)
    shift_of_rows, shift_of_customers = (
        steadied(bands, repeated, owners.astype(str).astype(object)).means[-1] - bands.means[-1]
        for owners in (np.arange(8000), np.repeat(np.arange(2000), 4))
    )
    assert shift_of_customers == pytest.approx(4 * shift_of_rows, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_a_shop_with_few_wholesale_buyers_promises_no_multiple_of_what_comes(seed: int) -> None:
    """Of 300 buyers one in 100 buys wholesale. The largest of 200 promises is far lower, and the error is no larger."""
    random = np.random.default_rng(seed)

    def drawn(count: int) -> np.ndarray:
        return random.lognormal(4.0, 0.9, count) * np.where(random.random(count) < 0.01, 60.0, 1.0)

    truth = float(drawn(1_000_000).mean())
    errors = []
    for _ in range(200):
        amounts = drawn(300)
        bands = quantile_bands(amounts)
        even = np.full((1, 8), 1 / 8)
        steady = steadied(bands, amounts, np.arange(300).astype(str).astype(object)).expected(even)[0]
        errors.append([np.log(bands.expected(even)[0] / truth), np.log(steady / truth)])
    own, shrunk = np.sqrt((np.array(errors) ** 2).mean(axis=0))
    assert shrunk < 1.03 * own
    assert np.max(errors, axis=0)[1] < 0.75 * np.max(errors, axis=0)[0]


def test_a_highest_mean_is_never_below_its_edge() -> None:
    amounts = np.array([1.0] * 14 + [2.0, 1e6])
    bands = quantile_bands(amounts)
    found = steadied(bands, amounts, np.arange(16).astype(str).astype(object))
    assert bands.edges[-1] <= found.means[-1] < bands.means[-1]
    assert steadied(quantile_bands(np.full(20, 5.0)), np.full(20, 5.0), np.arange(20).astype(str)).means[-1] == 5.0


def test_probabilities_move_by_where_the_amounts_of_a_band_lie() -> None:
    old, new = Bands(edges=(10.0,), means=(5.0, 15.0)), Bands(edges=(12.0,), means=(6.0, 16.0))
    amounts = np.array([1.0, 2.0, 11.0, 13.0, 14.0, 15.0])
    # Of the upper old band one amount of four lies in the lower new one.
    assert rebanded(np.array([[0.6, 0.4]]), old, new, amounts) == pytest.approx(np.array([[0.6 + 0.1, 0.3]]))
    # Nobody gets less than 1 / (6 amounts + 2 bands) before the row is made to sum to 1.
    assert rebanded(np.array([[1.0, 0.0]]), old, new, amounts) == pytest.approx(np.array([[1, 0.125]]) / 1.125)
    assert rebanded(np.array([[0.6, 0.4]]), old, old, amounts).tolist() == [[0.6, 0.4]]


def test_own_orders_and_recency_group_customers_as_worked_out_by_hand() -> None:
    features = [
        Feature(f"{measure}_{days}d", "numeric", "", measure, None, days) for measure in ("orders", "spend") for days in (3, 30)
    ]
    rows = pd.DataFrame(
        {"orders_3d": [9, 9, 9, 9], "orders_30d": [2, 0, 1, np.nan], "spend_3d": [1, 1, 1, 1], "spend_30d": [30, 0, -5, np.nan]}
    )
    bands = Bands(edges=(5.0, 15.0), means=(1.0, 10.0, 20.0))
    assert own_order_band(rows, features, bands).tolist() == ["band 3", "no order", "band 1", "no order"]
    days = pd.Series([0.0, 3, 4, 7, 8, 366, np.nan])
    assert recency_band(days).tolist() == ["from 0", "from 0", "from 4", "from 4", "from 8", "from 366", "never"]


def test_the_fingerprint_of_spend_follows_the_amounts_also_inside_a_band() -> None:
    frame = training_frame(SHOP, customers=700, cutoffs=2)
    target = target_of("spend", SHOP)
    first = build_training_set(frame, SHOP, target)
    changed = frame.copy()
    largest = changed.loc[changed["cutoff_no"] == 2, "spend"].idxmax()
    changed.loc[largest, "spend"] += 1
    again = build_training_set(changed, SHOP, target)
    assert again.train_labels.tolist() == first.train_labels.tolist()
    assert again.fingerprint != first.fingerprint
    assert first.fingerprint != build_training_set(frame, SHOP).fingerprint
