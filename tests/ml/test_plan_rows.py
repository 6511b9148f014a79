"""Plans of a few customers whose every row can be worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop

from customer360.campaigns.definition import Campaign
from customer360.lake.publishing.tables import TABLES
from customer360.settings import CampaignRules, Shop
from ml.frames import FrameError
from ml.planning.briefs import shadow_prices
from ml.planning.campaign_planning import CampaignPlan, Planning, plan_campaigns
from ml.planning.inputs import PlanningInputs
from ml.planning.predictions import Predicted

AS_OF = datetime(2026, 5, 1, 12, tzinfo=UTC)  # a Friday; plans reach over Saturday and Sunday


def campaign(name: str = "k", **changes: Any) -> Campaign:
    base = {"title": "K", "audience": "everyone", "value_per_conversion": 10, "channels": {"email": {"cost": 1}}}
    return Campaign.model_validate({"campaign_id": name, **base, "holdout_share": 0, "exploration_share": 0, **changes})


@dataclass(frozen=True)
class Desk:
    """Customers C000, C001, ... who allow everything; ``chance`` of each, whatever the contact, unless ``table`` says more."""

    chance: list[float]
    table: dict[str, np.ndarray] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    commitments: tuple[tuple[str, str, str, str, float], ...] = ()
    zone: str | None = None
    without: float = 0.0

    @cached_property
    def shop(self) -> Shop:
        rules = {"days_ahead": 2, "minimum_gap_days": 0, "global_holdout_share": 0, **self.rules}
        return small_shop().model_copy(update={"campaigns": CampaignRules.model_validate(rules)})

    @property
    def ids(self) -> list[str]:
        return [f"C{number:03}" for number in range(len(self.chance))]

    @cached_property
    def inputs(self) -> PlanningInputs:
        rows = list(self.commitments)
        columns = ["customer_id", "campaign_id", "channel", "contact_date", "cost"]
        frame = pd.DataFrame(rows, columns=columns).astype({"cost": "float64"})
        return PlanningInputs(
            customers=pd.DataFrame({"customer_id": self.ids, "segment": "Loyal", "time_zone": self.zone}),
            consents=pd.DataFrame(
                [(customer, channel, True) for customer in self.ids for channel in self.shop.channels],
                columns=["customer_id", "channel", "is_allowed"],
            ),
            suppressions=pd.DataFrame(columns=["customer_id", "channel"], dtype=object),
            commitments=frame.assign(contact_date=pd.to_datetime(frame["contact_date"])),
            salt="salt",
            as_of=AS_OF,
        )

    def predict(self, _: Campaign, ids: pd.Index[str]) -> Predicted:
        chance = dict(zip(self.ids, self.chance, strict=True))
        values = [self.table.get(customer, np.full((3, 7, 3), chance[customer])) for customer in ids]
        conversion = np.array(values, dtype=np.float32).reshape(len(ids), 3, 7, 3)
        return Predicted(conversion, np.full(len(ids), self.without, dtype=np.float32), "m1")

    def planning(self, *campaigns: Campaign) -> Planning:
        everybody = pd.Index(self.ids, dtype="str")
        audiences = {campaign.campaign_id: everybody for campaign in campaigns}
        made = plan_campaigns(campaigns, self.inputs, audiences, self.predict, self.shop)
        assert made.problems == []
        return made

    def plan(self, campaign: Campaign) -> CampaignPlan:
        return self.planning(campaign).plans[0]


def who(plan: CampaignPlan, decision: str = "contact", reason: str | None = None) -> list[str]:
    rows = plan.rows
    chosen = rows["decision"] == decision
    return list(rows.loc[chosen & (rows["reason"] == reason) if reason else chosen, "customer_id"])


def net(plan: CampaignPlan) -> float:
    contacts = plan.rows[plan.rows["decision"] == "contact"]
    return float((contacts["expected_value"] - contacts["cost"]).sum())


def test_a_contact_says_how_when_with_what_and_what_it_is_worth() -> None:
    table = np.full((3, 7, 3), 0.05)
    table[0, 6, 1] = 0.4  # e-mail, Sunday afternoon
    desk = Desk([0.05], {"C000": table}, zone="America/New_York")
    row = desk.plan(campaign(offer_id="O1")).rows.iloc[0]
    assert list(row.index) == list(TABLES["campaign_plan"].frame_types)
    assert (row["decision"], row["channel"], row["daypart"], row["offer_id"]) == ("contact", "email", "afternoon", "O1")
    assert (row["plan_date"], row["contact_date"]) == (pd.Timestamp("2026-05-01"), pd.Timestamp("2026-05-03"))
    assert row["day_of_week"] == 7
    assert row["send_at"] == pd.Timestamp("2026-05-03 16:00")  # noon in New York
    assert (row["expected_conversion"], row["expected_value"]) == (pytest.approx(0.4), pytest.approx(4))
    assert (row["cost"], row["value_basis"], row["model_version"]) == (1, "incremental", "m1")
    assert row["explanation"] == (
        "email on Sunday afternoon, for 1.00: 40.0% expected to order, worth 4.00 EUR more than without"
    )


def test_where_the_basis_is_the_effect_values_are_what_the_contact_adds() -> None:
    row = Desk([0.5], without=0.2).plan(campaign()).rows.iloc[0]
    assert (row["expected_conversion"], row["expected_value"]) == (pytest.approx(0.5), pytest.approx(3))
    assert row["value_basis"] == "incremental"
    assert "worth 3.00 EUR more than without" in row["explanation"]


def test_those_left_out_have_one_reason_each_and_no_contact() -> None:
    # 10 * .05 - 1 < 0; of the three others the budget pays for the two best
    plan = Desk([0.9, 0.05, 0.3, 0.7]).plan(campaign(budget=2))
    assert who(plan) == ["C000", "C003"]
    assert who(plan, "left out", "budget") == ["C002"]
    assert who(plan, "left out", "below zero value") == ["C001"]
    out = plan.rows[plan.rows["decision"] == "left out"]
    assert out[["channel", "contact_date", "daypart", "send_at", "expected_value", "cost"]].isna().all(axis=None)


def test_where_every_worthy_channel_day_is_full_the_reason_is_capacity_even_if_money_is_left() -> None:
    plan = Desk([0.9, 0.8, 0.7]).plan(campaign(budget=100, channels={"email": {"cost": 1, "capacity_per_day": 1}}))
    assert who(plan) == ["C000", "C001"]
    assert who(plan, "left out", "no capacity") == ["C002"]
    assert sorted(plan.rows["contact_date"].dropna()) == [pd.Timestamp("2026-05-02"), pd.Timestamp("2026-05-03")]


def test_the_campaign_of_the_lowest_priority_number_plans_first_and_the_other_says_so() -> None:
    desk = Desk([0.9, 0.8], rules={"minimum_gap_days": 3})
    late, early = campaign("a", priority=2), campaign("b", priority=1, budget=1)
    first, second = desk.planning(late, early).plans
    assert (first.campaign.campaign_id, who(first)) == ("b", ["C000"])
    assert who(second) == ["C001"]
    assert who(second, "left out", "other campaign first") == ["C000"]


def test_capacity_of_the_shop_is_shared_by_all_campaigns_and_with_what_is_committed() -> None:
    committed = (("X", "old", "email", "2026-05-02", 0.0),)
    desk = Desk([0.9, 0.8, 0.7, 0.6], rules={"capacity_per_day": {"email": 2}}, commitments=committed)
    first, second = desk.planning(campaign("a", budget=2, priority=1), campaign("b", priority=2)).plans
    # Saturday has one place left, Sunday two: two go to the first campaign, one to the second.
    assert who(first) == ["C000", "C001"]
    assert len(who(second)) == 1
    contacts = pd.concat([first.rows, second.rows]).query("decision == 'contact'")
    assert contacts["contact_date"].dt.day.value_counts().to_dict() == {2: 1, 3: 2}


def test_what_is_committed_has_used_the_campaigns_budget_and_capacity() -> None:
    committed = (("X", "k", "email", "2026-05-02", 1.5), ("Y", "other", "email", "2026-05-02", 50.0))
    desk = Desk([0.9, 0.8, 0.7, 0.6], commitments=committed)
    plan = desk.plan(campaign(budget=3.6))
    assert who(plan) == ["C000", "C001"]  # 2.1 is left
    assert (plan.limits.budget, plan.limits.spent) == (pytest.approx(2.1), pytest.approx(2))
    full = desk.plan(campaign(channels={"email": {"cost": 1, "capacity_per_day": 1}}))
    assert full.limits.capacity[:2].tolist() == [0, 1]
    assert who(full) == ["C000"]


MANY = [0.11 + 0.0019 * number for number in range(300)]


def test_a_holdout_is_of_those_who_would_be_contacted_costs_nothing_and_stays_from_plan_to_plan() -> None:
    desk = Desk(MANY, rules={"global_holdout_share": 0.1})
    first, second = desk.planning(campaign("a", holdout_share=0.2), campaign("b", holdout_share=0.2)).plans
    of_all = [set(plan.rows.loc[plan.rows["holdout"] == "global", "customer_id"]) for plan in (first, second)]
    own = [set(plan.rows.loc[plan.rows["holdout"] == "campaign", "customer_id"]) for plan in (first, second)]
    assert of_all[0] == of_all[1]
    # Four standard errors: 30 +- 21 of 300, and 54 +- 27 of the other 270.
    assert 9 <= len(of_all[0]) <= 51
    assert all(27 <= len(held) <= 81 for held in own)
    assert own[0] != own[1]
    assert first.rows.loc[first.rows["decision"] == "holdout", "cost"].eq(0).all()
    later = replace(desk.inputs, as_of=datetime(2026, 5, 8, 12, tzinfo=UTC))
    everybody = pd.Index(desk.ids, dtype="str")
    again = plan_campaigns([campaign("a", holdout_share=0.2)], later, {"a": everybody}, desk.predict, desk.shop).plans[0]
    assert set(who(again, "holdout")) == of_all[0] | own[0]
    assert again.day != first.day
    poor = desk.plan(campaign("a", holdout_share=0.2, budget=100))
    assert len(who(poor)) == 100
    assert set(who(poor, "holdout")) < of_all[0] | own[0]


def test_one_more_euro_brings_what_its_shadow_price_says() -> None:
    desk = Desk(MANY)
    plan = desk.plan(campaign(budget=50))
    more = desk.plan(campaign(budget=51))
    # the 51st best: 10 * (.11 + .0019 * 249) - 1 = 4.831 for 1 euro
    assert net(more) - net(plan) == pytest.approx(4.831, abs=1e-4)
    assert plan.limits.budget_price == pytest.approx(4.831, abs=1e-3)
    assert shadow_prices(plan, desk.shop) == ["one more EUR of budget brings 4.83 EUR"]


def test_one_more_contact_brings_what_its_shadow_price_says() -> None:
    table = {f"C{number:03}": np.zeros((3, 7, 3)) for number in range(60)}
    for number, chance in enumerate(table.values()):
        chance[0, 5], chance[0, 6] = 0.3 + 0.01 * number, 0.2 + 0.005 * number  # Saturday beside Sunday
    desk = Desk([0.0] * 60, table, rules={"capacity_per_day": {"email": 10}})
    plan = desk.plan(campaign())
    for day, price in enumerate(plan.limits.price[:2]):
        freed = (("X", "other", "email", f"2026-05-0{3 - day}", 0.0),)  # one less on the other day, one more on both
        looser = replace(desk, rules={"capacity_per_day": {"email": 11}}, commitments=freed)
        assert net(looser.plan(campaign())) - net(plan) == pytest.approx(price, abs=1e-3)
        assert price > 0.5
    sentences = shadow_prices(plan, desk.shop)
    assert sentences[0] == f"one more email on Saturday 02 May brings {plan.limits.price[0]:.2f} EUR"
    assert sentences[1] == f"one more email on Sunday 03 May brings {plan.limits.price[1]:.2f} EUR"


def test_where_no_limit_binds_more_of_it_brings_nothing() -> None:
    desk = Desk([0.9, 0.8])
    plan = desk.plan(campaign(budget=100))
    assert plan.limits.budget_price == 0
    assert shadow_prices(plan, desk.shop) == ["no limit binds: more budget or capacity would bring nothing"]


def test_explorers_are_marked_and_take_their_drawn_contact_or_none() -> None:
    desk = Desk([0.5] * 200)
    plan = desk.plan(campaign(exploration_share=1, channels={"email": {"cost": 1}, "sms": {"cost": 1}}))
    contacts = plan.rows[plan.rows["decision"] == "contact"]
    assert len(contacts) == 200
    assert contacts["is_exploration"].all()
    assert contacts["explanation"].str.contains("drawn at random to learn from").all()
    # 2 channels x 2 days x 3 dayparts
    assert len(contacts.drop_duplicates(["channel", "contact_date", "daypart"])) == 12


def test_customers_given_twice_and_missing_columns_are_named() -> None:
    desk = Desk([0.5, 0.5])
    twice = replace(desk.inputs, customers=pd.concat([desk.inputs.customers] * 2))
    with pytest.raises(FrameError, match="customer_id twice"):
        plan_campaigns([], twice, {}, desk.predict, desk.shop)
    lacking = replace(desk.inputs, consents=desk.inputs.consents.drop(columns="is_allowed"))
    with pytest.raises(FrameError, match="is_allowed"):
        plan_campaigns([], lacking, {}, desk.predict, desk.shop)


def test_an_audience_without_customers_has_a_plan_without_rows() -> None:
    desk = Desk([0.5])
    made = plan_campaigns([campaign()], desk.inputs, {"k": pd.Index([], dtype="str")}, desk.predict, desk.shop)
    assert made.problems == []
    assert len(made.rows) == 0
    assert made.rows.dtypes.astype(str).to_dict() == desk.planning(campaign()).rows.dtypes.astype(str).to_dict()
