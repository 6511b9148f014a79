"""The response model as a planner asks it: any customers in any order, with or without a model of those not contacted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from customer360.campaigns.definition import Campaign
from ml.datasets.targets import ORGANIC_RESPONSE, target_of
from ml.effects.evidence import campaign_outcomes
from ml.fitting.boosting_settings import BoostingSettings
from ml.fitting.training import train
from ml.planning.predictions import INCREMENTAL, NO_CONTROLS
from ml.planning.serving import Effects, ResponsePredictor
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
    return cast(Campaign, SimpleNamespace(kind=kind, offer_id=offer_id, channels=("email", "sms")))


def effects(controls: int = 0) -> Effects:
    """By the contacts of all customers and so many controls, a tenth of whom order; 5% of customers order by themselves."""
    held = INPUTS.touches.head(controls).assign(
        is_control=True, channel=None, is_converted=[number % 10 == 0 for number in range(controls)]
    )
    touches = pd.concat([INPUTS.touches, held.astype(INPUTS.touches.dtypes)], ignore_index=True)
    return Effects(campaign_outcomes(touches, INPUTS.campaigns, KNOWN_AT, SHOP), 0.05, SHOP)


@pytest.fixture(scope="module")
def predictor() -> ResponsePredictor:
    return ResponsePredictor(loaded(), None, INPUTS, KNOWN_AT, effects())


def test_each_customer_has_the_same_predictions_whoever_else_is_asked_about(predictor: ResponsePredictor) -> None:
    every = predictor(campaign("newsletter", "f1"), IDS)
    every.check(len(IDS), SHOP)
    sample = np.random.default_rng(1).permutation(len(IDS))[:50]
    assert np.array_equal(predictor(campaign("newsletter", "f1"), IDS[sample]).conversion, every.conversion[sample])


def test_without_controls_a_contact_adds_what_documented_ones_did_whatever_share_responds(
    predictor: ResponsePredictor,
) -> None:
    found = predictor(campaign("newsletter", "f1"), IDS)
    assert (found.basis, found.model_version, found.evidence_weight) == (NO_CONTROLS, "v1", 0)
    assert found.relative_error == pytest.approx(0.01 / found.conversion.mean(), rel=1e-4)
    contacts = INPUTS.touches["is_converted"].mean()
    assert contacts > 0.15
    # .5 percentage points of a contact that converts as often as past ones did; the prior is worth 248 contacts beside 3,000
    assert found.effect_share * contacts == pytest.approx(0.005, rel=0.1)
    assert found.effect_error * contacts > 2 * 0.005


def test_controls_make_it_incremental_and_a_model_of_them_says_what_of_whom(predictor: ResponsePredictor) -> None:
    features = organic_features(SHOP)
    names = [feature.name for feature in features]
    target = target_of(ORGANIC_RESPONSE, SHOP)
    organic = loaded(target=target, features=features, train=SET.train[names], validation=SET.validation[names])
    measured = replace(predictor, effects=effects(1_000))
    pooled, found = (made(campaign("newsletter", "f1"), IDS) for made in (measured, replace(measured, organic=organic)))
    found.check(len(IDS), SHOP)
    assert pooled.basis == found.basis == INCREMENTAL
    assert found.evidence_weight > 0.85
    assert pooled.without.max() == 0
    assert found.without.std() > 0
    # contacts convert at the rate of their touches, controls at a tenth
    contacts = INPUTS.touches["is_converted"].mean()
    assert pooled.effect_share * contacts == pytest.approx(contacts - 0.1, abs=0.02)


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
