from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from contacts import drawn_inputs
from published_frames import small_shop

from customer360.campaigns.definition import Campaign
from ml.planning.contact_rates import Touches, estimate_rates, expit
from ml.planning.rate_predictions import rate_predictions

SHOP = small_shop()
CAMPAIGN = Campaign.model_validate(
    {"campaign_id": "k", "title": "K", "audience": "everyone", "value_per_conversion": 10, "channels": {"email": {}}}
)
NO_ORDERS = pd.DataFrame(
    {"customer_id": pd.Series(dtype="str"), "day_of_week": pd.Series(dtype="int64")}
    | {name: pd.Series(dtype="int64") for name in ("local_hour", "orders")}
)


def customers() -> pd.DataFrame:
    ids = [f"c{number:04}" for number in range(300)]
    return pd.DataFrame({"customer_id": ids, "segment": [("Loyal", "New", None)[number % 3] for number in range(300)]})


def test_they_are_the_rates_of_past_touches_for_the_ids_in_the_order_asked_for() -> None:
    touches = drawn_inputs(SHOP).touches
    predict = rate_predictions(customers().sample(frac=1, random_state=1), touches, NO_ORDERS, SHOP)
    asked = ["c0200", "c0007", "c0031"]
    found = predict(CAMPAIGN, pd.Index(asked, dtype="str"))
    found.check(3, SHOP)
    assert (found.basis, found.without, found.model_version) == ("predicted response", None, None)
    # The same from plain numbers: customers and segments (Loyal, New, Prospect) counted by hand, hours cut at 12 and 18.
    who = touches["customer_id"].str[1:].astype(int).to_numpy()
    values = (
        touches["channel"].map({name: place for place, name in enumerate(SHOP.channels)}).to_numpy(dtype=np.int64),
        touches["day_of_week"].to_numpy(dtype=np.int64) - 1,
        np.digitize(touches["local_hour"].to_numpy(dtype=np.int64), [12, 18]).astype(np.int64),
    )
    made = Touches(who, who % 3, values, touches["is_converted"].to_numpy(dtype=np.float64))
    rates = estimate_rates(made, 300, 3, (3, 7, 3))
    places = np.array([200, 7, 31])
    np.testing.assert_allclose(found.conversion, expit(rates.log_odds(places, places % 3)), rtol=1e-5)


def test_where_touches_do_not_say_when_the_odds_move_with_the_times_of_orders() -> None:
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
    found = rate_predictions(customers(), touches, times, SHOP)(CAMPAIGN, pd.Index(["c0003"], dtype="str")).conversion[0]
    odds = (found / (1 - found)).astype(float)
    # Everyone: 1,800 orders on Fridays and 300 on Tuesdays, add-one over 7 days; all customers are alike, so theirs are that.
    assert odds[0, 4, 0] / odds[0, 1, 0] == pytest.approx(1801 / 301, rel=0.01)
    # By daypart 2,100 in the evening, none in the morning. A segment's 700 and a customer's 7 weigh against 10,000, the most
    # that the layer above can weigh where groups do not differ.
    evening, morning = 2101 / 2103, 1 / 2103
    for own in (700, 7):
        evening, morning = (own + 10_000 * evening) / (own + 10_000), 10_000 * morning / (own + 10_000)
    assert odds[0, 4, 2] / odds[0, 4, 0] == pytest.approx(evening / morning, rel=1e-3)
    flat = rate_predictions(customers(), touches, NO_ORDERS, SHOP)(CAMPAIGN, pd.Index(["c0003"], dtype="str")).conversion[0]
    np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1, :1], flat.shape), rtol=1e-5)
