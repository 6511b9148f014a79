"""What the ledger says of each approved contact, and the contacts that count against limits."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from customer360.campaigns.ledger import APPROVED, CONTACT, CONTACT_KEY, SENT, SUPPRESSED
from customer360.lake.slices import naive
from customer360.settings import Shop

# How the detail of a suppressed entry begins where a plan was withdrawn: before its time, which takes both arms alike out of
# what is compared, or after it, and for single customers, which does not.
WITHDRAWN, WITHDRAWN_LATE, WITHDRAWN_ONE = "withdrawn", "withdrawn after its time", "withdrawn for this customer"

# Column -> pandas type. contact_date is a day where the customer is, at midnight. The cost of a contact by another tool is not
# known and counts as 0.
COMMITMENT_COLUMNS = {
    "customer_id": "str",
    "campaign_id": "str",
    "channel": "str",
    "contact_date": "datetime64[us]",
    "cost": "Float64",
    "is_sent": "bool",
}


def standing(ledger: pd.DataFrame) -> pd.DataFrame:
    """The approved entries of both arms, one per campaign, version and customer, with what became of each.

    ``sent_at`` and ``sent_entry_id``: the time (plain UTC) and the entry of the hand-over; null where it was not sent, as
    ``is_sent`` says. ``is_suppressed``: it will not be sent, or was withdrawn; ``is_withdrawn``: its plan was withdrawn before
    its time, as if it had never been approved. ``is_open``: a contact that is neither sent nor suppressed.
    """
    sent = ledger.loc[ledger["event"] == SENT, [*CONTACT_KEY, "event_at", "entry_id"]]
    rows = ledger[ledger["event"] == APPROVED].merge(
        sent.rename(columns={"event_at": "sent_at", "entry_id": "sent_entry_id"}), on=CONTACT_KEY, how="left"
    )
    suppressed = ledger[ledger["event"] == SUPPRESSED]
    withdrawn = suppressed[suppressed["detail"].str.startswith(f"{WITHDRAWN}:").fillna(value=False)]
    keys = pd.MultiIndex.from_frame(rows[CONTACT_KEY])
    rows["is_sent"] = keys.isin(pd.MultiIndex.from_frame(sent[CONTACT_KEY]))
    rows["is_suppressed"] = keys.isin(pd.MultiIndex.from_frame(suppressed[CONTACT_KEY]))
    rows["is_withdrawn"] = keys.isin(pd.MultiIndex.from_frame(withdrawn[CONTACT_KEY]))
    rows["is_open"] = (rows["arm"] == CONTACT) & ~rows["is_sent"] & ~rows["is_suppressed"]
    return rows


def due_contacts(approved: pd.DataFrame, until: datetime) -> pd.DataFrame:
    """The open contacts among ``approved`` (rows of ``standing``) whose time has come by ``until`` (aware)."""
    return approved[approved["is_open"] & (approved["send_at"] <= pd.Timestamp(naive(until)))]


def next_due(approved: pd.DataFrame, after: datetime) -> datetime | None:
    """When (UTC, aware) the first open contact after ``after`` (aware) is due; None where none is.

    ``approved``: rows of ``standing``.
    """
    later = approved.loc[approved["is_open"] & (approved["send_at"] > pd.Timestamp(naive(after))), "send_at"]
    return None if later.empty else later.min().to_pydatetime().replace(tzinfo=UTC)


def commitments(approved: pd.DataFrame, touches: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    """One row per contact: COMMITMENT_COLUMNS, ordered by customer, day and campaign.

    Of ``approved`` (rows of ``standing``): contacts that are not suppressed; a held-out customer commits nothing.
    Of ``touches`` (``campaign_touch_history``): every contact that was made, by whomever, except where the ledger has a contact
    of the same customer, campaign and day: then it is that contact. Rows of a control group (``is_control``) are no contacts.
    """
    is_committed = (approved["arm"] == CONTACT) & ~approved["is_suppressed"]
    ours = approved.loc[is_committed, list(COMMITMENT_COLUMNS)].astype(COMMITMENT_COLUMNS)
    made = _of_touches(touches, shop)
    same = pd.MultiIndex.from_frame(made[["customer_id", "campaign_id", "contact_date"]]).isin(
        pd.MultiIndex.from_frame(ours[["customer_id", "campaign_id", "contact_date"]])
    )
    ordered = pd.concat([ours, made[~same]], ignore_index=True).sort_values(
        ["customer_id", "contact_date", "campaign_id", "channel"], ignore_index=True, kind="stable"
    )
    return ordered.astype(COMMITMENT_COLUMNS)


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
