from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from contacts import drawn_inputs
from published_frames import small_shop

from customer360.campaigns.definition import Campaign
from ml.arrays import SingleFloats
from ml.planning.contact_rates import ResponsePrior, Touches, estimate_rates, expit
from ml.planning.rate_predictions import PREFERENCE, index_customers, rate_responses

SHOP = small_shop()
CAMPAIGN = Campaign.model_validate(
    {"campaign_id": "k", "title": "K", "audience": "everyone", "value_per_conversion": 10, "channels": {"email": {}}}
)
NO_ORDERS = pd.DataFrame(
    {"customer_id": pd.Series(dtype="str"), "day_of_week": pd.Series(dtype="int64")}
    | {name: pd.Series(dtype="int64") for name in ("local_hour", "orders")}
)
PRIOR = ResponsePrior(np.full(300, 0.03), 200)


def customers() -> pd.DataFrame:
    ids = [f"c{number:04}" for number in range(300)]
    return pd.DataFrame({"customer_id": ids, "segment": [("Loyal", "New", None)[number % 3] for number in range(300)]})


def responses(
    touches: pd.DataFrame, times: pd.DataFrame, *asked: str, prior: ResponsePrior = PRIOR, of: pd.DataFrame | None = None
) -> SingleFloats:
    indexed = index_customers(customers() if of is None else of)
    return rate_responses(indexed, touches, times, prior, SHOP)(CAMPAIGN, pd.Index(list(asked), dtype="str"))


def test_they_are_the_rates_of_past_touches_for_the_ids_in_the_order_asked_for() -> None:
    touches = drawn_inputs(SHOP).touches
    found = responses(touches, NO_ORDERS, "c0200", "c0007", "c0031", of=customers().sample(frac=1, random_state=1))
    assert found.shape == (3, 3, 7, 3)
    # The same from plain numbers: customers and segments (Loyal, New, Prospect) counted by hand, hours cut at 12 and 18.
    who = touches["customer_id"].str[1:].astype(int).to_numpy()
    values = (
        touches["channel"].map({name: place for place, name in enumerate(SHOP.channels)}).to_numpy(dtype=np.int64),
        touches["day_of_week"].to_numpy(dtype=np.int64) - 1,
        np.digitize(touches["local_hour"].to_numpy(dtype=np.int64), [12, 18]).astype(np.int64),
    )
    made = Touches(who, who % 3, values, touches["is_converted"].to_numpy(dtype=np.float64))
    rates = estimate_rates(made, 3, (3, 7, 3), PRIOR)
    places = np.array([200, 7, 31])
    np.testing.assert_allclose(found, expit(rates.log_odds(places, places % 3)), rtol=1e-5)


def test_without_touches_they_are_what_was_expected_of_each_customer_whenever_and_however() -> None:
    expected = ResponsePrior(np.linspace(0.01, 0.2, 300), 200)
    found = responses(drawn_inputs(SHOP).touches.head(0), NO_ORDERS, "c0000", "c0299", prior=expected)
    np.testing.assert_allclose(found[0], 0.01, rtol=1e-5)
    np.testing.assert_allclose(found[1], 0.2, rtol=1e-5)


def test_where_touches_do_not_say_when_times_of_orders_settle_the_choice_and_promise_nothing() -> None:
    touches = drawn_inputs(SHOP).touches.head(600)
    touches = touches.assign(
        day_of_week=pd.array([pd.NA] * 600, dtype="Int64"), local_hour=pd.array([pd.NA] * 600, dtype="Int64")
    )
    ids = [f"c{number:04}" for number in range(300)]
    times = pd.DataFrame(
        {
            "customer_id": ids * 2,
            "day_of_week": [5] * 300 + [2] * 300,
            "local_hour": [19] * 600,
            "orders": [6] * 300 + [1] * 300,
        }
    )
    (found,) = responses(touches, times, "c0003")
    (flat,) = responses(touches, NO_ORDERS, "c0003")
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1, :1], flat.shape), rtol=1e-5)
    # 1,800 orders on Fridays, 300 on Tuesdays, all in the evening: that is the best time, and brings what any time brings
    np.testing.assert_allclose(found[:, 4, 2], flat[:, 4, 2], rtol=1e-6)
    assert (found[0].argmax() // 3, found[0].argmax() % 3) == (4, 2)
    assert found[0, 4, 2] > found[0, 1, 2] > found[0, 0, 2]
    assert found[0, 4, 2] > found[0, 4, 0]
    assert (found / flat).min() >= (1 - PREFERENCE) ** 2
    # Add-one shares: of Tuesday 301 to 1,801 of Friday
    assert found[0, 1, 2] / found[0, 4, 2] == pytest.approx(1 - PREFERENCE * (1 - 301 / 1801), rel=1e-3)
