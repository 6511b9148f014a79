"""Plans that break a rule, one rule at a time, beside one that breaks none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from published_frames import small_shop

from customer360.campaigns.definition import Campaign
from customer360.settings import CampaignRules, FrequencyCap
from ml.planning.inputs import PlanningInputs
from ml.planning.violations import RULES, violations

SHOP = small_shop().model_copy(
    update={
        "campaigns": CampaignRules(
            minimum_gap_days=2, frequency_cap=FrequencyCap(contacts=2, days=7), capacity_per_day={"sms": 2}
        )
    }
)
FIRST = Campaign.model_validate(
    {
        "campaign_id": "first",
        "title": "First",
        "audience": "everyone",
        "value_per_conversion": 20,
        "budget": 3,
        "channels": {"email": {"cost": 0.5, "capacity_per_day": 1}, "sms": {"cost": 1}},
        "send_windows": [{"days": [1, 2, 3, 4, 5], "from": 9, "to": 17}],
        "ends_on": "2026-05-08",
    }
)
SECOND = FIRST.model_copy(update={"campaign_id": "second", "budget": None})
PLAN_DATE = pd.Timestamp("2026-05-01")  # a Friday
INPUTS = PlanningInputs(
    customers=pd.DataFrame(
        {
            "customer_id": ["C1", "C2", "C3", "C4"],
            "segment": "Loyal",
            "time_zone": ["Europe/Amsterdam"] * 3 + ["America/New_York"],
        }
    ),
    consents=pd.DataFrame(
        [(c, channel, not (c == "C3" and channel == "sms")) for c in ("C1", "C2", "C3", "C4") for channel in ("email", "sms")],
        columns=["customer_id", "channel", "is_allowed"],
    ),
    suppressions=pd.DataFrame({"customer_id": ["C2"], "channel": ["email"]}),
    commitments=pd.DataFrame(
        {
            "customer_id": ["C2", "C9"],
            "campaign_id": ["old", "first"],
            "channel": ["sms", "sms"],
            "contact_date": [pd.Timestamp("2026-05-04")] * 2,
            "cost": [0.0, 1.0],
        }
    ),
    salt="salt",
    as_of=datetime(2026, 5, 1, 9, tzinfo=UTC),
)
AUDIENCES = {"first": pd.Index(["C1", "C2", "C3", "C4"]), "second": pd.Index(["C1"])}


def contact(campaign: str, customer: str, channel: str, send_at: str, daypart: str) -> dict[str, object]:
    """``send_at`` in UTC, of a customer for whom it is of the same day."""
    date = pd.Timestamp(send_at).normalize()
    return {
        "campaign_id": campaign,
        "customer_id": customer,
        "plan_date": PLAN_DATE,
        "decision": "contact",
        "reason": "contact",
        "channel": channel,
        "contact_date": date,
        "day_of_week": date.isoweekday(),
        "daypart": daypart,
        "send_at": pd.Timestamp(send_at),
        "cost": {"email": 0.5, "sms": 1.0}[channel],
    }


def good_plan() -> pd.DataFrame:
    """Monday the 4th is in Amsterdam two hours, in New York four hours off UTC."""
    rows = [
        contact("first", "C1", "email", "2026-05-04 07:00", "morning"),
        contact("first", "C4", "email", "2026-05-05 18:00", "afternoon"),
        contact("second", "C1", "sms", "2026-05-06 07:00", "morning"),
    ]
    left = [{"campaign_id": "first", "customer_id": c, "decision": "left out", "reason": "budget"} for c in ("C2", "C3")]
    return pd.DataFrame(rows + left)


def broken(plan: pd.DataFrame) -> set[str]:
    return {found.rule for found in violations(plan, [FIRST, SECOND], AUDIENCES, INPUTS, SHOP)}


def test_a_plan_within_all_rules_breaks_none() -> None:
    assert broken(good_plan()) == set()


def changed(row: int, **values: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(plan: pd.DataFrame) -> pd.DataFrame:
        for column, value in values.items():
            plan.loc[row, column] = value
        return plan

    return change


def moved(row: int, day: str, send_at: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    date = pd.Timestamp(day)
    return changed(row, contact_date=date, day_of_week=date.isoweekday(), send_at=pd.Timestamp(send_at))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda plan: plan.drop(index=3), "every_customer_once"),
        (lambda plan: pd.concat([plan, plan.tail(1)]), "every_customer_once"),
        (changed(3, reason=None), "every_customer_once"),
        (changed(3, customer_id="stranger"), "every_customer_once"),
        (changed(0, channel="call"), "consent_is_respected"),
        (lambda plan: good_plan_of("C3", "sms", 1.0), "consent_is_respected"),
        (lambda plan: good_plan_of("C2", "email", 0.5), "consent_is_respected"),
        (changed(0, send_at=pd.Timestamp("2026-05-04 06:59")), "send_windows_are_respected"),
        (changed(1, send_at=pd.Timestamp("2026-05-05 21:30")), "send_windows_are_respected"),
        (changed(0, daypart="afternoon"), "send_windows_are_respected"),
        (changed(0, day_of_week=2), "send_windows_are_respected"),
        (moved(0, "2026-05-03", "2026-05-03 07:00"), "send_windows_are_respected"),
        (moved(2, "2026-05-11", "2026-05-11 07:00"), "send_windows_are_respected"),
        (changed(1, plan_date=pd.Timestamp("2026-05-05")), "send_windows_are_respected"),
        (moved(2, "2026-05-05", "2026-05-05 07:00"), "caps_and_gaps_are_respected"),
        (changed(0, cost=0.25), "budgets_are_respected"),
        (moved(1, "2026-05-04", "2026-05-04 18:00"), "capacities_are_respected"),
    ],
)
def test_each_broken_rule_is_found(change: Callable[[pd.DataFrame], pd.DataFrame], rule: str) -> None:
    assert rule in RULES
    assert broken(change(good_plan())) == {rule}


def good_plan_of(customer: str, channel: str, cost: float) -> pd.DataFrame:
    """The plan whose first row is of another customer, whose own row goes."""
    plan = good_plan()
    plan = plan[plan["customer_id"] != customer].reset_index(drop=True)
    return pd.concat([plan, pd.DataFrame([contact("first", customer, channel, "2026-05-07 07:00", "morning")])])


def test_what_was_committed_counts_towards_budget_capacity_cap_and_gap() -> None:
    plan = good_plan()
    plan = plan[plan["customer_id"] != "C2"]
    near = contact("first", "C2", "sms", "2026-05-05 07:00", "morning")
    assert broken(pd.concat([plan, pd.DataFrame([near])], ignore_index=True)) == {"caps_and_gaps_are_respected"}
    # 1 committed and .5 + .5 + 1 planned are the budget of 3; another half is too much
    dear = INPUTS.commitments.assign(cost=1.01)
    far = contact("first", "C2", "sms", "2026-05-07 07:00", "morning")
    spent = pd.concat([plan, pd.DataFrame([far])], ignore_index=True)
    assert broken(spent) == set()
    found = violations(spent, [FIRST, SECOND], AUDIENCES, PlanningInputs(**{**vars(INPUTS), "commitments": dear}), SHOP)
    assert [violation.rule for violation in found] == ["budgets_are_respected"]
    # two more SMS on the day of the second campaign's are one too many for all campaigns together
    three = pd.concat([INPUTS.commitments.assign(contact_date=pd.Timestamp("2026-05-06"), campaign_id="other")] * 2)
    found = violations(good_plan(), [FIRST, SECOND], AUDIENCES, PlanningInputs(**{**vars(INPUTS), "commitments": three}), SHOP)
    assert [(violation.rule, violation.campaign_id) for violation in found] == [("capacities_are_respected", "second")]


def test_a_third_contact_within_a_week_is_too_many_wherever_the_week_begins() -> None:
    before = pd.DataFrame(
        {"customer_id": "C1", "campaign_id": "old", "channel": "sms", "cost": 0.0, "contact_date": [pd.Timestamp("2026-05-10")]}
    )
    inputs = PlanningInputs(**{**vars(INPUTS), "commitments": before})
    found = violations(good_plan(), [FIRST, SECOND], AUDIENCES, inputs, SHOP)
    assert [(violation.rule, violation.campaign_id) for violation in found] == [("caps_and_gaps_are_respected", "second")]
    later = PlanningInputs(**{**vars(INPUTS), "commitments": before.assign(contact_date=pd.Timestamp("2026-05-11"))})
    assert violations(good_plan(), [FIRST, SECOND], AUDIENCES, later, SHOP) == []


def test_a_second_contact_of_a_campaign_is_one_too_many_however_late() -> None:
    before = pd.DataFrame(
        {
            "customer_id": "C1",
            "campaign_id": "first",
            "channel": "sms",
            "cost": 0.0,
            "contact_date": [pd.Timestamp("2026-01-10")],
        }
    )
    inputs = PlanningInputs(**{**vars(INPUTS), "commitments": before})
    found = violations(good_plan(), [FIRST, SECOND], AUDIENCES, inputs, SHOP)
    assert [(violation.rule, violation.campaign_id) for violation in found] == [("caps_and_gaps_are_respected", "first")]
