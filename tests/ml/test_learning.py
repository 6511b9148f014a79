"""How much of a campaign is spent on learning: more while nothing is measured, the campaign's own shares once it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from published_frames import small_shop

from customer360.campaigns.definition import Campaign
from ml.effects.power import detectable_effect
from ml.planning.learning import learning_terms
from ml.planning.predictions import Predicted

SHOP = small_shop()


def campaign(**changes: Any) -> Campaign:
    base = {"title": "K", "audience": "everyone", "value_per_conversion": 10, "channels": {"email": {"cost": 0.1}}}
    return Campaign.model_validate({"campaign_id": "k", **base, **changes})


def predicted(customers: int, base: float, effect: float, weight: float = 0.0) -> Predicted:
    conversion = np.full((customers, 3, 7, 3), base + effect, dtype=np.float32)
    share = effect / (base + effect)
    return Predicted(conversion, np.zeros(customers, dtype=np.float32), None, effect_share=share, evidence_weight=weight)


def shares(made: Campaign) -> tuple[float, float]:
    return made.holdout_share, made.exploration_share


def test_without_evidence_the_holdout_is_the_least_that_finds_the_supposed_effect() -> None:
    terms = learning_terms(campaign(), predicted(20_000, 0.01, 0.005), np.inf, SHOP)
    held = terms.holdout_share
    assert 0.1 < held < 0.5
    found = [detectable_effect(0.01, int(20_000 * (1 - share)), int(20_000 * share)) for share in (held - 0.011, held)]
    assert found[0] is not None and found[1] is not None
    assert found[0] > 0.005 >= found[1]
    assert terms.exploration_share == 0.5


def test_where_no_holdout_finds_it_half_is_held_out_and_where_the_own_share_finds_it_no_more() -> None:
    assert learning_terms(campaign(), predicted(3_000, 0.03, 0.005), np.inf, SHOP).holdout_share == 0.5
    assert learning_terms(campaign(), predicted(20_000, 0.01, 0.02), np.inf, SHOP).holdout_share == 0.1
    assert learning_terms(campaign(holdout_share=0.7), predicted(3_000, 0.03, 0.005), np.inf, SHOP).holdout_share == 0.7


def test_a_budget_that_pays_for_few_contacts_needs_a_larger_holdout() -> None:
    rich, poor = (
        learning_terms(campaign(), predicted(60_000, 0.01, 0.005), budget, SHOP).holdout_share for budget in (np.inf, 1_000)
    )
    assert poor > rich


def test_both_shares_fall_to_the_campaigns_own_as_measurements_gain_weight() -> None:
    own = campaign()
    found = [
        shares(learning_terms(own, predicted(3_000, 0.03, 0.005, weight), np.inf, SHOP)) for weight in (0, 0.25, 0.499, 0.5, 1)
    ]
    assert found[0] == (0.5, 0.5)
    assert found[1] == (pytest.approx(0.3), pytest.approx(0.275))
    assert found[2] == (pytest.approx(0.1, abs=0.001), pytest.approx(0.05, abs=0.001))
    assert found[3] == found[4] == shares(own)


def test_the_shop_may_allow_less() -> None:
    rules = SHOP.campaigns.prior_effect.model_copy(update={"largest_holdout_share": 0.2, "exploration_share": 0.0})
    shop = SHOP.model_copy(update={"campaigns": SHOP.campaigns.model_copy(update={"prior_effect": rules})})
    assert shares(learning_terms(campaign(), predicted(3_000, 0.03, 0.005), np.inf, shop)) == (0.2, 0.05)
