from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from published_frames import small_shop

from assets.campaigns.campaign_plan import brief_metadata
from customer360.campaigns.definition import Campaign
from customer360.lake.publishing.tables import TABLES
from customer360.settings import CampaignRules
from ml.planning.base_rates import BaseRate, base_rate
from ml.planning.briefs import brief, briefs, to_markdown
from ml.planning.campaign_planning import CampaignPlan, Limits
from ml.planning.predictions import INCREMENTAL, NO_CONTACTS, Predicted

SHOP = small_shop().model_copy(update={"campaigns": CampaignRules(attribution_days=7, days_ahead=2)})
AS_OF = datetime(2026, 5, 1)  # noqa: DTZ001 (published timestamps are plain UTC)
VALUE = 20.0
RATE = BaseRate(0.05, 3, 20)


def plan(
    conversion: list[float] | np.ndarray,
    *,
    without: float = 0.0,
    held: int = 0,
    left_out: tuple[str, ...] = (),
    relative_error: float | None = None,
    effect_error: float = 0.0,
    weight: float = 1.0,
    budget: float = np.inf,
) -> CampaignPlan:
    """Contacts at these probabilities for 1 each, as many held out and left out."""
    chance = np.asarray(conversion, dtype=float)
    gross = (chance - without) * VALUE
    rows = pd.DataFrame(
        {
            "decision": ["contact"] * len(chance) + ["holdout"] * held + ["left out"] * len(left_out),
            "reason": ["contact"] * len(chance) + ["holdout"] * held + list(left_out),
            "expected_conversion": [*chance, *[0.5] * held, *[None] * len(left_out)],
            "expected_value": [*gross, *[10.0] * held, *[None] * len(left_out)],
            "cost": [*[1.0] * len(chance), *[0.0] * held, *[None] * len(left_out)],
        }
    ).astype({"expected_conversion": "Float64", "expected_value": "Float64", "cost": "Float64"})
    rows = rows.assign(is_exploration=False, plan_version="k-1")
    free = np.full(6, np.inf)
    limits = Limits(free, np.zeros(6, dtype=np.int64), np.zeros(6), budget, float(len(chance)), 0.0)
    campaign = Campaign.model_validate(
        {"campaign_id": "k", "title": "K", "audience": "everyone", "value_per_conversion": VALUE, "channels": {"email": {}}}
    )
    predicted = Predicted(
        np.zeros((0, 3, 7, 3), dtype=np.float32),
        np.zeros(0, dtype=np.float32),
        None,
        INCREMENTAL if weight >= 0.5 else NO_CONTACTS,
        relative_error=relative_error,
        effect_error=effect_error,
        evidence_weight=weight,
    )
    return CampaignPlan(campaign, date(2026, 5, 1), rows, limits, 0.0, "exact", predicted)


def orders(*rows: tuple[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["customer_id", "ordered_at"])
    return frame.assign(ordered_at=pd.to_datetime(frame["ordered_at"]))


def test_the_base_rate_is_the_share_of_customers_who_order_in_a_window() -> None:
    # Four windows of 7 days before May 1st: A in the last (twice: once counts) and in the one before, B in the first of them.
    made = orders(
        ("A", "2026-04-30 10:00"),
        ("A", "2026-04-26 10:00"),
        ("A", "2026-04-20 10:00"),
        ("B", "2026-04-03 01:00"),
        ("B", "2026-04-02 23:00"),  # before the 28 days
        ("C", "2026-05-01 01:00"),  # not known yet
    )
    assert base_rate(made, 10, AS_OF, SHOP) == (pytest.approx(3 / 4 / 10), 2, 10)


def test_without_customers_or_recent_orders_there_is_no_base_rate() -> None:
    assert base_rate(orders(("A", "2026-04-30")), 0, AS_OF, SHOP) is None
    assert base_rate(orders(("A", "2026-01-30")), 10, AS_OF, SHOP) is None
    assert base_rate(orders(), 10, AS_OF, SHOP) is None


def test_a_brief_adds_up_contacts_reasons_costs_and_profit() -> None:
    row = brief(plan([0.25, 0.5], held=1, left_out=("budget", "gap", "budget"), budget=5, weight=0), None, SHOP)
    assert (row["audience"], row["contacts"], row["holdouts"], row["left_out"]) == (6, 2, 1, 3)
    assert row["left_out_reasons"] == "gap 1, budget 2"
    assert (row["cost"], row["expected_conversions"], row["expected_value"]) == (2, 0.75, 15)
    assert (row["expected_profit"], row["budget_left"]) == (13, 3)
    assert row["is_measurable"] is None
    # Of who orders: variance 20 * 20 * (3/16 + 4/16), so half of the interval is 1.96 * 20 * sqrt(7/16).
    half = 1.959964 * 20 * (7 / 16) ** 0.5
    assert (row["profit_low"], row["profit_high"]) == (pytest.approx(13 - half, rel=1e-6), pytest.approx(13 + half, rel=1e-6))


def test_the_error_of_the_model_widens_the_interval() -> None:
    row = brief(plan([0.25, 0.5], relative_error=0.2), None, SHOP)
    half = 1.959964 * (400 * 7 / 16 + (0.2 * 15) ** 2) ** 0.5
    assert row["profit_high"] == pytest.approx(13 + half, rel=1e-6)


def test_the_interval_holds_the_profit_in_about_95_of_100_campaigns_where_the_model_is_right() -> None:
    rng = np.random.default_rng(4)
    chance = rng.beta(2, 8, 400)
    row = brief(plan(chance), RATE, SHOP)
    profit = (rng.random((2_000, 400)) < chance).sum(axis=1) * VALUE - 400
    inside = ((profit >= row["profit_low"]) & (profit <= row["profit_high"])).mean()
    assert 0.935 <= inside <= 0.965  # three standard errors of .95 among 2,000


def test_the_interval_of_an_effect_holds_what_the_same_customers_order_with_and_without() -> None:
    rng = np.random.default_rng(5)
    chance = rng.beta(3, 7, 400) * 0.8 + 0.1
    row = brief(plan(chance, without=0.1), None, SHOP)
    ordered = (rng.random((2_000, 400)) < chance).sum(axis=1).astype(float)
    anyway = rng.binomial(400, 0.1, 2_000)
    profit = (ordered - anyway) * VALUE - 400
    inside = ((profit >= row["profit_low"]) & (profit <= row["profit_high"])).mean()
    assert 0.935 <= inside <= 0.965


def test_an_error_that_all_predictions_share_is_held_by_the_interval() -> None:
    rng = np.random.default_rng(6)
    chance = rng.beta(2, 8, 400)
    row = brief(plan(chance, relative_error=0.1), RATE, SHOP)
    off = 1 + 0.1 * rng.standard_normal((2_000, 1))
    profit = (rng.random((2_000, 400)) < chance * off).sum(axis=1) * VALUE - 400
    inside = ((profit >= row["profit_low"]) & (profit <= row["profit_high"])).mean()
    assert 0.935 <= inside <= 0.965


def test_what_would_be_ordered_anyway_comes_from_the_control_group_where_it_taught_the_model() -> None:
    shown = brief(plan([0.25] * 500, without=0.05, held=200), RATE._replace(share=0.9), SHOP)
    assert (shown["base_rate"], shown["expected_effect"]) == (pytest.approx(0.05), pytest.approx(0.2))
    assert shown["is_measurable"] is True


def test_a_holdout_that_is_too_small_says_how_large_it_must_be() -> None:
    frame = briefs([plan([0.1] * 3_000, without=0.05, held=30)], RATE, SHOP)
    row = frame.iloc[0]
    assert not row["is_measurable"]
    # The textbook: (1.96 + .84)**2 * .05 * .95 / .05**2 = 149 beside any number of contacts; beside 3,000, and by the interval
    # of the results, some more.
    assert 149 < row["holdout_needed"] < 400
    assert row["detectable_effect"] > 0.05
    assert f"too small: {row['holdout_needed']:,} would be needed" in to_markdown(row)


def test_an_effect_that_no_holdout_could_tell_is_called_so() -> None:
    # The 3,000 contacts alone spread by .0043: an effect of .01 is less than 2.8 times that.
    row = briefs([plan([0.06] * 3_000, without=0.05, held=30)], RATE, SHOP).iloc[0]
    assert pd.isna(row["holdout_needed"])
    assert "no holdout is large enough for so small a one" in to_markdown(row)


def test_briefs_are_typed_also_without_plans_and_read_as_sentences() -> None:
    assert briefs([], None, SHOP).dtypes.astype(str).to_dict() == TABLES["campaign_briefs"].frame_types
    frame = briefs([plan([0.25] * 500, without=0.05, held=200, left_out=("gap",)), plan([], left_out=("gap",))], RATE, SHOP)
    assert list(frame["contacts"]) == [500, 0]
    assert frame.loc[1, "expected_profit"] == 0
    text = to_markdown(frame.iloc[0])
    assert "500 of 701 contacted, 200 held out, 1 left out (gap 1)" in text
    assert "5.00% order anyway (3 of 20 customers did in the attribution windows that fit into 28 days), +20.00% are" in text
    assert "large enough" in text
    assert "cannot be judged" in to_markdown(briefs([plan([0.25], weight=0)], None, SHOP).iloc[0])


@pytest.mark.parametrize(
    ("held", "left_out", "reason"),
    [
        (0, (), "Nobody is in its audience"),
        (3, (), "All 3 who would be contacted were drawn for the holdout"),
        (3, ("gap",), "All 3 who would be contacted were drawn for the holdout"),
        (0, ("gap", "budget"), "Nobody can be contacted, or is worth a contact"),
    ],
)
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("rate", [None, RATE])
def test_a_plan_without_contacts_shows_no_interval_and_says_why(
    held: int, left_out: tuple[str, ...], reason: str, weight: float, rate: BaseRate | None
) -> None:
    row = briefs([plan([], held=held, left_out=left_out, weight=weight)], rate, SHOP).iloc[0]
    unknown = ["profit_low", "profit_high", "expected_effect", "detectable_effect", "holdout_needed", "is_measurable"]
    assert row[unknown].isna().all()
    text = to_markdown(row)
    assert reason in text
    assert ("largest_holdout_share" in text) == (held > 0 and weight == 0)  # what sets the holdout while nothing is measured
    assert not any(words in text for words in ("interval", "profit", "nan", "<NA>", "None", "Within", "%"))


def test_sums_of_a_day_are_those_of_plans_with_contacts() -> None:
    nobody, someone = plan([], held=3, weight=0), plan([0.25, 0.5], weight=0)
    assert brief_metadata(briefs([nobody], RATE, SHOP)).keys().isdisjoint({"expected_profit", "supposed_profit"})
    assert brief_metadata(briefs([nobody, someone], RATE, SHOP))["supposed_profit"] == 13
