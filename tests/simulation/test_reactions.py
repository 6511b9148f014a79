"""Customers react to contacts that were sent: as often as the truth says, in their own time, however it is cut into slices."""

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from customer360.campaigns.ledger import append
from customer360.lake.raw.raw_clicks import write_raw_slice
from customer360.settings import REPOSITORY, Place, Settings
from customer360.simulation import Simulation, SimulationError, simulate_history, simulate_slice, stream
from customer360.simulation.arrays import DAY, microseconds
from customer360.simulation.events import click_table
from customer360.simulation.reactions import Reactions, shop_events
from customer360.simulation.response import true_response
from customer360.simulation.synthetic_shop import SyntheticShop
from tests.simulation.test_slices import at, events_of

SEED = 17


@pytest.fixture(scope="module")
def synthetic(synthetic_shop) -> SyntheticShop:
    return SyntheticShop.build(Simulation(customers=9_000, seed=SEED), synthetic_shop)


@pytest.fixture(scope="module")
def contacts(synthetic) -> pd.DataFrame:
    """Everyone once, by each channel in turn: on a Monday at 19:30 in Amsterdam, which then is 17:30 UTC."""
    ids = synthetic.population.customer_ids
    channel = np.array(synthetic.shop.channels)[np.arange(len(ids)) % 3]
    return pd.DataFrame(
        {"customer_id": ids, "campaign_id": "spring", "channel": channel, "sent_at": pd.Timestamp("2026-05-04 17:30")}
    )


@pytest.fixture(scope="module")
def events(synthetic, contacts) -> pd.DataFrame:
    reactions = Reactions.to(contacts, synthetic)
    start = microseconds(datetime(2026, 5, 4, 17, 30, tzinfo=UTC))
    drawn = reactions.between(start, start + 10 * DAY)
    return click_table(drawn, synthetic.population, synthetic.shop, reactions.campaign_ids).to_pandas()


def truth_of(synthetic: SyntheticShop, contacts: pd.DataFrame) -> np.ndarray:
    channel = contacts["channel"].map(synthetic.shop.channels.index).to_numpy()
    return true_response(synthetic.simulation, synthetic.shop, synthetic.population).probability[
        np.arange(len(contacts)), channel, 0, 2
    ]


def test_a_contact_brings_an_order_as_often_as_the_truth_says_at_the_time_when_it_was_really_sent(synthetic, contacts, events):
    orders = events[events["event_name"] == "purchase"]
    assert orders["customer_id"].is_unique
    p = truth_of(synthetic, contacts)
    reacts = contacts["customer_id"].isin(orders["customer_id"]).to_numpy()
    for rows in [
        *np.array_split(np.argsort(p), 6),
        *(np.flatnonzero(contacts["channel"] == c) for c in synthetic.shop.channels),
    ]:
        error = np.sqrt((p[rows] * (1 - p[rows])).sum()) / len(rows)
        assert abs(reacts[rows].mean() - p[rows].mean()) < 4 * error
    delay = orders["event_at"] - contacts["sent_at"].iloc[0]
    assert delay.min() >= timedelta(minutes=10)
    assert delay.max() < timedelta(days=3)
    assert delay.median() == pytest.approx(pd.Timedelta(hours=20 * np.log(2)), abs=pd.Timedelta(hours=2))


def test_an_order_ends_a_visit_that_carries_the_campaign_and_shows_a_product_to_the_customers_liking(synthetic, events):
    visits = events.dropna(subset=["session_id"]).sort_values("event_at", kind="stable")
    bought = visits[visits["session_id"].isin(visits.loc[visits["event_name"] == "purchase", "session_id"])]
    names = bought.groupby("session_id")["event_name"].agg(list)
    assert {tuple(steps) for steps in names} == {("page_view", "view_item", "add_to_cart", "begin_checkout", "purchase")}
    pages = events[events["event_name"] == "page_view"]
    assert (pages["campaign_id"] == "spring").all()
    assert (pages["utm_campaign"] == "spring").all()
    assert set(zip(pages["utm_source"], pages["utm_medium"], strict=True)) == {
        ("newsletter", "email"),
        ("sms", "sms"),
        ("call", "phone"),
    }
    named = {"page_view", "campaign_delivered", "campaign_opened"}
    assert set(events.loc[events["campaign_id"].notna(), "event_name"]) == named
    truth = pd.DataFrame(synthetic.population.affinity, index=synthetic.population.customer_ids)
    seen = events[events["event_name"] == "view_item"]
    category = (seen["product_id"].str[1:].astype(int) - 1) // 5
    liking = [truth.at[customer, place] for customer, place in zip(seen["customer_id"], category, strict=True)]
    assert np.mean(liking) > 1.5 / 5
    assert events["event_id"].is_unique


def test_messages_are_delivered_and_opened_most_often_by_those_who_come(contacts, events):
    sent = contacts.set_index("customer_id")["channel"]
    delivered = events[events["event_name"] == "campaign_delivered"].set_index("customer_id")["event_at"]
    opened = events[events["event_name"] == "campaign_opened"].set_index("customer_id")["event_at"]
    came = events[events["event_name"] == "page_view"].set_index("customer_id")["event_at"]
    ordered = events.loc[events["event_name"] == "purchase", "customer_id"]
    messages = sent[sent != "call"]
    assert set(delivered.index) <= set(messages.index)
    assert 1 - len(delivered) / len(messages) == pytest.approx(0.01, abs=0.004)
    assert set(ordered[ordered.isin(messages.index)]) <= set(delivered.index)
    assert set(opened.index) <= set(delivered.index)
    assert (opened >= delivered[opened.index]).all()
    both = opened.index.intersection(came.index)
    assert (opened[both] <= came[both]).all()
    emails = messages[messages == "email"].index
    is_open = pd.Series(emails.isin(opened.index), emails)
    assert is_open[emails.isin(ordered)].mean() > 0.8
    assert is_open[~emails.isin(ordered)].mean() < 0.3
    looked_only = set(came.index) - set(ordered)
    assert 0.01 < len(looked_only) / len(sent) < 0.03


def test_reactions_are_the_same_however_time_is_cut_and_whoever_else_is_contacted(synthetic, contacts, events):
    reactions = Reactions.to(contacts.sample(frac=1, random_state=3), synthetic)
    start = microseconds(datetime(2026, 5, 4, 17, 30, tzinfo=UTC))
    edges = [*range(start, start + 4 * DAY, DAY // 7), start + 4 * DAY]
    tables = [
        click_table(reactions.between(start, end), synthetic.population, synthetic.shop, reactions.campaign_ids).to_pandas()
        for start, end in itertools.pairwise(edges)
    ]
    cut = pd.concat(tables).sort_values("event_id", ignore_index=True)
    pd.testing.assert_frame_equal(cut, events.sort_values("event_id", ignore_index=True))
    few = Reactions.to(contacts.iloc[100:300], synthetic)
    table = click_table(few.between(start, start + 4 * DAY), synthetic.population, synthetic.shop, few.campaign_ids).to_pandas()
    expected = events[events["customer_id"].isin(contacts["customer_id"].iloc[100:300])]
    assert set(table["event_id"]) == set(expected["event_id"])
    # and the shop goes on as it would without them
    own = shop_events(synthetic, None, start, start + DAY // 24)
    beside = shop_events(synthetic, reactions, start, start + DAY // 24)
    assert np.isin(own.id_high, beside.id_high).all()
    assert len(beside) == len(own) + len(reactions.between(start, start + DAY // 24))


def test_the_weekday_and_daypart_are_those_of_the_moment_of_sending(synthetic, contacts):
    """Sunday 23:30 UTC is Monday 01:30 in Amsterdam, outside of all dayparts: read on Monday morning."""
    night = Reactions.to(contacts.assign(sent_at=pd.Timestamp("2026-05-03 23:30")), synthetic).contacts
    assert set(night.day) == {0}
    assert set(night.daypart) == {0}
    aware = Reactions.to(contacts.assign(sent_at=pd.Timestamp("2026-05-04 19:30", tz="Europe/Amsterdam")), synthetic).contacts
    plain = Reactions.to(contacts, synthetic).contacts
    assert np.array_equal(aware.key, plain.key)
    assert set(plain.daypart) == {2}


def test_contacts_that_the_shop_cannot_have_made_are_refused_and_strangers_do_not_react(synthetic, contacts):
    with pytest.raises(SimulationError, match="pigeon"):
        Reactions.to(contacts.assign(channel="pigeon"), synthetic)
    with pytest.raises(SimulationError, match="lack sent_at"):
        Reactions.to(contacts.drop(columns="sent_at"), synthetic)
    assert len(Reactions.to(contacts.assign(customer_id="x" + contacts["customer_id"]), synthetic).contacts) == 0
    twice = pd.concat([contacts, contacts])
    assert len(Reactions.to(twice, synthetic).contacts) == len(contacts)


def sent(customers: list[str], moment: datetime) -> pd.DataFrame:
    plain = pd.Timestamp(moment).tz_localize(None)
    return pd.DataFrame(
        {
            "event": "sent",
            "event_at": plain,
            "campaign_id": "spring",
            "plan_version": "spring-1",
            "customer_id": customers,
            "arm": "contact",
            "channel": "email",
        }
    )


def test_live_slices_react_to_what_the_ledger_says_was_sent(synthetic_shop, tmp_path):
    simulation, place = Simulation(customers=800, days=2, seed=8), Place(root=tmp_path)
    simulate_history(simulation, synthetic_shop, place)
    start = synthetic_shop.slices_start
    quiet = simulate_slice(simulation, synthetic_shop, place, start)["total"]["events"]
    ids = SyntheticShop.build(simulation, synthetic_shop).population.customer_ids
    append(place, sent(ids, start), start, "a test")
    report = simulate_slice(simulation, synthetic_shop, place, start)
    events = events_of(place, start)
    delivered = [event for event in events if event["event_name"] == "campaign_delivered"]
    assert report["total"]["events"] == len(events) > quiet + len(delivered)
    assert 0.97 * 800 < len(delivered) < 800
    assert {event["campaign_id"] for event in delivered} == {"spring"}
    assert not any(name in delivered[0] for name in ("visitor_id", "session_id", "device", "utm_campaign"))
    assert all(start <= at(event) < start + synthetic_shop.slice_width for event in events)
    # the ledger stands for the contacts handed in, and none can be handed in too
    handed = sent(ids, start).rename(columns={"event_at": "sent_at"})
    elsewhere = Place(root=tmp_path / "b")
    assert simulate_slice(simulation, synthetic_shop, elsewhere, start, contacts=handed) == report
    assert simulate_slice(simulation, synthetic_shop, place, start, contacts=handed.iloc[:0])["total"]["events"] == quiet


def test_the_validator_takes_every_line_of_the_reactions(tmp_path):
    settings = Settings.load(REPOSITORY / "shops" / "synthetic", tmp_path)
    start = settings.shop.slices_start
    ids = SyntheticShop.build(Simulation(customers=800, seed=8), settings.shop).population.customer_ids
    handed = sent(ids, start).rename(columns={"event_at": "sent_at"})
    total = simulate_slice(Simulation(customers=800, seed=8), settings.shop, settings.place, start, contacts=handed)["total"]
    counts = write_raw_slice(settings, start)
    assert (counts.good, counts.quarantined) == (total["events"], 0)


def test_a_stream_tells_of_contacts_made_in_the_middle_of_a_slice_with_the_next_one(synthetic_shop, tmp_path):
    simulation, place, start = Simulation(customers=300, days=2, seed=8), Place(root=tmp_path), synthetic_shop.slices_start
    ids = SyntheticShop.build(simulation, synthetic_shop).population.customer_ids
    width = synthetic_shop.slice_width
    for arrived in stream(simulation, synthetic_shop, place, start, clock=lambda: 0.0, sleep=lambda seconds: None):
        if arrived.slice_start == start + 2 * width:
            break
        if arrived.slice_start == start:
            append(place, sent(ids, start + timedelta(minutes=5)), start, "a test")
    by_slice = [events_of(place, start + number * width) for number in range(2)]
    names = [[event["event_name"] for event in events] for events in by_slice]
    assert "campaign_delivered" not in names[0]
    assert names[1].count("campaign_delivered") == pytest.approx(297, abs=3)
    early = {event["event_id"] for event in by_slice[1] if at(event) < start + width}
    assert early
    at_once = Place(root=tmp_path / "at_once")
    handed = sent(ids, start + timedelta(minutes=5)).rename(columns={"event_at": "sent_at"})
    for number in range(2):
        simulate_slice(simulation, synthetic_shop, at_once, start + number * width, contacts=handed)
    ids_of = [
        sorted(e["event_id"] for n in range(2) for e in events_of(place_of, start + n * width)) for place_of in (place, at_once)
    ]
    assert ids_of[0] == ids_of[1]
