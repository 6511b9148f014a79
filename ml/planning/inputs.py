"""What plans are made of: frames of one snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from customer360.campaigns.audience import AudienceError, members
from customer360.campaigns.definition import Campaign, CampaignProblem
from customer360.campaigns.ledger import SALT, holdout_salt, known_salt
from customer360.campaigns.standing import commitments
from customer360.lake.reference.customer_queries import addresses_query
from customer360.mail.addresses import address_key
from customer360.mail.message import Message, load_messages
from customer360.mail.values import fillable
from customer360.mail.variables import message_values
from customer360.snapshot import Snapshot
from ml.frames import FrameError, require_columns
from ml.planning.mailing import Mail

COMMITMENTS = ["customer_id", "campaign_id", "channel", "contact_date", "cost"]


@dataclass(frozen=True)
class PlanningInputs:
    """The frames that plans are made of. Timestamps are plain UTC.

    ``customers``: customer_id, segment, time_zone, one row each. ``consents``: customer_id, channel, is_allowed (empty means
    no). ``suppressions``: customer_id, channel (empty: every channel). ``commitments``: customer_id, campaign_id, channel,
    contact_date (the customer's day), cost: contacts that were made or approved, by all campaigns. ``salt``: of the holdouts,
    from the ledger. ``as_of``: UTC, what was known; plans begin on the day after it, in the shop's time zone. ``mail``:
    messages and addresses.
    """

    customers: pd.DataFrame
    consents: pd.DataFrame
    suppressions: pd.DataFrame
    commitments: pd.DataFrame
    salt: str
    as_of: datetime
    mail: Mail = field(default_factory=Mail)

    def check(self) -> None:
        """Raise ``FrameError`` on missing columns and repeated customers."""
        require_columns(self.customers, "customers", ["customer_id", "segment", "time_zone"])
        require_columns(self.consents, "consents", ["customer_id", "channel", "is_allowed"])
        require_columns(self.suppressions, "suppressions", ["customer_id", "channel"])
        require_columns(self.commitments, "commitments", COMMITMENTS)
        if self.customers["customer_id"].duplicated().any():
            raise FrameError("customers holds a customer_id twice; a plan has one row a customer")


def planning_inputs(snapshot: Snapshot, now: datetime, by: str) -> PlanningInputs:
    """The frames of a plan. The first plan of a place gives the ledger its salt; ``now`` and ``by`` are recorded with it."""
    kept = snapshot.ledger.loc[snapshot.ledger["event"] == SALT, "detail"]
    salt = snapshot.shop.campaigns.global_holdout_salt
    return _inputs(snapshot, str(kept.iloc[0]) if len(kept) else holdout_salt(snapshot.place, salt, now, by))


def unrecorded_inputs(snapshot: Snapshot) -> PlanningInputs:
    """The same frames for a plan that nobody keeps: the ledger stays as it is."""
    return _inputs(snapshot, known_salt(snapshot.place, snapshot.shop.campaigns.global_holdout_salt))


def _inputs(snapshot: Snapshot, salt: str) -> PlanningInputs:
    segments = snapshot.read("select customer_id, segment from rfm_segments order by customer_id")
    return PlanningInputs(
        customers=segments.merge(snapshot.time_zones, on="customer_id", how="left"),
        consents=snapshot.consents,
        suppressions=snapshot.suppressions,
        commitments=commitments(snapshot.approved, snapshot.touches, snapshot.shop),
        salt=salt,
        as_of=snapshot.as_of,
        mail=_mail(snapshot),
    )


def _mail(snapshot: Snapshot) -> Mail:
    """Messages and addresses as they are now; none where the shop sends no mail."""
    if snapshot.shop.email is None:
        return Mail()
    addresses = snapshot.read(addresses_query(snapshot.place, snapshot.shop))
    keys = pd.Series([address_key(text) for text in addresses["email"]], index=addresses["customer_id"], dtype="str")

    def unfilled(message: Message, campaign: Campaign, ids: pd.Index[str]) -> pd.Series[str]:
        return fillable(message, message_values(snapshot, message, campaign, ids))

    return Mail({message.name: message for message in load_messages(snapshot.settings)[0]}, keys, unfilled)


def audiences_of(snapshot: Snapshot, campaigns: Sequence[Campaign]) -> tuple[dict[str, pd.Index[str]], list[CampaignProblem]]:
    """The ids of each campaign's audience, sorted, by campaign_id; and why other campaigns have none.

    Customers whom the shop did not know yet at the snapshot's time are in none.
    """
    found: dict[str, pd.Index[str]] = {}
    problems = []
    for campaign in campaigns:
        try:
            everyone = members(snapshot.connection, campaign.audience, snapshot.shop)
            found[campaign.campaign_id] = everyone.difference(pd.Index(snapshot.known_later))
        except AudienceError as error:
            file = f"{campaign.campaign_id}.yaml"
            problems.append(CampaignProblem(file, "audience", str(error), "the other campaigns were planned"))
    return found, problems
