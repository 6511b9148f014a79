"""Contacts that a new plan must reckon with: those that were made, and those that are approved and still to be sent."""

from __future__ import annotations

import pandas as pd

from customer360.campaigns.ledger import APPROVED, CONTACT, SENT, SUPPRESSED
from customer360.settings import Shop

CONTACT_KEY = ["campaign_id", "plan_version", "customer_id"]

# Column -> pandas type. contact_date is a day where the customer is, at midnight; the cost of a foreign touch is unknown, so 0.
COMMITMENT_COLUMNS = {
    "customer_id": "str",
    "campaign_id": "str",
    "channel": "str",
    "contact_date": "datetime64[us]",
    "cost": "Float64",
    "is_sent": "bool",
}


def commitments(ledger: pd.DataFrame, touches: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """One row per contact: COMMITMENT_COLUMNS, ordered by customer, day and campaign.

    Of the ledger: contacts that are approved and not suppressed; a held-out customer commits nothing. Of ``touches``
    (``campaign_touch_history``): every contact that was made, by whomever, except where the ledger has a contact of the same
    customer, campaign and day: then it is the same one. Rows of a control group (``is_control``) were no contacts.
    """
    ours = _of_ledger(ledger)
    others = _of_touches(touches, shop)
    same = pd.MultiIndex.from_frame(others[["customer_id", "campaign_id", "contact_date"]]).isin(
        pd.MultiIndex.from_frame(ours[["customer_id", "campaign_id", "contact_date"]])
    )
    both = pd.concat([ours, others[~same]], ignore_index=True)
    ordered = both.sort_values(["customer_id", "contact_date", "campaign_id", "channel"], ignore_index=True, kind="stable")
    return ordered.astype(COMMITMENT_COLUMNS)


def standing(ledger: pd.DataFrame) -> pd.DataFrame:
    """The approved rows of both arms that nothing has suppressed since, one per customer and version, with ``is_sent``."""
    approved = ledger[ledger["event"] == APPROVED]
    contacts = pd.MultiIndex.from_frame(approved[CONTACT_KEY])
    stands = ~contacts.isin(pd.MultiIndex.from_frame(ledger.loc[ledger["event"] == SUPPRESSED, CONTACT_KEY]))
    is_sent = contacts.isin(pd.MultiIndex.from_frame(ledger.loc[ledger["event"] == SENT, CONTACT_KEY]))
    return approved.assign(is_sent=is_sent)[stands].reset_index(drop=True)


def _of_ledger(ledger: pd.DataFrame) -> pd.DataFrame:
    rows = standing(ledger)
    return rows.loc[rows["arm"] == CONTACT, list(COMMITMENT_COLUMNS)].astype(COMMITMENT_COLUMNS)


def _of_touches(touches: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    made = touches
    if "is_control" in touches.columns:
        made = touches[~touches["is_control"].astype("boolean").fillna(value=False)]
    at_shop = (
        pd.to_datetime(made["touched_at"]).dt.tz_localize("UTC").dt.tz_convert(shop.zone).dt.tz_localize(None).dt.normalize()
    )
    frame = pd.DataFrame(
        {
            "customer_id": made["customer_id"],
            "campaign_id": made["campaign_id"],
            "channel": made["channel"],
            "contact_date": pd.to_datetime(made["local_date"]).fillna(at_shop),
            "cost": 0.0,
            "is_sent": True,
        }
    )
    return frame.astype(COMMITMENT_COLUMNS)
