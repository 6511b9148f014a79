"""Every combination of a campaign, scored by pairs: what the model says row by row, in the shop's orders."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product

import numpy as np
import pandas as pd
import pytest

from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.class_model import ClassModel
from ml.fitting.training import train
from ml.frames import FrameError, feature_matrix
from ml.responses import pairs
from ml.responses.contact_rows import CampaignFacts
from ml.responses.pairs import pair_probabilities
from ml.responses.scoring import response_predictions, rows_at
from ml.responses.training_set import build_response_training_set
from tests.ml.contacts import KNOWN_AT, drawn_inputs, truth
from tests.ml.published_frames import small_shop

SHOP = small_shop()
INPUTS = drawn_inputs(SHOP, customers=500, touches=6_000)
SET = build_response_training_set(INPUTS, SHOP, KNOWN_AT)
CAMPAIGN = CampaignFacts("newsletter", "fitness")
IDS = pd.Index(INPUTS.attributes["customer_id"])
ROWS = rows_at(IDS, KNOWN_AT, INPUTS, SHOP)
MODELS = {
    "boosted": lambda: train(SET, seed=1, threads=2, settings=BoostingSettings(iterations=150)).model,
    # Three regions are too many to ask about one by one: their target statistics are combined with those of other features.
    "target statistics": lambda: (
        train(SET, seed=1, threads=2, settings=BoostingSettings(iterations=30, one_hot_max_size=2)).model
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> ClassModel:
    return MODELS[str(request.param)]()


def row_by_row(model: ClassModel, rows: pd.DataFrame) -> np.ndarray:
    """A row for each customer and combination, scored like a table of contacts."""
    options = list(product(SHOP.channels, "1234567", SHOP.dayparts))
    full = rows.loc[rows.index.repeat(len(options))].reset_index(drop=True)
    for place, name in enumerate(("channel", "day_of_week", "daypart")):
        full[name] = [option[place] for option in options] * len(rows)
    full = full.assign(campaign_kind="newsletter", offer_category_id="fitness")
    shares = model.probabilities(feature_matrix(full, model.features, "rows"))[:, model.categories.index("converted")]
    return shares.reshape(len(rows), len(SHOP.channels), 7, len(SHOP.dayparts))


def test_the_predictions_are_those_of_each_row(model: ClassModel) -> None:
    found = response_predictions(model, CAMPAIGN, ROWS, SHOP)
    assert found.dtype == np.float32
    assert found.shape == (len(IDS), 3, 7, 3)
    assert np.abs(found[:40] - row_by_row(model, ROWS.iloc[:40])).max() < 1e-6
    assert found.std() > 0.02


def test_questions_about_several_features_are_asked_of_every_row() -> None:
    of_options = {"channel", "day_of_week", "daypart", "campaign_kind", "offer_category_id"}
    assert pairs._Trees.of(MODELS["target statistics"]().classifier, of_options) is None
    assert pairs._Trees.of(MODELS["boosted"]().classifier, of_options) is not None


def test_batches_change_nothing(model: ClassModel, monkeypatch: pytest.MonkeyPatch) -> None:
    in_one_batch = response_predictions(model, CAMPAIGN, ROWS, SHOP)
    monkeypatch.setattr("ml.responses.scoring.BATCH", 64)
    monkeypatch.setattr(pairs, "BATCH", 17)
    assert np.array_equal(response_predictions(model, CAMPAIGN, ROWS, SHOP), in_one_batch)


def test_nobody_to_score_gives_an_empty_block(model: ClassModel) -> None:
    assert response_predictions(model, CAMPAIGN, ROWS.iloc[:0], SHOP).shape == (0, 3, 7, 3)
    none = feature_matrix(ROWS.iloc[:0], [], "rows")
    assert pair_probabilities(model, none, none).shape == (0, 0, 2)


def test_the_best_combination_is_the_one_that_customers_answer_to() -> None:
    found = response_predictions(MODELS["boosted"](), CAMPAIGN, ROWS, SHOP)
    age = INPUTS.attributes["age"].to_numpy()
    flat = found.reshape(len(IDS), -1).argmax(axis=1)
    channel, day, _ = np.unravel_index(flat, found.shape[1:])
    chosen = truth(age, np.array(SHOP.channels)[channel], day + 1)
    assert (chosen == 0.6).mean() > 0.95  # the liked channel on a Monday


def test_history_and_attributes_are_those_of_the_plans_moment() -> None:
    earlier = rows_at(IDS, KNOWN_AT - timedelta(days=30), INPUTS, SHOP)
    contacts = [f"contacts_{channel}" for channel in SHOP.channels]
    counted = INPUTS.touches[INPUTS.touches["touched_at"] < KNOWN_AT - timedelta(days=30)]["customer_id"].value_counts()
    assert earlier[contacts].sum(axis=1).tolist() == counted.reindex(IDS).fillna(0).tolist()
    assert (ROWS[contacts].sum(axis=1) > earlier[contacts].sum(axis=1)).any()
    moved = INPUTS.attributes.assign(valid_from=pd.Timestamp(KNOWN_AT) - timedelta(days=10))
    assert rows_at(IDS, KNOWN_AT - timedelta(days=30), replace(INPUTS, attributes=moved), SHOP)["age"].isna().all()


def test_rows_without_a_feature_are_refused() -> None:
    with pytest.raises(FrameError, match="lacks age"):
        response_predictions(MODELS["boosted"](), CAMPAIGN, ROWS.drop(columns="age"), SHOP)
