"""The training set of the response model: which contacts are rows, which judge, and when there is nothing to train on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from customer360.settings import SettingsError
from ml.datasets.training_sets import TrainingSetError
from ml.frames import FrameError
from ml.responses.contact_rows import ResponseInputs
from ml.responses.features import response_features
from ml.responses.training_set import build_response_training_set
from tests.ml.contacts import KNOWN_AT, drawn_inputs
from tests.ml.published_frames import small_shop

SHOP = small_shop()


@pytest.fixture(scope="module")
def inputs() -> ResponseInputs:
    return drawn_inputs(SHOP)


def changed(inputs: ResponseInputs, **columns: object) -> ResponseInputs:
    return replace(inputs, touches=inputs.touches.assign(**columns))


def test_the_newest_fifth_judges_what_older_contacts_taught_whose_outcome_was_known_by_then(inputs: ResponseInputs) -> None:
    built = build_response_training_set(inputs, SHOP, KNOWN_AT)
    moments = inputs.touches["touched_at"].sort_values().to_numpy()
    assert len(built.validation) == len(moments) // 5
    judge_from = built.validation_cutoff
    assert judge_from == pd.Timestamp(moments[-len(moments) // 5])
    known = moments + np.timedelta64(SHOP.campaigns.attribution_days, "D") <= np.datetime64(judge_from)
    assert len(built.train) == known.sum() < len(moments) * 0.8
    assert built.train_cutoffs == (pd.Timestamp(moments[0]), pd.Timestamp(moments[known][-1]))
    (split,) = built.tuning
    assert split.tuned.sum() == len(built.train) // 5 + (len(built.train) % 5 > 0)
    assert not (split.fitted & split.tuned).any()
    assert 0 < (~split.fitted & ~split.tuned).sum() < len(built.train) // 5  # purged between them
    assert built.judged_on == f"the newest fifth of the contacts, those from {judge_from:%Y-%m-%d %H:%M} (UTC) on"
    assert [feature.name for feature in built.features] == list(built.train.columns)


def test_rows_are_contacts_of_known_channel_and_time_whose_window_has_passed(inputs: ResponseInputs) -> None:
    def rows(**columns: object) -> int:
        built = build_response_training_set(changed(inputs, **columns), SHOP, KNOWN_AT)
        return len(built.train) + len(built.validation)

    every, chosen = rows(), np.arange(len(inputs.touches)) % 10 == 0
    for column, value in {
        "is_control": True,
        "is_time_known": False,
        "channel": None,
        "day_of_week": None,
        "local_hour": 3,
    }.items():
        values = inputs.touches[column].astype(object).where(~chosen, value)
        assert 0.88 * every < rows(**{column: values}) < 0.92 * every, column
    newest = inputs.touches["touched_at"].max()
    before = build_response_training_set(inputs, SHOP, newest - timedelta(days=10)).fingerprint
    unknown = inputs.touches["touched_at"] + timedelta(days=SHOP.campaigns.attribution_days) > newest - timedelta(days=10)
    altered = changed(inputs, is_converted=inputs.touches["is_converted"] ^ unknown)
    known_conversions = altered.touches["converted_at"].where(~unknown)
    altered = changed(altered, converted_at=known_conversions)
    assert build_response_training_set(altered, SHOP, newest - timedelta(days=10)).fingerprint == before


def test_the_order_of_rows_does_not_matter_and_a_changed_outcome_does(inputs: ResponseInputs) -> None:
    built = build_response_training_set(inputs, SHOP, KNOWN_AT)
    shuffled = replace(inputs, touches=inputs.touches.sample(frac=1, random_state=1), attributes=inputs.attributes[::-1])
    again = build_response_training_set(shuffled, SHOP, KNOWN_AT)
    pd.testing.assert_frame_equal(again.train, built.train)
    assert again.fingerprint == built.fingerprint
    flipped = inputs.touches["is_converted"].to_numpy().copy()
    flipped[7] ^= True
    assert build_response_training_set(changed(inputs, is_converted=flipped), SHOP, KNOWN_AT).fingerprint != built.fingerprint


def test_randomised_contacts_weigh_what_the_shop_says(inputs: ResponseInputs) -> None:
    plain = build_response_training_set(inputs, SHOP, KNOWN_AT)
    assert set(plain.train_weights) == {1.0}
    weighty = small_shop(training={"randomised_weight": 3})
    built = build_response_training_set(inputs, weighty, KNOWN_AT)
    oldest = inputs.touches.sort_values(["touched_at", "touch_id"]).iloc[: len(built.train)]
    assert built.train_weights.tolist() == np.where(oldest["is_randomised"], 3.0, 1.0).tolist()
    assert built.fingerprint != plain.fingerprint


def test_contacts_too_close_together_are_judged_on_customers_that_taught_nothing() -> None:
    """All within four days, a window of three: purging would leave a fifth of the older ones."""
    inputs = drawn_inputs(SHOP, days=4)
    built = build_response_training_set(inputs, SHOP, KNOWN_AT)
    assert "a fifth of the customers: all lie within 4 days, too close together" in built.judged_on
    rows = inputs.touches.sort_values(["touched_at", "touch_id"], ignore_index=True)
    assert len(built.train) + len(built.validation) == len(rows)
    assert 0.1 < len(built.validation) / len(rows) < 0.3
    # Attributes tell the customers apart: none of the judging ones is among the others.
    own = ["age", "household_size", "is_head_of_household", "region"]
    people = inputs.attributes.drop_duplicates(own, keep=False)[own].astype(str)
    shared = set(map(tuple, built.train[own].round().astype(str).to_numpy())) & set(
        map(tuple, built.validation[own].round().astype(str).to_numpy())
    )
    assert len(people) > 50
    assert not shared & set(
        map(tuple, people.assign(age=people["age"] + ".0", household_size=people["household_size"] + ".0").to_numpy())
    )
    assert len(built.tuning) == 5
    assert np.sum([split.tuned for split in built.tuning], axis=0).tolist() == [1] * len(built.train)


@pytest.mark.parametrize(
    ("touches", "columns", "message"),
    [
        (200, {}, "campaign_touch_history has 200 contacts with known channel and time whose 3 days"),
        (0, {}, "has 0 contacts"),
        (3_000, {"is_converted": False}, "(0 converted) to train on"),
        (3_000, {"is_converted": True}, "not all converted"),
        (3_000, {"is_control": True}, "has 0 contacts"),
    ],
)
def test_too_little_says_what_is_missing(touches: int, columns: dict[str, object], message: str) -> None:
    inputs = changed(drawn_inputs(SHOP, touches=3_000), **columns)
    short = replace(inputs, touches=inputs.touches.iloc[:touches])
    with pytest.raises(TrainingSetError) as refused:
        build_response_training_set(short, SHOP, KNOWN_AT)
    assert message in str(refused.value)


def test_a_frame_without_a_column_is_named(inputs: ResponseInputs) -> None:
    with pytest.raises(FrameError, match="campaign_touch_history lacks is_control"):
        build_response_training_set(replace(inputs, touches=inputs.touches.drop(columns="is_control")), SHOP, KNOWN_AT)


def test_a_campaign_is_known_by_kind_and_category_and_never_by_its_id(inputs: ResponseInputs) -> None:
    built = build_response_training_set(inputs, SHOP, KNOWN_AT)
    assert "campaign_id" not in built.train
    assert set(map(tuple, built.train[["campaign_kind", "offer_category_id"]].drop_duplicates().to_numpy())) == {
        ("newsletter", "fitness"),
        ("(missing)", "(missing)"),
    }


def test_an_attribute_with_the_name_of_a_feature_is_refused() -> None:
    with pytest.raises(SettingsError, match="daypart is a feature of the response model; name it otherwise"):
        response_features(small_shop(attributes={"daypart": {"type": "text"}}))
