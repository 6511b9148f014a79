"""Campaign touches: the action at random, a control group beside it, the outcomes from known probabilities."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from customer360.simulation import Simulation
from customer360.simulation.arrays import DAY, microseconds
from customer360.simulation.history import history
from customer360.simulation.response import true_response
from customer360.simulation.synthetic_shop import SyntheticShop
from customer360.simulation.touches import draw_touches, touch_history


@pytest.fixture(scope="module")
def synthetic(synthetic_shop) -> SyntheticShop:
    return SyntheticShop.build(Simulation(customers=8_000, seed=21), synthetic_shop)


@pytest.fixture(scope="module")
def response(synthetic):
    return true_response(synthetic.simulation, synthetic.shop, synthetic.population)


@pytest.fixture(scope="module")
def touches(synthetic, response) -> pd.DataFrame:
    return draw_touches(synthetic, response)


def numbers(frame: pd.DataFrame, synthetic: SyntheticShop) -> np.ndarray:
    number = {customer: i for i, customer in enumerate(synthetic.population.customer_ids)}
    return frame["customer_id"].map(number).to_numpy()


@pytest.mark.parametrize("is_control", [False, True])
def test_realised_conversion_agrees_with_the_known_probability(touches, is_control):
    arm = touches[touches["is_control"] == is_control]
    deciles = pd.qcut(arm["probability"].rank(method="first"), 10, labels=False)
    for _, group in arm.groupby(deciles):
        p = group["probability"]
        error = np.sqrt((p * (1 - p)).sum()) / len(p)
        assert abs(group["is_converted"].mean() - p.mean()) < 4 * error


def test_mean_probability_that_a_random_contact_adds_an_order_is_the_base_conversion(response):
    assert response.probability.mean() == pytest.approx(0.10, abs=1e-6)
    assert response.probability.shape == (8_000, 3, 7, 3)


def test_a_control_group_orders_of_its_own_accord_and_contacts_add_to_that(synthetic, response, touches):
    control, contacts = touches[touches["is_control"]], touches[~touches["is_control"]]
    assert len(control) / len(touches) == pytest.approx(0.10, abs=0.01)
    assert control["channel"].isna().all()
    assert contacts["channel"].notna().all()
    assert (touches["is_randomised"] == ~touches["is_control"]).all()
    assert np.allclose(control["probability"], response.without[numbers(control, synthetic)])
    who, places = numbers(contacts, synthetic), {name: i for i, name in enumerate(synthetic.shop.channels)}
    parts = {name: i for i, name in enumerate(synthetic.shop.dayparts)}
    p = response.probability[who, contacts["channel"].map(places), contacts["day"], contacts["daypart"].map(parts)]
    p0 = response.without[who]
    # either happens: p + p0 less both
    assert np.allclose(contacts["probability"], p + p0 - p * p0)
    effect = contacts["is_converted"].mean() - control["is_converted"].mean()
    error = np.sqrt(0.16 * 0.84 / len(contacts) + 0.1 * 0.9 / len(control))
    assert abs(effect - (p * (1 - p0)).mean()) < 4 * error
    # and it is not the same for all: the best quarter of the contacts adds an order far more often than the others
    top = p >= np.quantile(p, 0.75)
    assert contacts["is_converted"][top].mean() - contacts["is_converted"][~top].mean() > 0.15


def test_control_groups_change_nothing_else_of_the_contacts(synthetic, response, touches):
    simulation = dataclasses.replace(synthetic.simulation, control_share=0.0)
    everyone = draw_touches(dataclasses.replace(synthetic, simulation=simulation), response)
    assert not everyone["is_control"].any()
    pd.testing.assert_frame_equal(
        everyone[["touch_id", "customer_id", "touched_at"]], touches[["touch_id", "customer_id", "touched_at"]]
    )
    kept = ~touches["is_control"]
    columns = ["channel", "day", "daypart", "is_converted", "converted_at", "probability"]
    pd.testing.assert_frame_equal(everyone.loc[kept, columns], touches.loc[kept, columns])


def test_customers_order_within_three_days_as_often_as_their_chance_says(synthetic_shop):
    """Every window of three days in 30 simulated ones, by fifth of the chance and by group of customers."""
    synthetic = SyntheticShop.build(Simulation(customers=3_000, days=30, seed=5), synthetic_shop)
    chance = true_response(synthetic.simulation, synthetic_shop, synthetic.population).without
    end = microseconds(synthetic_shop.slices_start)
    has_ordered = np.zeros((3_000, 10), dtype=bool)
    for _, events in history(synthetic):
        rows = events.order != 0
        has_ordered[events.customer[rows], (end - 1 - events.at[rows]) // (3 * DAY)] = True
    fifth = np.argsort(np.argsort(chance)) // 600
    for groups in (fifth, synthetic.population.group):
        for group in np.unique(groups):
            expected, realised = chance[groups == group], has_ordered[groups == group].mean(axis=1)
            # windows of one customer share a spell: the error is taken between customers
            error = (realised - expected).std() / np.sqrt(len(expected))
            assert abs(realised.mean() - expected.mean()) < 4 * error, group
    assert chance[fifth == 4].mean() > 8 * chance[fifth == 0].mean()


def test_probabilities_are_bayes_of_the_published_tables(synthetic, response):
    people = synthetic.population
    young_rich = np.flatnonzero((people.age < 35) & (people.income >= 120))[0]
    p = response.probability[young_rich]
    odds = p / (1 - p)
    # SMS on a Sunday evening against e-mail on a Monday morning: ratios of did / did not, from the tables by hand.
    expected = (0.60 / 0.25) / (0.30 / 0.15) * (0.22 / 0.01) / (0.10 / 0.50) * (0.55 / 0.25) / (0.20 / 0.50)
    assert odds[2, 6, 2] / odds[0, 0, 0] == pytest.approx(expected)
    senior_poor = np.flatnonzero((people.age >= 55) & (people.income < 60))[0]
    p = response.probability[senior_poor]
    odds = p / (1 - p)
    expected = (0.45 / 0.15) / (0.22 / 0.60) * (0.30 / 0.02) / (0.03 / 0.29) * (0.62 / 0.20) / (0.18 / 0.40)
    assert odds[1, 1, 0] / odds[2, 6, 2] == pytest.approx(expected)


def test_actions_are_drawn_within_consent_and_without_regard_to_the_outcome(synthetic, touches):
    control = touches["is_control"]
    assert np.allclose(touches.loc[control, "propensity"], 0.1)
    touches = touches[~control]
    rows = numbers(touches, synthetic)
    channels = touches["channel"].map({channel: i for i, channel in enumerate(synthetic.shop.channels)}).to_numpy()
    assert synthetic.population.consents[rows, channels].all()
    assert np.allclose(touches["propensity"], 0.9 / (synthetic.population.consents[rows].sum(axis=1) * 21))
    everyone = touches[synthetic.population.consents[rows].all(axis=1)]
    assert everyone["channel"].value_counts(normalize=True).between(0.31, 0.36).all()
    assert touches["daypart"].value_counts(normalize=True).between(0.32, 0.35).all()
    assert synthetic.population.consents.mean(axis=0) == pytest.approx([0.85, 0.45, 0.60], abs=0.02)


def test_touches_fall_into_their_local_daypart_and_outcomes_are_known_before_the_live_slices(synthetic, touches):
    local = touches["touched_at"].dt.tz_convert(synthetic.shop.zone)
    spans = touches["daypart"].map(synthetic.shop.dayparts)
    assert all(span.start <= hour < span.end for span, hour in zip(spans, local.dt.hour, strict=True))
    assert (local.dt.dayofweek == touches["day"]).all()
    converted = touches[touches["is_converted"]]
    assert converted["converted_at"].notna().all()
    assert touches.loc[~touches["is_converted"], "converted_at"].isna().all()
    assert (converted["converted_at"] >= converted["touched_at"]).all()
    assert (converted["converted_at"] < converted["touched_at"] + pd.Timedelta(days=3)).all()
    assert converted["converted_at"].max() < pd.Timestamp(synthetic.shop.slices_start)
    calendar = synthetic.calendar.table().set_index("campaign_id")
    dates = local.dt.date
    assert (dates >= touches["campaign_id"].map(calendar["starts_on"])).all()
    assert (dates <= touches["campaign_id"].map(calendar["ends_on"])).all()
    assert touches["touch_id"].is_unique


def test_the_history_of_touches_tells_the_customers_own_clock(synthetic_shop):
    touches = pd.DataFrame(
        {
            "touch_id": ["t1", "t2"],
            "campaign_id": "k1",
            "customer_id": "c1",
            "channel": "sms",
            # half past midnight on the Sunday when Amsterdam's clocks go forward, and that evening, two hours ahead of UTC
            "touched_at": pd.to_datetime(["2026-03-28 23:30:00", "2026-03-29 16:15:00"], utc=True),
            "is_converted": [False, True],
            "converted_at": pd.to_datetime([None, "2026-03-30 10:00:00"], utc=True),
            "is_control": False,
            "is_randomised": True,
            "expected_conversion": 0.2,
        }
    )
    history = touch_history(touches, synthetic_shop)
    assert list(history["day_of_week"]) == [7, 7]
    assert list(history["local_hour"]) == [0, 18]
    assert list(history["local_date"].dt.strftime("%Y-%m-%d")) == ["2026-03-29", "2026-03-29"]
    assert list(history["touched_at"]) == [pd.Timestamp("2026-03-28 23:30:00"), pd.Timestamp("2026-03-29 16:15:00")]
    assert history["converted_at"].isna().tolist() == [True, False]
    assert history["is_time_known"].all()
