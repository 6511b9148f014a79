"""Properties of plans on random shops, customers and campaigns, and of allocations beside exhaustive search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_frames import small_shop

from customer360.campaigns.definition import Campaign, load_campaigns
from customer360.settings import CampaignRules, FrequencyCap, Shop
from ml.frames import FrameError
from ml.planning.allocation.allocate import allocate
from ml.planning.allocation.problem import Prices, Problem
from ml.planning.allocation.programs import Columns, integer, relax
from ml.planning.campaign_planning import Planning, plan_campaigns
from ml.planning.inputs import PlanningInputs
from ml.planning.predictions import Predicted
from ml.planning.violations import violations

pytestmark = pytest.mark.full

ZONES = ["Europe/Amsterdam", "America/New_York", "Asia/Kolkata", None]
AS_OF = datetime(2026, 3, 26, 12, tzinfo=UTC)  # plans reach over the night in which Amsterdam's clocks go forward
SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class PlanningCase:
    """A shop, its campaigns by priority, what plans are made of, and P(convert) of each customer."""

    shop: Shop
    campaigns: list[Campaign]
    inputs: PlanningInputs
    audiences: dict[str, pd.Index[str]]
    conversion: dict[str, np.ndarray]

    def predict(self, campaign: Campaign, ids: pd.Index[str]) -> Predicted:
        shape = (len(ids), len(self.shop.channels), 7, len(self.shop.dayparts))
        chance = np.array([self.conversion[customer] for customer in ids], dtype=np.float32).reshape(shape)
        return Predicted(chance, np.zeros(len(ids), dtype=np.float32), None)

    def plan(self) -> Planning:
        planning = plan_campaigns(self.campaigns, self.inputs, self.audiences, self.predict, self.shop)
        assert planning.problems == []
        return planning

    def with_campaign(self, **changes: Any) -> PlanningCase:
        return replace(self, campaigns=[self.campaigns[0].model_copy(update=changes), *self.campaigns[1:]])


def planning_case(seed: int, customers: int = 14) -> PlanningCase:
    """A random case; each rule is set in a part of the cases."""
    rng = np.random.default_rng(seed)

    def maybe(value: Any) -> Any:
        return value if rng.random() < 0.6 else None

    def cap() -> FrequencyCap | None:
        return maybe(FrequencyCap(contacts=int(rng.integers(1, 3)), days=int(rng.integers(1, 9))))

    rules = CampaignRules(
        days_ahead=int(rng.integers(1, 6)),
        minimum_gap_days=int(rng.integers(0, 4)),
        frequency_cap=cap(),
        capacity_per_day={"sms": int(rng.integers(0, 3))} if rng.random() < 0.5 else {},
        global_holdout_share=float(rng.choice([0.0, 0.2])),
    )
    shop = small_shop().model_copy(update={"campaigns": rules})
    ids = [f"C{number:02}" for number in range(customers)]
    campaigns = []
    for place in range(int(rng.integers(1, 4))):
        start = int(rng.integers(0, 20))
        channels = {
            name: {"cost": float(rng.choice([0, 0.07, 0.5, 1])), "capacity_per_day": maybe(int(rng.integers(0, 4)))}
            for name in rng.permutation(shop.channels)[: rng.integers(1, 4)]
        }
        caps = {"overall": cap(), "channels": {name: limit for name in channels if (limit := cap())}}
        hours = {"from": start, "to": int(rng.integers(max(start + 1, 8), 25))}
        campaigns.append(
            Campaign.model_validate(
                {
                    "campaign_id": f"k{place}",
                    "title": "K",
                    "audience": "everyone",
                    "value_per_conversion": float(rng.integers(1, 6)),
                    "budget": maybe(float(rng.integers(0, 6))),
                    "channels": channels,
                    "send_windows": [
                        {**hours, "days": [int(weekday) + 1 for weekday in rng.permutation(7)[: rng.integers(2, 8)]]}
                    ],
                    "frequency_caps": caps,
                    "minimum_gap_days": int(rng.integers(0, 3)),
                    "ends_on": maybe("2026-03-29"),
                    "priority": place + 1,
                    "holdout_share": float(rng.choice([0.0, 0.3])),
                    "exploration_share": float(rng.choice([0.0, 0.3])),
                }
            )
        )
    answers = [
        (customer, name, bool(rng.random() < 0.7))
        for customer in ids
        for name in shop.channels
        for _ in range(rng.integers(0, 3))
    ]
    barred = [(customer, rng.choice(["email", "sms", None])) for customer in ids if rng.random() < 0.15]
    before = [
        (
            str(rng.choice(ids)),
            str(rng.choice(["k0", "old"])),
            str(rng.choice(shop.channels)),
            pd.Timestamp(2026, 3, 20) + timedelta(days=int(rng.integers(0, 14))),
            float(rng.choice([0, 0.5])),
        )
        for _ in range(rng.integers(0, 6))
    ]
    inputs = PlanningInputs(
        customers=pd.DataFrame({"customer_id": ids, "segment": "Loyal", "time_zone": rng.choice(ZONES, customers)}),
        consents=pd.DataFrame(answers, columns=["customer_id", "channel", "is_allowed"]).astype({"is_allowed": "boolean"}),
        suppressions=pd.DataFrame(barred, columns=["customer_id", "channel"]).astype(object),
        commitments=pd.DataFrame(before, columns=["customer_id", "campaign_id", "channel", "contact_date", "cost"]).astype(
            {"contact_date": "datetime64[us]", "cost": "float64"}
        ),
        salt=f"salt {seed}",
        as_of=AS_OF,
    )
    audiences = {campaign.campaign_id: pd.Index([c for c in ids if rng.random() < 0.8], dtype="str") for campaign in campaigns}
    conversion = {customer: (rng.random((3, 7, 3)) * rng.random()).astype(np.float32) for customer in ids}
    return PlanningCase(shop, campaigns, inputs, audiences, conversion)


def contacts_of(planning: Planning) -> pd.DataFrame:
    return planning.rows[planning.rows["decision"] == "contact"]


def net_value(planning: Planning) -> float:
    contacts = contacts_of(planning)
    return float((contacts["expected_value"] - contacts["cost"]).sum())


@given(SEEDS)
@settings(max_examples=60)
def test_no_plan_breaks_a_rule_and_every_customer_of_the_audience_has_one_row(seed: int) -> None:
    made = planning_case(seed)
    rows = made.plan().rows
    for campaign_id, audience in made.audiences.items():
        assert sorted(rows.loc[rows["campaign_id"] == campaign_id, "customer_id"]) == sorted(audience)
    assert rows["explanation"].str.len().gt(10).all()
    assert rows.loc[rows["decision"] != "contact", "cost"].fillna(0).eq(0).all()
    assert violations(rows, made.campaigns, made.audiences, made.inputs, made.shop) == []
    # Consents, budgets, capacities and send windows are computed here independently of ``violations``.
    contacts = rows[rows["decision"] == "contact"]
    refusals = made.inputs.consents[~made.inputs.consents["is_allowed"].fillna(value=False).astype(bool)]
    assert not set(zip(contacts["customer_id"], contacts["channel"], strict=True)) & set(
        zip(refusals["customer_id"], refusals["channel"], strict=True)
    )
    zones = made.inputs.customers.set_index("customer_id")["time_zone"].fillna(made.shop.time_zone)
    for campaign in made.campaigns:
        own = contacts[contacts["campaign_id"] == campaign.campaign_id]
        before = made.inputs.commitments.query("campaign_id == @campaign.campaign_id")
        spent = own["cost"].sum()
        # more than the budget may have been committed before; then only what is free can follow
        assert campaign.budget is None or spent <= max(campaign.budget - before["cost"].sum(), 0) + 1e-9
        for (channel, day), count in own.groupby(["channel", "contact_date"]).size().items():
            limit = campaign.channels[channel].capacity_per_day
            committed = ((before["channel"] == channel) & (before["contact_date"] == day)).sum()
            assert limit is None or count + committed <= limit
        window = campaign.send_windows[0]
        for row in own.itertuples():
            local = row.send_at.tz_localize("UTC").tz_convert(ZoneInfo(zones[row.customer_id]))
            assert window.start <= local.hour < window.end and local.isoweekday() in window.days
            assert date(2026, 3, 26) < local.date() <= date(2026, 3, 26) + timedelta(days=made.shop.campaigns.days_ahead)


@given(SEEDS, st.floats(0, 5), st.floats(0, 5))
@settings(max_examples=15)
def test_a_larger_budget_never_lowers_the_planned_value(seed: int, budget: float, other_budget: float) -> None:
    made = planning_case(seed)
    alone = replace(made, campaigns=made.campaigns[:1], audiences={"k0": made.audiences["k0"]})
    small, large = (net_value(alone.with_campaign(budget=money).plan()) for money in sorted([budget, other_budget]))
    assert large >= small - 1e-5 * max(small, 1)


@given(SEEDS)
@settings(max_examples=8)
def test_the_order_of_the_input_rows_is_of_no_matter_and_a_rerun_makes_the_same_plan(seed: int) -> None:
    made = planning_case(seed)
    first = made.plan().rows
    pd.testing.assert_frame_equal(made.plan().rows, first)
    frames = ("customers", "consents", "suppressions", "commitments")
    mixed = {name: getattr(made.inputs, name).sample(frac=1, random_state=seed % 1000) for name in frames}
    shuffled = replace(
        made,
        inputs=replace(made.inputs, **mixed),
        campaigns=made.campaigns[::-1],
        audiences={name: ids[::-1] for name, ids in made.audiences.items()},
    )
    pd.testing.assert_frame_equal(shuffled.plan().rows, first)


@given(SEEDS)
@settings(max_examples=10)
def test_the_same_plan_has_the_same_version_and_another_one_another(seed: int) -> None:
    made = planning_case(seed)
    first = made.plan().plans[0].rows
    richer = made.with_campaign(value_per_conversion=made.campaigns[0].value_per_conversion + 1).plan().plans[0].rows
    if len(first):
        assert first["plan_version"].nunique() == 1
        assert str(first["plan_version"].iloc[0]).startswith("k0-2026-03-26-")
        assert first["plan_version"].iloc[0] != richer["plan_version"].iloc[0]


# -- the allocator beside every possible choice --------------------------------------------------------------------------------


def random_problem(seed: int, customers: int, options: int) -> Problem:
    rng = np.random.default_rng(seed)
    value = np.round(rng.normal(1, 1.5, (customers, options)), 2 if rng.random() < 0.3 else 6)
    value[rng.random(value.shape) < 0.2] = -np.inf
    cost = rng.choice([0.0, 0.07, 0.5, 1.0, 2.5], options)
    capacity = rng.choice([0.0, 1.0, 2.0, 3.0, np.inf], options)
    budget = np.inf if rng.random() < 0.2 else float(np.round(rng.random() * customers, 2))
    return Problem(value=value, cost=cost, capacity=capacity, budget=budget)


def best_possible(problem: Problem) -> float:
    """Every choice, customer by customer, with what is left of the limits; money in cents."""
    cents = [round(cost * 100) for cost in problem.cost]

    @cache
    def best(customer: int, left: tuple[float, ...], money: float) -> float:
        if customer == len(problem.value):
            return 0.0
        found = best(customer + 1, left, money)
        for option, value in enumerate(problem.value[customer]):
            if np.isfinite(value) and left[option] >= 1 and cents[option] <= money:
                remaining = (*left[:option], left[option] - 1, *left[option + 1 :])
                found = max(found, float(value) + best(customer + 1, remaining, money - cents[option]))
        return found

    money = np.inf if np.isinf(problem.budget) else round(problem.budget * 100)
    return best(0, tuple(problem.capacity), money)


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """This program makes the HiGHS of scipy 1.17 print a line, whatever its options say."""
    random = np.random.default_rng(51)
    customers, options = int(random.integers(5, 80)), int(random.integers(2, 8))
    value = random.normal(1, 1, (customers, options))
    customer, option = np.nonzero(value > 0)
    units = random.integers(1, 400, options)
    capacity, budget = random.integers(1, customers, options).astype(float), float(random.integers(1, customers * 100))
    chosen, bound = integer(Columns(customer, option, value[customer, option], capacity, budget, units))
    assert 0 < chosen @ value[customer, option] <= bound + 1e-6
    print("what is printed afterwards is seen")  # noqa: T201
    assert capfd.readouterr() == ("what is printed afterwards is seen\n", "")


@given(SEEDS, st.integers(0, 7), st.integers(1, 4))
@settings(max_examples=80)
def test_the_exact_allocation_is_the_best_of_all(seed: int, customers: int, options: int) -> None:
    problem = random_problem(seed, customers, options)
    found = allocate(problem)
    assert problem.is_allowed(found.chosen)
    assert found.method == "exact"
    assert found.value == pytest.approx(best_possible(problem), abs=1e-6)
    assert found.gap == pytest.approx(0, abs=1e-6)


@given(SEEDS, st.integers(2, 8), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=60)
def test_the_allocation_by_prices_keeps_the_limits_and_its_bound_holds(
    seed: int, customers: int, options: int, close: int
) -> None:
    problem = random_problem(seed, customers, options)
    best = best_possible(problem)
    found = allocate(problem, exact_columns=0, sample=2, close=close)
    counts = np.bincount(found.chosen[found.chosen >= 0], minlength=options)
    spent = sum(round(problem.cost[option] * 100) for option in found.chosen if option >= 0)
    assert (counts <= problem.capacity).all()
    assert spent <= problem.budget * 100 + 1e-6
    assert found.value <= best + 1e-6
    assert found.bound >= best - 1e-6
    assert found.gap == pytest.approx(max(0.0, 1 - found.value / found.bound) if found.bound > 0 else 0.0, abs=1e-9)
    assert np.sum([problem.value[row, option] for row, option in enumerate(found.chosen) if option >= 0]) == pytest.approx(
        found.value
    )


@given(SEEDS)
@settings(max_examples=3)
def test_the_allocation_by_prices_is_within_half_a_percent_where_there_are_many_customers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.array([1.0, 1.0, 0.5, 2.0])
    value = 5 * rng.random((1_500, 1)) + rng.random((1_500, 4)) - cost
    problem = Problem(value=value, cost=cost, capacity=np.array([200.0, 150.0, np.inf, 100.0]), budget=400.0)
    found = allocate(problem, exact_columns=0, sample=300, close=200)
    exact = allocate(problem, exact_columns=10_000)
    assert exact.method == "exact" and found.method == "prices"
    assert exact.value * 0.995 <= found.value <= exact.value * (1 + 1e-9)
    assert found.gap < 0.005


def test_the_programs_stay_small_however_many_customers_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear programs over ever more customers once took minutes."""
    rng = np.random.default_rng(1)
    base = rng.beta(1, 4, (20_000, 1, 1))
    value = np.clip(base * rng.uniform(0.3, 2, (20_000, 21, 3)), 0, 1).max(axis=2) * 20 - 1
    problem = Problem(value=value, cost=np.ones(21), capacity=np.full(21, 500.0), budget=6_000.0)
    sizes = []

    def spied(columns: Columns, more: float = 0.0) -> tuple[np.ndarray, Prices]:
        sizes.append(len(np.unique(columns.customer)))
        return relax(columns, more)

    monkeypatch.setattr("ml.planning.allocation.allocate.relax", spied)
    found = allocate(problem)
    assert found.method == "prices"
    assert found.gap < 1e-4
    assert max(sizes) < 10_000


# -- those held out ------------------------------------------------------------------------------------------------------------


def graded(seed: int) -> PlanningCase:
    """Customers who differ in one number only: all have the same options, at one price."""
    made = planning_case(seed, customers=40)
    ids = list(made.inputs.customers["customer_id"])
    rng = np.random.default_rng(seed)
    pattern = rng.random((3, 7, 3)).astype(np.float32)
    campaign = Campaign.model_validate(
        {
            "campaign_id": "k0",
            "title": "K",
            "audience": "everyone",
            "value_per_conversion": 10,
            "budget": float(rng.integers(3, 15)),
            "channels": {name: {"cost": 1, "capacity_per_day": int(rng.integers(1, 6))} for name in made.shop.channels},
            "holdout_share": 0.4,
            "exploration_share": 0,
        }
    )
    answers = pd.DataFrame([(customer, name, True) for customer in ids for name in made.shop.channels])
    inputs = replace(
        made.inputs,
        consents=answers.set_axis(["customer_id", "channel", "is_allowed"], axis=1),
        suppressions=made.inputs.suppressions.head(0),
        commitments=made.inputs.commitments.head(0),
    )
    conversion = {customer: pattern * np.float32(scale) for customer, scale in zip(ids, rng.permutation(40) / 40, strict=True)}
    return PlanningCase(made.shop, [campaign], inputs, {"k0": pd.Index(ids, dtype="str")}, conversion)


@given(SEEDS)
@settings(max_examples=20)
def test_a_customer_who_is_held_out_is_judged_as_if_contacts_were_theirs_to_have(seed: int) -> None:
    made = graded(seed)
    rows = made.plan().rows
    worth = rows["customer_id"].map(lambda customer: float(made.conversion[customer].sum()))
    held = worth[rows["decision"] == "holdout"]
    contacted = worth[rows["decision"] == "contact"]
    out = rows[rows["decision"] == "left out"]
    assert set(out["reason"]) <= {"budget", "no capacity", "below zero value", "outside send window"}
    if not len(contacted):
        return
    # who would be contacted, were the draw another: nobody of them is left out
    drawn = pd.Series([in_draw(customer, made) for customer in rows["customer_id"]], index=rows.index)
    better = drawn & (worth > contacted.min() * 1.001) & (rows["decision"] == "left out")
    assert not better.any()
    assert not (rows["decision"] == "contact")[drawn].any()
    competing = worth[out.index[(out["reason"] == "budget") & ~drawn[out.index]]]
    if len(held) and len(competing):
        assert held.min() >= competing.max() * 0.999


def in_draw(customer: str, made: PlanningCase) -> bool:
    """The lowest hashes are held out, by definition of the holdout; written out once more."""
    salt, campaign = made.inputs.salt, made.campaigns[0]
    shares = {salt: made.shop.campaigns.global_holdout_share, f"{salt}:{campaign.campaign_id}": campaign.holdout_share}
    return any(
        int.from_bytes(sha256(f"{prefix}:{customer}".encode()).digest()[:8], "big") / 2**64 < share
        for prefix, share in shares.items()
    )


@given(SEEDS)
@settings(max_examples=20)
def test_a_customer_who_is_held_out_takes_nothing_from_the_others(seed: int) -> None:
    made = planning_case(seed)
    made = replace(made, campaigns=made.campaigns[:1], audiences={"k0": made.audiences["k0"]}).with_campaign(holdout_share=0.4)
    rows = made.plan().rows
    held = set(rows.loc[rows["decision"] == "holdout", "customer_id"])
    kept = {"k0": made.audiences["k0"][~made.audiences["k0"].isin(list(held))]}
    without = replace(made, audiences=kept).plan().rows
    others = rows[~rows["customer_id"].isin(held)].drop(columns="plan_version").reset_index(drop=True)
    pd.testing.assert_frame_equal(without.drop(columns="plan_version"), others)


# -- campaigns that fail -------------------------------------------------------------------------------------------------------


def test_a_campaign_that_fails_leaves_the_others_planned(tmp_path: Path) -> None:
    made = planning_case(3)
    text = "title: T\naudience: everyone\nvalue_per_conversion: 5\nchannels: {email: {cost: 0.1}}\n"
    for name in ("good", "lost", "strange", "worse"):
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "broken.yaml").write_text("title: [unclosed")
    campaigns, problems = load_campaigns(tmp_path, made.shop)
    assert [(problem.file, problem.field) for problem in problems] == [("broken.yaml", "(whole file)")]
    everybody = pd.Index(made.inputs.customers["customer_id"], dtype="str")

    audiences = {campaign.campaign_id: everybody for campaign in campaigns if campaign.campaign_id != "lost"}

    def predict(campaign: Campaign, ids: pd.Index[str]) -> Predicted:
        if campaign.campaign_id == "strange":
            raise FrameError("the inputs lack the column age")
        found = made.predict(campaign, ids)
        return replace(found, conversion=found.conversion + 2) if campaign.campaign_id == "worse" else found

    planning = plan_campaigns(campaigns, made.inputs, audiences, predict, made.shop)
    assert [plan.campaign.campaign_id for plan in planning.plans] == ["good"]
    assert sorted(planning.rows["customer_id"]) == sorted(everybody)
    messages = {problem.campaign_id: problem.message for problem in planning.problems}
    assert set(messages) == {"strange", "worse"}  # the look-up of audiences reports "lost"
    assert "age" in messages["strange"] and "no probabilities" in messages["worse"]
