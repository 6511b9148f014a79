from __future__ import annotations

import hashlib
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop
from scipy import stats

from customer360.campaigns.definition import Campaign
from customer360.campaigns.holdouts import draws
from customer360.settings import CampaignRules
from ml.planning.contact_days import ContactDays
from ml.planning.options import TIE_BREAK, Options, make_options, option_costs
from ml.planning.predictions import Predicted

SHOP = small_shop().model_copy(update={"campaigns": CampaignRules(days_ahead=3)})
FRIDAY = date(2026, 5, 1)  # the plan's days: Saturday, Sunday, Monday
EMAIL, CALL, SMS = range(3)


def campaign(**changes: Any) -> Campaign:
    channels = {"email": {"cost": 0.5}, "sms": {"cost": 2}}
    base = {"title": "K", "audience": "everyone", "value_per_conversion": 10, "channels": channels, "exploration_share": 0}
    return Campaign.model_validate({"campaign_id": "k", **base, **changes})


def options(conversion: np.ndarray, allowed: np.ndarray, of: Campaign, without: np.ndarray | None = None) -> Options:
    known = np.zeros(len(conversion)) if without is None else without
    predicted = Predicted(conversion.astype(np.float32), known.astype(np.float32), "m")
    ids = pd.Index([f"C{number}" for number in range(len(conversion))], dtype="str")
    days = ContactDays.of(of, SHOP, FRIDAY)
    return make_options(predicted, allowed, days, of, SHOP, ids=ids, salt="salt")


def at(channel: int, day: int) -> int:
    return channel * 3 + day


def test_an_option_is_worth_its_best_daypart_less_its_cost_on_its_own_weekday() -> None:
    conversion = np.full((1, 3, 7, 3), 0.01)
    conversion[0, EMAIL, 5] = [0.1, 0.3, 0.2]  # Saturday
    conversion[0, SMS, 0, 2] = 0.6  # Monday
    allowed = np.ones((1, 3, 3, 3), dtype=bool)
    allowed[0, EMAIL, 0, 1] = False
    allowed[0, SMS, 1] = False
    found = options(conversion, allowed, campaign())
    # Saturday's afternoon is not allowed, so the evening counts: 10 * .2 - .5
    assert found.value[0, at(EMAIL, 0)] == pytest.approx(1.5, rel=2 * TIE_BREAK)
    assert found.daypart[0, at(EMAIL, 0)] == 2
    assert found.conversion[0, at(EMAIL, 0)] == pytest.approx(0.2)
    assert found.gross[0, at(EMAIL, 0)] == pytest.approx(2)
    assert found.value[0, at(SMS, 2)] == pytest.approx(4, rel=2 * TIE_BREAK)
    assert found.daypart[0, at(SMS, 2)] == 2
    assert found.value[0, at(EMAIL, 1)] == pytest.approx(-0.4)
    assert found.value[0, at(SMS, 1)] == -np.inf
    assert not found.explores.any()


def test_what_would_be_ordered_anyway_is_worth_nothing() -> None:
    conversion = np.full((2, 3, 7, 3), 0.4)
    allowed = np.ones((2, 3, 3, 3), dtype=bool)
    found = options(conversion, allowed, campaign(), without=np.array([0.3, 0.45]))
    assert found.value[0, at(EMAIL, 0)] == pytest.approx(10 * 0.1 - 0.5, rel=1e-5)
    assert found.value[1, at(EMAIL, 0)] == pytest.approx(-10 * 0.05 - 0.5, rel=1e-5)
    assert found.conversion[1, at(EMAIL, 0)] == pytest.approx(0.4)
    assert found.gross[1, at(EMAIL, 0)] == pytest.approx(-0.5, rel=1e-5)


def test_costs_are_of_the_channel_and_none_of_those_that_are_not_used() -> None:
    assert option_costs(campaign(), SHOP).tolist() == [0.5] * 3 + [0.0] * 3 + [2.0] * 3


def test_equal_customers_differ_by_less_than_the_tie_break_and_always_alike() -> None:
    conversion, allowed = np.full((50, 3, 7, 3), 0.3), np.ones((50, 3, 3, 3), dtype=bool)
    value = options(conversion, allowed, campaign()).value[:, at(EMAIL, 0)]
    assert len(set(value)) == 50
    assert value.min() >= 2.5 - 1e-6 and value.max() <= 2.5 * (1 + TIE_BREAK) + 1e-6
    np.testing.assert_array_equal(value, options(conversion, allowed, campaign()).value[:, at(EMAIL, 0)])


def test_explorers_have_one_allowed_combination_each_as_often_as_any_other() -> None:
    count = 12_000
    conversion = np.full((count, 3, 7, 3), 0.3)
    allowed = np.zeros((count, 3, 3, 3), dtype=bool)
    places = [(EMAIL, 0, 0), (EMAIL, 0, 2), (EMAIL, 2, 1), (SMS, 0, 1), (SMS, 1, 1), (SMS, 1, 2)]
    for channel, day, daypart in places:
        allowed[:, channel, day, daypart] = True
    found = options(conversion, allowed, campaign(exploration_share=1))
    assert found.explores.all()
    has = np.isfinite(found.value)
    assert (has.sum(axis=1) == 1).all()
    option = has.argmax(axis=1)
    drawn = pd.Series(list(zip(option // 3, option % 3, found.daypart[np.arange(count), option], strict=True))).value_counts()
    assert set(drawn.index) == set(places)
    assert stats.chisquare(drawn.to_numpy()).pvalue > 0.001
    again = options(conversion, allowed, campaign(exploration_share=1))
    np.testing.assert_array_equal(again.value, found.value)
    np.testing.assert_array_equal(again.daypart, found.daypart)


def test_the_share_of_explorers_is_what_the_campaign_says_and_the_others_keep_every_option() -> None:
    conversion, allowed = np.full((5_000, 3, 7, 3), 0.3), np.ones((5_000, 3, 3, 3), dtype=bool)
    found = options(conversion, allowed, campaign(exploration_share=0.1))
    # Four standard errors of a share of .1 among 5,000 are .017.
    assert found.explores.mean() == pytest.approx(0.1, abs=0.017)
    choices = np.isfinite(found.value).sum(axis=1)
    assert set(choices[found.explores]) == {1}
    assert set(choices[~found.explores]) == {9}
    # another campaign has other explorers: both explore about .1 * .1 of the customers
    other = options(conversion, allowed, campaign(campaign_id="other", exploration_share=0.1)).explores
    assert (found.explores & other).mean() == pytest.approx(0.01, abs=0.006)


def test_an_explorer_of_whom_nothing_is_allowed_has_nothing() -> None:
    found = options(np.full((3, 3, 7, 3), 0.3), np.zeros((3, 3, 3, 3), dtype=bool), campaign(exploration_share=1))
    assert (found.value == -np.inf).all()


def test_draws_depend_on_their_words_alone_and_are_even() -> None:
    values = draws([f"C{number}" for number in range(2_000)], "salt", "k")
    assert draws(["C7"], "salt", "k")[0] == values[7]
    assert values[7] == int(hashlib.sha256(b"salt:k:C7").hexdigest()[:16], 16) / 2**64
    assert stats.kstest(values, "uniform").pvalue > 0.001
