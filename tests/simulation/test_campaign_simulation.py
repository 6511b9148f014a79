"""The light simulation: the same truth as the shop with clicks, and equal draws for policies that are compared."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from benchmarks.campaign_simulation import ORDER_COLUMNS, CampaignSimulation

LONG = timedelta(hours=72)


@pytest.fixture(scope="module")
def simulation(synthetic_shop) -> CampaignSimulation:
    return CampaignSimulation.build(synthetic_shop, customers=4_000, seed=3)


def contacts_on(simulation: CampaignSimulation, number: int, customers: list[str], channel: str, hour: int) -> pd.DataFrame:
    moment = pd.Timestamp(simulation.first_day + timedelta(days=number), tz=simulation.synthetic.shop.zone) + pd.Timedelta(
        hours=hour
    )
    sent_at = moment.tz_convert("UTC").tz_localize(None)
    return pd.DataFrame({"customer_id": customers, "campaign_id": "spring", "channel": channel, "sent_at": sent_at})


def test_a_contact_adds_an_order_as_often_as_the_truth_says_and_within_three_days(simulation):
    ids = simulation.synthetic.population.customer_ids
    day = 10
    weekday = (simulation.first_day + timedelta(days=day)).weekday()
    contacts = contacts_on(simulation, day, ids, "sms", 19)
    orders = simulation.orders(simulation.first_day + timedelta(days=day), contacts)
    added = orders[orders["is_added"]]
    p = simulation.response.probability[:, simulation.synthetic.shop.channels.index("sms"), weekday, 2]
    assert added["customer_id"].is_unique
    rows = pd.Index(ids).get_indexer(added["customer_id"])
    reacted = np.zeros(len(ids), dtype=bool)
    reacted[rows] = True
    for group in np.array_split(np.argsort(p), 4):
        error = np.sqrt((p[group] * (1 - p[group])).sum()) / len(group)
        assert abs(reacted[group].mean() - p[group].mean()) < 4 * error
    sent_at = contacts["sent_at"].iloc[0]
    assert (added["ordered_at"] >= sent_at).all()
    assert (added["ordered_at"] < sent_at + LONG).all()
    assert added["ordered_at"].median() - sent_at == pytest.approx(
        pd.Timedelta(hours=20 * np.log(2)), abs=pd.Timedelta(hours=3)
    )


def test_orders_that_come_anyway_are_the_same_whoever_is_contacted(simulation):
    day = simulation.first_day + timedelta(days=2)
    alone = simulation.orders(day)
    beside = simulation.orders(
        day, contacts_on(simulation, 2, simulation.synthetic.population.customer_ids[:2_000], "email", 9)
    )
    pd.testing.assert_frame_equal(beside[~beside["is_added"]].reset_index(drop=True), alone)
    local = alone["ordered_at"].dt.tz_localize("UTC").dt.tz_convert(simulation.synthetic.shop.zone).dt.date
    assert (local == day).all()
    assert beside["order_id"].is_unique


def test_equal_contacts_are_answered_equally_by_whichever_policy_makes_them(simulation):
    day = simulation.first_day + timedelta(days=5)
    first = contacts_on(simulation, 5, simulation.synthetic.population.customer_ids[:500], "sms", 9)
    more = contacts_on(simulation, 5, simulation.synthetic.population.customer_ids[:3_000], "sms", 9)
    few, many = (simulation.orders(day, frame.sample(frac=1, random_state=1)) for frame in (first, more))
    kept = many[many["is_added"] & many["customer_id"].isin(first["customer_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(few[few["is_added"]].reset_index(drop=True), kept)
    again = CampaignSimulation.build(simulation.synthetic.shop, customers=4_000, seed=3).orders(day, first)
    pd.testing.assert_frame_equal(few, again)
    assert not simulation.orders(day).equals(CampaignSimulation.build(simulation.synthetic.shop, 4_000, seed=4).orders(day))


def test_without_contacts_customers_order_within_three_days_as_often_as_their_chance_says(simulation):
    chance = simulation.response.without
    days = [simulation.orders(simulation.first_day + timedelta(days=number)) for number in range(90)]
    ids = pd.Index(simulation.synthetic.population.customer_ids)
    has_ordered = np.zeros((len(ids), 30), dtype=bool)
    for number, orders in enumerate(days):
        has_ordered[ids.get_indexer(orders["customer_id"]), number // 3] = True
    realised = has_ordered.mean(axis=1)
    for group in np.array_split(np.argsort(chance), 5):
        error = (realised[group] - chance[group]).std() / np.sqrt(len(group))
        assert abs(realised[group].mean() - chance[group].mean()) < 4 * error


def test_past_touches_converted_exactly_where_an_order_lies_in_their_window(simulation):
    touches, orders = simulation.past()
    assert set(ORDER_COLUMNS) < set(orders)
    assert orders["order_id"].is_unique
    by_customer = {customer: times.to_numpy() for customer, times in orders.groupby("customer_id")["ordered_at"]}
    for touch in touches.sample(500, random_state=1).itertuples():
        start = touch.touched_at.to_datetime64()
        times = by_customer.get(touch.customer_id, np.array([], dtype="datetime64[us]"))
        inside = times[(times >= start) & (times < start + np.timedelta64(3, "D"))]
        assert touch.is_converted == (len(inside) > 0)
        if len(inside):
            assert touch.converted_at.to_datetime64() == inside.min()
    control = touches["is_control"]
    expected = simulation.response.without[
        pd.Index(simulation.synthetic.population.customer_ids).get_indexer(touches["customer_id"])
    ]
    assert touches.loc[control, "is_converted"].mean() == pytest.approx(expected[control].mean(), abs=0.03)
    assert touches.loc[~control, "is_converted"].mean() > touches.loc[control, "is_converted"].mean() + 0.06
    end = pd.Timestamp(simulation.first_day, tz=simulation.synthetic.shop.zone).tz_convert("UTC").tz_localize(None)
    assert orders["ordered_at"].max() < end
