"""The rows of ``campaign_plan``: one a customer of a campaign's audience."""

from __future__ import annotations

CONTACT, HOLDOUT, LEFT_OUT = "contact", "holdout", "left out"

# Why a customer is left out, in the order in which it is asked: the first that leaves no option.
SUPPRESSED = "suppressed"
NO_CONSENT = "no consent"
OUTSIDE_WINDOW = "outside send window"
FREQUENCY_CAP = "frequency cap"
GAP = "gap"
OTHER_FIRST = "other campaign first"
BELOW_ZERO = "below zero value"
NO_CAPACITY = "no capacity"
BUDGET = "budget"
REASONS = (SUPPRESSED, NO_CONSENT, OUTSIDE_WINDOW, FREQUENCY_CAP, GAP, OTHER_FIRST, BELOW_ZERO, NO_CAPACITY, BUDGET)

# Column -> pandas type; the table is typed even when it has no rows. plan_date (the shop's day) and contact_date (the customer's)
# are midnights: cast them to DATE. send_at is UTC. A held-out customer's row says what the contact would have been, at no cost.
CAMPAIGN_PLAN_COLUMNS = {
    "campaign_id": "str",
    "plan_version": "str",
    "plan_date": "datetime64[us]",
    "customer_id": "str",
    "decision": "str",
    "reason": "str",
    "explanation": "str",
    "channel": "str",
    "contact_date": "datetime64[us]",
    "day_of_week": "Int64",
    "daypart": "str",
    "send_at": "datetime64[us]",
    "offer_id": "str",
    "expected_conversion": "Float64",
    "expected_value": "Float64",
    "cost": "Float64",
    "is_exploration": "bool",
    "holdout": "str",
    "value_basis": "str",
    "segment": "str",
    "model_version": "str",
}
