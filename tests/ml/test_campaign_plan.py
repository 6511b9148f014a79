from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop

from customer360.settings import Shop
from ml.frames import FrameError
from ml.planning.holdout import in_holdout
from ml.planning.offer_choice import Choice, choose
from ml.planning.plan_inputs import PlanInputs
from ml.planning.planning import PLAN_COLUMNS, plan_campaign
from ml.planning.shrinkage import expit

PLAN_DATE = date(2026, 5, 1)  # a Friday
SEGMENTS = np.array(["At Risk", "Champions", "Loyal", "New"], dtype=object)
HOURS = np.array([9, 14, 20])


def frame(columns: str, rows: list[tuple[object, ...]] | None = None) -> pd.DataFrame:
    return pd.DataFrame(rows or [], columns=columns.split())


OFFERS = frame(
    "offer_id category_id product_id priority starts_on ends_on",
    [
        ("fit-second", "fitness", None, 2, None, None),
        ("fit-first", "fitness", None, 1, None, None),
        ("fit-ended", "fitness", None, 0, date(2026, 1, 1), date(2026, 4, 30)),
        ("general", None, None, 9, None, None),
    ],
)
CAMPAIGNS = frame(
    "campaign_id offer_id starts_on ends_on",
    [
        ("spring", "fit-first", None, None),
        ("encore", "fit-second", None, None),
        ("over", "fit-ended", None, None),
        ("news", "general", date(2026, 5, 3), date(2026, 5, 31)),
    ],
)


def made_inputs(
    shop: Shop, customers: int = 400, *, seed: int = 1, truth: np.ndarray | None = None, touches_each: int = 5
) -> PlanInputs:
    """Four segments, touches at random combinations that convert by ``truth`` (segment x channel x day x daypart)."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"c{number:05d}" for number in range(customers)], dtype=object)
    segment = rng.integers(0, 4, customers)
    count = customers * touches_each
    who = rng.integers(0, customers, count)
    channel, day, daypart = (rng.integers(0, size, count) for size in (3, 7, 3))
    probability = np.full(count, 0.1) if truth is None else truth[segment[who], channel, day, daypart]
    touches = pd.DataFrame(
        {
            "customer_id": ids[who],
            "campaign_id": "past",
            "channel": np.array(shop.channels, dtype=object)[channel],
            "day_of_week": day + 1,
            "local_hour": HOURS[daypart],
            "is_converted": rng.random(count) < probability,
            "touched_at": pd.Timestamp("2026-04-01 10:00") + pd.to_timedelta(rng.integers(0, 20, count), unit="D"),
        }
    )
    consents = pd.DataFrame(
        {
            "customer_id": np.repeat(ids, 3),
            "channel": np.tile(np.array(shop.channels, dtype=object), customers),
            "is_allowed": rng.random(3 * customers) < 0.6,
        }
    )
    scores = pd.DataFrame(
        {
            "customer_id": np.repeat(ids, 2),
            "category_id": np.tile(np.array(["none", "fitness"], dtype=object), customers),
            "probability": np.tile([0.7, 0.3], customers),
            "rank": np.tile([1, 2], customers),
            "model_version": "v1",
        }
    )
    people = pd.DataFrame({"customer_id": ids, "segment": SEGMENTS[segment]})
    bought = frame("customer_id day_of_week local_hour orders")
    return PlanInputs(people, consents, touches, bought, scores, CAMPAIGNS, OFFERS)


def allow_everything(inputs: PlanInputs) -> PlanInputs:
    return replace(inputs, consents=inputs.consents.assign(is_allowed=True))


def test_every_customer_has_exactly_one_decision_and_a_reason() -> None:
    shop = small_shop()
    inputs = made_inputs(shop)
    plan = plan_campaign(inputs, shop, PLAN_DATE)
    assert plan["customer_id"].tolist() == sorted(inputs.customers["customer_id"])
    assert set(plan["decision"]) == {"contact", "holdout", "left out"}
    assert plan["reason"].str.len().min() > 10
    assert {column: str(kind) for column, kind in plan.dtypes.items()} == PLAN_COLUMNS
    contacts = plan[plan["decision"] == "contact"]
    assert contacts[["channel", "contact_date", "day_of_week", "daypart", "expected_conversion"]].notna().all().all()
    assert plan.loc[plan["decision"] != "contact", ["channel", "contact_date", "daypart"]].isna().all().all()


def test_a_contact_lies_in_the_next_seven_days_on_the_weekday_that_it_names() -> None:
    shop = small_shop()
    plan = plan_campaign(made_inputs(shop), shop, PLAN_DATE)
    contacts = plan[plan["decision"] == "contact"]
    ahead = (contacts["contact_date"] - pd.Timestamp(PLAN_DATE)).dt.days
    assert ahead.between(1, 7).all()
    assert (contacts["contact_date"].dt.dayofweek + 1 == contacts["day_of_week"]).all()
    assert contacts["day_of_week"].nunique() > 1


def test_consent_is_never_violated() -> None:
    shop = small_shop()
    inputs = made_inputs(shop, 1000)
    plan = plan_campaign(inputs, shop, PLAN_DATE)
    allowed = set(
        inputs.consents.loc[inputs.consents["is_allowed"], ["customer_id", "channel"]].itertuples(index=False, name=None)
    )
    contacts = plan.loc[plan["decision"] == "contact", ["customer_id", "channel"]]
    assert set(contacts.itertuples(index=False, name=None)) <= allowed
    without = set(inputs.customers["customer_id"]) - {customer for customer, _ in allowed}
    assert without
    left_out = plan[plan["customer_id"].isin(without)]
    assert set(left_out["decision"]) == {"left out"}
    assert set(left_out["reason"]) == {"no consent for any channel"}


def test_a_missing_or_contradictory_consent_means_no() -> None:
    shop = small_shop(contact_rules={"holdout_share": 0})
    inputs = made_inputs(shop, 3)
    consents = frame(
        "customer_id channel is_allowed",
        [("c00000", "email", None), ("c00001", "sms", True), ("c00001", "sms", False), ("c00002", "call", True)],
    )
    plan = plan_campaign(replace(inputs, consents=consents), shop, PLAN_DATE)
    assert plan["decision"].tolist() == ["left out", "left out", "contact"]
    assert plan["channel"].iloc[2] == "call"


def test_the_holdout_is_stable_and_about_a_tenth() -> None:
    ids = [f"c{number}" for number in range(20_000)]
    drawn = in_holdout(ids, "salt", 0.1)
    # Four standard errors: 4 * sqrt(.1 * .9 / 20000).
    assert abs(drawn.mean() - 0.1) < 0.0085
    assert (in_holdout(ids[::-1], "salt", 0.1)[::-1] == drawn).all()
    # By `printf salt:c4 | sha256sum`: c4 is 0d../100 = .05 of the way, c0 2c (.17), c3 51 (.32).
    assert in_holdout(["c4", "c0", "c3"], "salt", 0.1).tolist() == [True, False, False]
    assert in_holdout(["c4", "c0", "c3"], "salt", 0.2).tolist() == [True, True, False]
    assert not in_holdout(ids, "salt", 0).any()
    assert (in_holdout(ids, "salt", 0.2) >= drawn).all()
    other = in_holdout(ids, "pepper", 0.1)
    assert 0.005 < (other & drawn).mean() < 0.015


def test_the_holdout_is_the_same_on_every_day_and_keeps_what_would_have_been_sent() -> None:
    shop = small_shop()
    inputs = allow_everything(made_inputs(shop, 1000))
    first, later = (plan_campaign(inputs, shop, day) for day in (PLAN_DATE, date(2026, 6, 9)))
    held = first[first["decision"] == "holdout"]
    assert 70 < len(held) < 130
    assert held["customer_id"].tolist() == later.loc[later["decision"] == "holdout", "customer_id"].tolist()
    assert held["campaign_id"].notna().all()
    assert held["expected_conversion"].notna().all()
    assert held["reason"].iloc[0] == "in the 10% holdout, which is never contacted: it shows what contacts bring"


def test_the_gap_since_the_last_touch_is_kept_in_shop_local_days() -> None:
    shop = small_shop(contact_rules={"holdout_share": 0, "minimum_gap_days": 5})
    inputs = allow_everything(made_inputs(shop, 200))
    # 22:30 UTC on 30 April is 1 May in Amsterdam: 6 May is the first day five days later.
    # Without times in touches and purchases all days are equal, and the first possible one is taken.
    touched = inputs.touches.assign(touched_at=pd.Timestamp("2026-04-30 22:30"), day_of_week=None, local_hour=None)
    plan = plan_campaign(replace(inputs, touches=touched), shop, PLAN_DATE)
    touched_customers = plan["customer_id"].isin(set(touched["customer_id"]))
    assert plan.loc[touched_customers, "contact_date"].unique().tolist() == [pd.Timestamp("2026-05-06")]
    # Nine days are more than the plan reaches.
    strict = small_shop(contact_rules={"holdout_share": 0, "minimum_gap_days": 9})
    plan = plan_campaign(replace(inputs, touches=touched), strict, PLAN_DATE)
    assert set(plan.loc[touched_customers, "decision"]) == {"left out"}
    assert set(plan.loc[touched_customers, "reason"]) == {"contacted less than 9 days before each of the next 7 days"}


def test_the_order_of_the_input_rows_changes_nothing() -> None:
    shop = small_shop()
    inputs = made_inputs(shop)
    shuffled = PlanInputs(*(getattr(inputs, name).sample(frac=1, random_state=3) for name in inputs.__dataclass_fields__))
    first, again = plan_campaign(inputs, shop, PLAN_DATE), plan_campaign(shuffled, shop, PLAN_DATE)
    pd.testing.assert_frame_equal(first, again)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_where_segments_differ_the_plan_beats_chance_and_the_best_single_combination(seed: int) -> None:
    shop = small_shop(contact_rules={"holdout_share": 0, "minimum_gap_days": 0})
    rng = np.random.default_rng(seed)
    effects = [rng.normal(0, 0.9, (4, size)) for size in (3, 7, 3)]
    truth = expit(-2.5 + effects[0][:, :, None, None] + effects[1][:, None, :, None] + effects[2][:, None, None, :])
    inputs = allow_everything(made_inputs(shop, 3000, seed=seed, truth=truth))
    plan = plan_campaign(inputs, shop, PLAN_DATE)
    segment = np.searchsorted(SEGMENTS, plan["segment"].to_numpy(dtype=object))
    channel = plan["channel"].map({name: place for place, name in enumerate(shop.channels)}).to_numpy(int)
    daypart = plan["daypart"].map({name: place for place, name in enumerate(shop.dayparts)}).to_numpy(int)
    reached = truth[segment, channel, plan["day_of_week"].to_numpy(int) - 1, daypart].mean()
    by_combination = truth[segment].mean(axis=0)
    oracle = truth.reshape(4, -1).max(axis=1)[segment].mean()
    assert reached > 2 * by_combination.mean()
    # At least half of what there is to gain over the best single combination.
    assert reached > (by_combination.max() + oracle) / 2
    # What it expects is about what comes, averaged over customers (the best of many is a little too hopeful).
    assert float(plan["expected_conversion"].mean()) == pytest.approx(reached, rel=0.25)


def test_where_touches_do_not_say_when_customers_are_reached_as_they_buy() -> None:
    shop = small_shop(contact_rules={"holdout_share": 0, "minimum_gap_days": 0})
    inputs = allow_everything(made_inputs(shop, 300))
    timeless = inputs.touches.assign(day_of_week=None, local_hour=None)
    ids = inputs.customers["customer_id"].tolist()
    # Even customers buy on Mondays at 9, odd ones on Thursdays at 20; the last one never bought.
    bought = [(customer, 1, 9, 12) if number % 2 == 0 else (customer, 4, 20, 12) for number, customer in enumerate(ids[:-1])]
    times = frame("customer_id day_of_week local_hour orders", bought)
    plan = plan_campaign(replace(inputs, touches=timeless, purchase_times=times), shop, PLAN_DATE)
    assert plan["day_of_week"].iloc[:4].tolist() == [1, 4, 1, 4]
    assert plan["daypart"].iloc[:4].tolist() == ["morning", "evening", "morning", "evening"]
    assert plan["contact_date"].iloc[0] == pd.Timestamp("2026-05-04")
    assert set(plan["day_of_week"]) == {1, 4}
    assert "(day and daypart as customers buy)" in plan["reason"].iloc[0]


def test_without_channels_in_the_touches_the_first_channel_with_consent_is_taken() -> None:
    shop = small_shop(contact_rules={"holdout_share": 0})
    inputs = made_inputs(shop)
    silent = replace(inputs, touches=inputs.touches.assign(channel=None))
    plan = plan_campaign(silent, shop, PLAN_DATE)
    yes = inputs.consents[inputs.consents["is_allowed"]].drop_duplicates("customer_id")
    first = yes.set_index("customer_id")["channel"]
    contacts = plan[plan["decision"] == "contact"].set_index("customer_id")["channel"]
    assert contacts.to_dict() == first.to_dict()


def test_a_shop_without_any_history_still_gets_a_plan() -> None:
    shop = small_shop(contact_rules={"holdout_share": 0})
    inputs = allow_everything(made_inputs(shop, 5))
    new = replace(inputs, touches=inputs.touches.iloc[:0], scores=inputs.scores.iloc[:0], campaigns=CAMPAIGNS.iloc[:0])
    plan = plan_campaign(new, shop, PLAN_DATE)
    assert set(plan["decision"]) == {"contact"}
    assert set(plan["channel"]) == {"email"}
    assert set(plan["contact_date"]) == {pd.Timestamp("2026-05-02")}
    assert plan["model_version"].isna().all()
    nobody = replace(new, customers=new.customers.iloc[:0])
    assert plan_campaign(nobody, shop, PLAN_DATE).empty


def test_the_reason_of_a_contact_says_how_when_and_why() -> None:
    shop = small_shop(contact_rules={"holdout_share": 0})
    plan = plan_campaign(allow_everything(made_inputs(shop)), shop, PLAN_DATE)
    row = plan.iloc[0]
    assert row["reason"] == (
        f"{row['channel']} on {row['contact_date']:%A} {row['daypart']}: {row['expected_conversion']:.1%} expected to convert, "
        f"segment {row['segment']}; next likely in fitness, offer fit-first"
    )
    assert (row["campaign_id"], row["offer_id"], row["model_version"]) == ("spring", "fit-first", "v1")


def test_the_campaign_follows_category_priority_and_dates() -> None:
    categories = ["computers", "fitness"]
    early = choose(CAMPAIGNS, OFFERS, categories, date(2026, 5, 2))
    assert early["fitness"] == Choice("spring", "fit-first")
    # "news" starts on 3 May; before, there is nothing for computers, nor for a customer without a category.
    assert early["computers"] == early[None] == Choice(None, None)
    later = choose(CAMPAIGNS, OFFERS, categories, date(2026, 5, 3))
    assert later["fitness"] == Choice("spring", "fit-first")
    assert later["computers"] == later[None] == Choice("news", "general")
    before = choose(CAMPAIGNS, OFFERS, categories, date(2026, 4, 30))
    assert before["fitness"] == Choice("over", "fit-ended")
    assert choose(CAMPAIGNS.iloc[:0], OFFERS, categories, date(2026, 5, 2))["fitness"] == Choice(None, "fit-first")
    plain = frame("campaign_id offer_id starts_on ends_on", [("plain", None, None, None), ("lost", "unknown", None, None)])
    assert choose(plain, OFFERS, categories, date(2026, 5, 2))["fitness"] == Choice("plain", "fit-first")


def test_unknown_channels_repeated_customers_and_missing_columns_are_named() -> None:
    shop = small_shop()
    inputs = made_inputs(shop, 5)
    with pytest.raises(FrameError, match="fax"):
        plan_campaign(replace(inputs, touches=inputs.touches.assign(channel="fax")), shop, PLAN_DATE)
    twice = pd.concat([inputs.customers, inputs.customers.iloc[:1]])
    with pytest.raises(FrameError, match="names c00000 twice"):
        plan_campaign(replace(inputs, customers=twice), shop, PLAN_DATE)
    with pytest.raises(FrameError, match="touches lacks local_hour"):
        plan_campaign(replace(inputs, touches=inputs.touches.drop(columns="local_hour")), shop, PLAN_DATE)
