"""The campaign plan: for every customer a decision, when and through which channel, and the reason in words."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from customer360.settings import Shop
from ml.planning.contact_options import Best, best_options
from ml.planning.holdout import in_holdout
from ml.planning.offer_choice import choose
from ml.planning.plan_inputs import PlanInputs, Universe, universe
from ml.serving.scoring import top_categories

CONTACT, HOLDOUT, LEFT_OUT = "contact", "holdout", "left out"
DAYS_AHEAD = 7

# Column -> pandas type; the table is typed even when it has no rows. Dates are shop-local, at midnight: cast them to DATE.
PLAN_COLUMNS = {
    "plan_id": "str",
    "plan_date": "datetime64[us]",
    "customer_id": "str",
    "decision": "str",
    "reason": "str",
    "campaign_id": "str",
    "channel": "str",
    "contact_date": "datetime64[us]",
    "day_of_week": "Int64",
    "daypart": "str",
    "offer_id": "str",
    "expected_conversion": "Float64",
    "segment": "str",
    "model_version": "str",
}


def plan_campaign(inputs: PlanInputs, shop: Shop, plan_date: date) -> pd.DataFrame:
    """``campaign_plan``: exactly one row a customer, in the order of customer_id.

    ``decision`` is "contact"; "holdout" (it would be a contact, but the customer is in the holdout: campaign, offer and
    expected conversion say of what kind); or "left out" (no consent for any channel, or contacted too recently). A contact lies
    one to seven days after ``plan_date`` (shop-local), at least ``minimum_gap_days`` after the last touch, on a channel with
    consent. ``expected_conversion`` is the smoothed share of such touches that converted: an association, not the contact's
    effect.

    Raises ``FrameError`` on missing columns, repeated customers and channels that shop.yaml does not name.
    """
    inputs.check(shop)
    customers = universe(inputs.customers)
    days = [plan_date + timedelta(days=ahead) for ahead in range(1, DAYS_AHEAD + 1)]
    best = best_options(inputs, customers, shop, days)
    held = in_holdout(customers.ids, shop.contact_rules.holdout_salt, shop.contact_rules.holdout_share)
    decision = np.select([~best.is_possible, held], [LEFT_OUT, HOLDOUT], CONTACT).astype(object)
    categories = _top_category(inputs.scores, customers)
    chosen = [choose(inputs.campaigns, inputs.offers, shop.category_ids, day) for day in days]
    carried = [chosen[day].get(name, chosen[day][None]) for day, name in zip(best.day, categories, strict=True)]
    frame = pd.DataFrame(
        {
            "plan_id": f"plan-{plan_date.isoformat()}",
            "plan_date": pd.Timestamp(plan_date),
            "customer_id": customers.ids.to_numpy(dtype=object),
            "decision": decision,
            "campaign_id": [choice.campaign_id for choice in carried],
            "channel": np.array(shop.channels, dtype=object)[best.channel],
            "contact_date": np.array(days, dtype="datetime64[us]")[best.day],
            "day_of_week": np.array([day.isoweekday() for day in days])[best.day],
            "daypart": np.array(list(shop.dayparts), dtype=object)[best.daypart],
            "offer_id": [choice.offer_id for choice in carried],
            "expected_conversion": best.expected,
            "segment": customers.segment_names,
            "model_version": str(inputs.scores["model_version"].iloc[0]) if len(inputs.scores) else None,
        }
    )
    frame["reason"] = _reasons(frame, categories, best, shop)
    is_contact, is_planned = decision == CONTACT, decision != LEFT_OUT
    for column in ("channel", "contact_date", "day_of_week", "daypart"):
        frame[column] = frame[column].where(is_contact)
    for column in ("campaign_id", "offer_id", "expected_conversion"):
        frame[column] = frame[column].where(is_planned)
    return frame[list(PLAN_COLUMNS)].astype(PLAN_COLUMNS)


def _top_category(scores: pd.DataFrame, customers: Universe) -> list[str | None]:
    top = top_categories(scores).set_index("customer_id")["category_id"].reindex(customers.ids)
    return [str(category) if isinstance(category, str) else None for category in top]


def _reasons(frame: pd.DataFrame, categories: list[str | None], best: Best, shop: Shop) -> list[str]:
    rules = shop.contact_rules
    borrowed = f" ({' and '.join(best.borrowed)} as customers buy)" if best.borrowed else ""
    held = f"in the {rules.holdout_share:.0%} holdout, which is never contacted: it shows what contacts bring"
    too_soon = f"contacted less than {rules.minimum_gap_days} days before each of the next {DAYS_AHEAD} days"
    columns = ["decision", "channel", "contact_date", "daypart", "expected_conversion", "segment", "offer_id"]
    rows = zip(frame[columns].itertuples(index=False), categories, best.has_consent, strict=True)
    texts = []
    for (decision, channel, contact_date, daypart, expected, segment, offer_id), category, has_consent in rows:
        if decision == HOLDOUT:
            texts.append(held)
        elif decision == LEFT_OUT:
            texts.append(too_soon if has_consent else "no consent for any channel")
        else:
            likely = f"; next likely in {category}" if category else ""
            carries = f", offer {offer_id}" if isinstance(offer_id, str) else ""
            texts.append(
                f"{channel} on {contact_date:%A} {daypart}{borrowed}: {expected:.1%} expected to convert, "
                f"segment {segment}{likely}{carries}"
            )
    return texts
