from __future__ import annotations

from datetime import timedelta

import duckdb
import numpy as np
import pytest
from published_frames import LAST_CUTOFF, small_shop, training_frame

from customer360.settings import Shop
from ml.datasets.training_sets import TrainingSetError, build_training_set, customers_at_cutoffs
from ml.frames import MISSING, FrameError


def test_of_each_cutoff_it_is_known_how_many_of_todays_customers_were_not_known_yet() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table customer_features as select unnest(['a', 'b', 'c', 'd']) as customer_id;
            create table training_features as select * from (values
                (timestamp '2026-05-08', 'a'), ('2026-05-08', 'b'), ('2026-05-08', 'c'),
                ('2026-05-01', 'a'), ('2026-05-01', 'gone')
            ) as rows (as_of, customer_id)
            """
        )
        found = customers_at_cutoffs(connection)
    assert found["as_of"].dt.day.tolist() == [1, 8]
    assert found["customers"].tolist() == [1, 3]
    assert found["not_yet_known"].tolist() == [3, 1]


def test_the_last_cutoff_validates_and_the_ones_before_it_train(shop: Shop) -> None:
    built = build_training_set(training_frame(shop, customers=300, cutoffs=3), shop)
    assert built.validation_cutoff == LAST_CUTOFF
    assert built.train_cutoffs == (LAST_CUTOFF - timedelta(days=14), LAST_CUTOFF - timedelta(days=7))
    assert (len(built.train), len(built.validation)) == (600, 300)
    assert built.categories == ("computers", "fitness", "beauty", "other", "none")


def test_a_cutoff_whose_label_window_reaches_into_the_validation_is_left_out() -> None:
    shop = small_shop(label_horizon_days=10)
    built = build_training_set(training_frame(shop, customers=300, cutoffs=4), shop)
    # Cut-offs lie 7, 14 and 21 days before the last; the first one's window of 10 days ends after it.
    assert built.train_cutoffs == (LAST_CUTOFF - timedelta(days=21), LAST_CUTOFF - timedelta(days=14))


def test_choices_are_made_on_the_newest_training_cutoff_after_those_whose_labels_were_known(shop: Shop) -> None:
    built = build_training_set(training_frame(shop, customers=300, cutoffs=4), shop)
    (split,) = built.tuning
    # 900 rows, oldest cut-off first: the last 300 are tuned on, the 600 before them fitted.
    assert split.fitted.tolist() == [True] * 600 + [False] * 300
    assert split.tuned.tolist() == [False] * 600 + [True] * 300


def test_with_one_training_cutoff_each_customer_is_tuned_on_once(shop: Shop) -> None:
    built = build_training_set(training_frame(shop, customers=300, cutoffs=2), shop)
    assert len(built.tuning) == 5
    assert np.sum([split.tuned for split in built.tuning], axis=0).tolist() == [1] * 300
    assert all(not (split.fitted & split.tuned).any() and split.tuned.sum() > 30 for split in built.tuning)


def test_without_a_cutoff_a_horizon_apart_the_error_says_what_to_change() -> None:
    shop = small_shop(label_horizon_days=30, churn_horizon_days=60)
    with pytest.raises(TrainingSetError, match=r"30 days .* raise training\.cutoffs"):
        build_training_set(training_frame(shop, customers=300, cutoffs=4), shop)


def test_missing_and_extra_columns_are_named(shop: Shop) -> None:
    frame = training_frame(shop, customers=100, cutoffs=2)
    with pytest.raises(FrameError, match="training_features lacks views_beauty_3d"):
        build_training_set(frame.drop(columns="views_beauty_3d"), shop)
    with pytest.raises(FrameError, match=r"has views_garden_3d, which shop\.yaml does not name"):
        build_training_set(frame.assign(views_garden_3d=1), shop)


def test_too_few_rows_are_refused(shop: Shop) -> None:
    with pytest.raises(TrainingSetError, match="60 rows to train on and 60 to validate"):
        build_training_set(training_frame(shop, customers=60, cutoffs=2), shop)
    with pytest.raises(TrainingSetError, match="no cutoff_no 1"):
        build_training_set(training_frame(shop, customers=60, cutoffs=2).query("cutoff_no == 2"), shop)


def test_unknown_and_single_labels_are_refused(shop: Shop) -> None:
    frame = training_frame(shop, customers=300, cutoffs=2)
    with pytest.raises(TrainingSetError, match="garden"):
        build_training_set(frame.assign(label=frame["label"].replace("beauty", "garden")), shop)
    with pytest.raises(TrainingSetError, match="every training label is 'none'"):
        build_training_set(frame.assign(label="none"), shop)


def test_text_in_a_numeric_feature_names_table_and_column(shop: Shop) -> None:
    frame = training_frame(shop, customers=300, cutoffs=2)
    with pytest.raises(FrameError, match=r"training_features\.recency_days"):
        build_training_set(frame.assign(recency_days="yesterday"), shop)


def test_a_missing_category_becomes_a_named_value_and_a_missing_number_stays_missing(shop: Shop) -> None:
    frame = training_frame(shop, customers=300, cutoffs=2)
    built = build_training_set(frame, shop)
    expected = int(frame.loc[frame["cutoff_no"] == 1, "region"].isna().sum())
    assert expected > 0
    assert int((built.validation["region"] == MISSING).sum()) == expected
    assert built.validation["recency_days"].isna().any()


def test_the_fingerprint_depends_on_the_data_and_not_on_the_order_of_rows(shop: Shop) -> None:
    frame = training_frame(shop, customers=300, cutoffs=2)
    first = build_training_set(frame, shop)
    shuffled = build_training_set(frame.sample(frac=1, random_state=5), shop)
    assert shuffled.fingerprint == first.fingerprint
    assert shuffled.train.equals(first.train)
    changed = frame.copy()
    changed.loc[0, "label"] = "none" if changed.loc[0, "label"] != "none" else "beauty"
    assert build_training_set(changed, shop).fingerprint != first.fingerprint
    weighted = frame.assign(weight=np.where(frame["cutoff_no"] == 2, 0.5, 1.0))
    assert build_training_set(weighted, shop).fingerprint != first.fingerprint


def test_each_training_row_has_the_weight_of_its_cutoff(shop: Shop) -> None:
    frame = training_frame(shop, customers=300, cutoffs=3)
    frame["weight"] = frame["cutoff_no"].map({1: 9.0, 2: 1.0, 3: 0.25})
    # Oldest cut-off first; the validation cut-off trains nothing.
    assert build_training_set(frame, shop).train_weights.tolist() == [0.25] * 300 + [1.0] * 300


@pytest.mark.parametrize("weight", [0.0, -1.0, None])
def test_a_weight_that_is_not_above_0_is_refused(shop: Shop, weight: float | None) -> None:
    frame = training_frame(shop, customers=300, cutoffs=2)
    frame.loc[3, "weight"] = weight
    with pytest.raises(TrainingSetError, match=r"training_features\.weight is above 0"):
        build_training_set(frame, shop)
