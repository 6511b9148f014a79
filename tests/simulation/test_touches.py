"""Campaign touches: the action at random, the outcome from the known probability."""

import numpy as np
import pandas as pd
import pytest

from customer360.simulation import Simulation
from customer360.simulation.response import true_response
from customer360.simulation.touches import draw_touches
from customer360.simulation.world import World


@pytest.fixture(scope="module")
def world(synthetic_shop) -> World:
    return World.build(Simulation(customers=8_000, seed=21), synthetic_shop)


@pytest.fixture(scope="module")
def response(world):
    return true_response(world.simulation, world.shop, world.population)


@pytest.fixture(scope="module")
def touches(world, response) -> pd.DataFrame:
    return draw_touches(world, response)


def test_realised_conversion_agrees_with_the_known_probability(touches):
    deciles = pd.qcut(touches["probability"].rank(method="first"), 10, labels=False)
    for _, group in touches.groupby(deciles):
        p = group["probability"]
        error = np.sqrt((p * (1 - p)).sum()) / len(p)
        assert abs(group["is_converted"].mean() - p.mean()) < 4 * error
    assert 0.09 < touches["is_converted"].mean() < 0.11


def test_mean_probability_over_random_actions_is_the_base_conversion(response):
    assert response.probability.mean() == pytest.approx(0.10, abs=1e-6)
    assert response.probability.shape == (8_000, 3, 7, 3)


def test_probabilities_are_bayes_of_the_published_tables(world, response):
    people = world.population
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


def test_actions_are_drawn_within_consent_and_without_regard_to_the_outcome(world, touches):
    number = {customer: i for i, customer in enumerate(world.population.customer_ids)}
    rows = touches["customer_id"].map(number).to_numpy()
    channels = touches["channel"].map({channel: i for i, channel in enumerate(world.shop.channels)}).to_numpy()
    assert world.population.consents[rows, channels].all()
    assert np.allclose(touches["propensity"], 1 / (world.population.consents[rows].sum(axis=1) * 21))
    everyone = touches[world.population.consents[rows].all(axis=1)]
    assert everyone["channel"].value_counts(normalize=True).between(0.31, 0.36).all()
    assert touches["daypart"].value_counts(normalize=True).between(0.32, 0.35).all()
    assert world.population.consents.mean(axis=0) == pytest.approx([0.85, 0.45, 0.60], abs=0.02)


def test_touches_fall_into_their_local_daypart_and_outcomes_are_known_before_the_live_slices(world, touches):
    local = touches["touched_at"].dt.tz_convert(world.shop.zone)
    spans = touches["daypart"].map(world.shop.dayparts)
    assert all(span.start <= hour < span.end for span, hour in zip(spans, local.dt.hour, strict=True))
    assert (local.dt.dayofweek == touches["day"]).all()
    converted = touches[touches["is_converted"]]
    assert converted["converted_at"].notna().all()
    assert touches.loc[~touches["is_converted"], "converted_at"].isna().all()
    assert (converted["converted_at"] >= converted["touched_at"]).all()
    assert converted["converted_at"].max() < pd.Timestamp(world.shop.slices_start)
    calendar = world.calendar.table().set_index("campaign_id")
    dates = local.dt.date
    assert (dates >= touches["campaign_id"].map(calendar["starts_on"])).all()
    assert (dates <= touches["campaign_id"].map(calendar["ends_on"])).all()
    assert touches["touch_id"].is_unique
