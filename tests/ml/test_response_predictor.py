"""The response model as a planner asks it: any customers in any order, with or without a model of those not contacted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from customer360.campaigns.definition import Campaign
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.training import train
from ml.planning.predictions import INCREMENTAL, RESPONSE
from ml.planning.serving import ResponsePredictor
from ml.responses.features import organic_features
from ml.responses.training_set import build_response_training_set
from ml.versions.model_store import LoadedModel
from tests.ml.contacts import KNOWN_AT, drawn_inputs
from tests.ml.published_frames import small_shop

SHOP = small_shop()
INPUTS = drawn_inputs(SHOP)
SET = build_response_training_set(INPUTS, SHOP, KNOWN_AT)
IDS = pd.Index(INPUTS.attributes["customer_id"])


def loaded(**changes: Any) -> LoadedModel:
    model = train(replace(SET, **changes), seed=1, threads=2, settings=BoostingSettings(iterations=40)).model
    manifest = SimpleNamespace(version="v1", metrics={"model": {"calibration_error": 0.01}})
    return LoadedModel(model, cast(Any, manifest))


def campaign(kind: str, offer_id: str | None) -> Campaign:
    return cast(Campaign, SimpleNamespace(kind=kind, offer_id=offer_id))


@pytest.fixture(scope="module")
def predictor() -> ResponsePredictor:
    return ResponsePredictor(loaded(), None, INPUTS, KNOWN_AT, SHOP)


def test_each_customer_has_the_same_predictions_whoever_else_is_asked_about(predictor: ResponsePredictor) -> None:
    every = predictor(campaign("newsletter", "f1"), IDS)
    every.check(len(IDS), SHOP)
    sample = np.random.default_rng(1).permutation(len(IDS))[:50]
    assert np.array_equal(predictor(campaign("newsletter", "f1"), IDS[sample]).conversion, every.conversion[sample])


def test_without_controls_the_value_is_a_predicted_response(predictor: ResponsePredictor) -> None:
    found = predictor(campaign("newsletter", "f1"), IDS)
    assert (found.basis, found.without, found.model_version) == (RESPONSE, None, "v1")
    assert found.relative_error == pytest.approx(0.01 / found.conversion.mean(), rel=1e-4)


def test_a_model_of_those_not_contacted_makes_it_incremental(predictor: ResponsePredictor) -> None:
    features = organic_features(SHOP)
    names = [feature.name for feature in features]
    organic = loaded(features=features, train=SET.train[names], validation=SET.validation[names])
    found = replace(predictor, organic=organic)(campaign("newsletter", "f1"), IDS)
    found.check(len(IDS), SHOP)
    assert found.basis == INCREMENTAL
    assert found.without is not None
    assert found.without.std() > 0


def test_kind_and_offer_reach_the_model_and_unknown_ones_are_missing(predictor: ResponsePredictor) -> None:
    # All that is known to be a newsletter converts, so that the kind matters.
    is_letter = (SET.train["campaign_kind"] == "newsletter").to_numpy()
    predictor = replace(
        predictor, response=loaded(train_labels=np.where(is_letter, "converted", SET.train_labels).astype(object))
    )
    known, other, none = (
        predictor(campaign(kind, offer), IDS).conversion for kind, offer in (("newsletter", "f1"), ("new", "f9"), ("new", None))
    )
    assert np.array_equal(other, none)
    assert known.mean() > none.mean() + 0.1
