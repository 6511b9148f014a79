"""A person approves a draft, or withdraws what is not sent yet. An approved plan never changes: a new plan is a new version.

The plan's file is written first and the ledger after it, in one part. A crash between the two leaves a file without an
entry; approving again uses it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time

import duckdb
import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.drafts import (
    MEASURED,
    approved_file,
    definition_of,
    draft_of,
    message_faults_of,
    message_file,
    message_of,
    write_definition,
)
from customer360.campaigns.ledger import (
    APPROVED,
    CONTACT,
    HOLDOUT,
    PLAN_COLUMNS,
    PLANNED,
    SENT,
    SUPPRESSED,
    UNPROVEN,
    append,
    contact_keys,
    deciding,
    read_ledger,
)
from customer360.campaigns.limits import broken_limits
from customer360.campaigns.standing import WITHDRAWN, WITHDRAWN_LATE, WITHDRAWN_ONE, commitments, standing
from customer360.decisions import DecisionRefused, Request
from customer360.errors import OperatorError
from customer360.lake.atomic import replacing
from customer360.lake.publishing.publications import publish_files
from customer360.lake.slices import naive
from customer360.mail.message import Message
from customer360.mail.queue import open_queue
from customer360.settings import Place, Settings, Shop
from customer360.translation import gettext as _

MOST_FAULTS = 5
HASH_SHOWN = 16  # hexadecimal digits of a message's hash in the ledger


class NotPublishedError(OperatorError):
    """A decision is in the ledger, and publishing it failed; the next publication has it. ``done``: what was decided."""

    def __init__(self, done: Approved | Withdrawn, error: Exception) -> None:
        super().__init__(f"the decision on {done.campaign_id} is kept, but it is not published yet: {error}")
        self.done = done


@dataclass(frozen=True)
class Approved:
    """What an approval added: contacts and held-out customers. ``committed``: rows that an earlier version had already.

    ``before`` says who approved the version, and when, where that had been done: nothing was added then. ``unproven``: its
    ``value_basis`` where no measured effect stands behind it.
    """

    campaign_id: str
    plan_version: str
    contacts: int
    holdouts: int
    committed: int
    cost: float
    before: str | None = None
    unproven: str | None = None


@dataclass(frozen=True)
class Withdrawn:
    """What a withdrawal took back: contacts and held-out customers, and contacts that had been sent before it."""

    campaign_id: str
    contacts: int
    holdouts: int
    sent: int


def approve(
    settings: Settings,
    campaign_id: str,
    plan_version: str,
    request: Request,
    shop_now: datetime,
    *,
    touches: pd.DataFrame,
    without_evidence: bool = False,
    is_published: bool = True,
) -> Approved:
    """Approve the newest draft of a campaign: its contacts may be sent from now on, its held-out customers are counted.

    Customers whom an approved version of the campaign has already keep to that one. ``shop_now`` is the shop's time, UTC.
    Raises ``DecisionRefused`` when the draft is not the newest, its first day has passed, it was planned by an older version
    that kept no copy of its campaign, its message may not be sent to everybody whom it mails, it would break a limit beside
    what is committed now, or its values rest on no measured effect and ``without_evidence`` does not say that this is known;
    nothing has changed then. Raises ``NotPublishedError`` when it is approved and publishing failed.

    Without ``is_published`` the caller publishes: the tables have the decision then, the ledger has it at once.

    Limits are those of the campaign that the draft was made from, whatever its file says now. They count the contacts of the
    ledger and of ``touches``: ``campaign_touch_history`` of one published version.
    """
    place, shop = settings.place, settings.shop
    with deciding(place):
        ledger = read_ledger(place, [APPROVED, SENT, SUPPRESSED])
        before = ledger[(ledger["event"] == APPROVED) & (ledger["plan_version"] == plan_version)]
        if len(before):
            first = before.iloc[0]
            by = f"approved by {first['recorded_by']} at {first['recorded_at']:%Y-%m-%d %H:%M} UTC"
            return Approved(campaign_id, plan_version, 0, 0, len(before), 0.0, by)
        draft = draft_of(place, campaign_id, plan_version)
        campaign = definition_of(place, campaign_id, plan_version)
        if campaign is None:
            raise DecisionRefused(
                _(
                    "%(version)s was planned by an older version, which kept no copy of its campaign. Plan the day again",
                    version=plan_version,
                )
            )
        basis = str(draft["value_basis"].iloc[0])
        if basis != MEASURED and not without_evidence:
            raise DecisionRefused(
                _(
                    "what the contacts of %(version)s would add was not measured (%(basis)s). To find out, approve it with "
                    "--without-evidence (in Dagster without_evidence: true): that is kept with your reason",
                    version=plan_version,
                    basis=basis,
                )
            )
        message = message_of(place, campaign_id, plan_version)
        _refuse_message(campaign, message, message_faults_of(place, campaign_id, plan_version), plan_version)
        detail = request.reason_line if basis == MEASURED else f"{UNPROVEN} ({basis}): {request.reason_line}"
        chosen = draft[draft["decision"].isin([CONTACT, HOLDOUT])]
        rows = standing(ledger)
        enrolled = rows.loc[(rows["campaign_id"] == campaign_id) & ~rows["is_withdrawn"], "customer_id"]
        is_new = ~chosen["customer_id"].isin(enrolled)
        added = chosen[is_new].reset_index(drop=True)
        contacts = added[added["decision"] == CONTACT]
        _refuse_late(contacts, plan_version, shop_now, shop)
        broken = broken_limits(contacts, commitments(rows, touches, shop), campaign, shop)
        if broken:
            limits = "\n  ".join(limit.message for limit in broken)
            raise DecisionRefused(
                _(
                    "%(version)s cannot be approved beside what is committed now:\n  %(limits)s\nPlan the day again",
                    version=plan_version,
                    limits=limits,
                )
            )
        _keep(settings, draft, campaign, message)
        if message is not None:
            detail = f"{detail} (message {message.name}, {message.content_hash[:HASH_SHOWN]})"
        append(place, _entries(added, detail, shop_now, shop), request.at, request.by)
    done = Approved(
        campaign_id,
        plan_version,
        len(contacts),
        len(added) - len(contacts),
        int((~is_new).sum()),
        float(contacts["cost"].sum()),
        unproven=None if basis == MEASURED else basis,
    )
    if is_published:
        _publish(place, request.at, done)
    return done


def withdraw(
    settings: Settings,
    campaign_id: str,
    request: Request,
    shop_now: datetime,
    customers: Collection[str] = (),
    *,
    is_published: bool = True,
) -> Withdrawn:
    """Take back what is approved and not sent: all of the campaign, or only that of ``customers``. Sent contacts stay sent.

    Of a whole campaign, held-out customers whose time has not come are taken back with the contacts, and all of them may be
    planned again. Raises ``DecisionRefused`` where there is nothing to take back, or a customer has no such contact, and
    ``NotPublishedError`` as ``approve``, whose ``is_published`` it has too.
    """
    place = settings.place
    with deciding(place):
        rows = standing(read_ledger(place, [APPROVED, SENT, SUPPRESSED]))
        rows = rows[(rows["campaign_id"] == campaign_id) & ~rows["is_suppressed"]]
        is_ahead = rows["send_at"] > pd.Timestamp(naive(shop_now))
        is_open = ~rows["is_sent"] & ((rows["arm"] == CONTACT) | is_ahead)
        if customers:
            is_open &= (rows["arm"] == CONTACT) & rows["customer_id"].isin(list(customers))
            unknown = sorted(set(customers) - set(rows.loc[is_open, "customer_id"]))
            if unknown:
                customer = unknown[0]
                raise DecisionRefused(
                    _(
                        "%(name)s has no contact of %(customer)s that is approved and not sent",
                        name=campaign_id,
                        customer=customer,
                    )
                )
        gone = _gone(settings, rows[is_open], request, customers)
        taken = rows[is_open].drop(gone)
        if taken.empty:
            raise DecisionRefused(
                _("%(name)s has nothing that is approved and not sent: there is nothing to withdraw", name=campaign_id)
            )
        kind = is_ahead[taken.index].map({True: WITHDRAWN, False: WITHDRAWN_LATE}) if not customers else WITHDRAWN_ONE
        append(place, suppressions(taken, shop_now, kind + f": {request.reason_line}"), request.at, request.by)
    contacts = int((taken["arm"] == CONTACT).sum())
    sent = int(rows["is_sent"].sum()) + len(gone)
    done = Withdrawn(campaign_id, contacts, len(taken) - contacts, sent)
    if is_published:
        _publish(place, request.at, done)
    return done


def _gone(settings: Settings, rows: pd.DataFrame, request: Request, customers: Collection[str]) -> pd.Index[int]:
    """Take ``rows`` back from the mail queue; returns those that are being sent, were sent, or may have been."""
    if settings.shop.email is None or rows.empty:
        return rows.index[:0]
    reason = f"{WITHDRAWN_ONE if customers else WITHDRAWN_LATE}: {request.reason_line}"
    _, gone = open_queue(settings.place).withdraw(str(rows["campaign_id"].iloc[0]), reason, request.at, customers)
    return rows.index[pd.Series(contact_keys(rows)).isin(gone)]


def _publish(place: Place, at: datetime, done: Approved | Withdrawn) -> None:
    try:
        publish_files(place, at)
    except (OSError, duckdb.Error) as error:
        raise NotPublishedError(done, error) from error


def suppressions(rows: pd.DataFrame, at: datetime, detail: pd.Series[str] | str) -> pd.DataFrame:
    """Entries that say of approved ``rows`` that they will not be sent, and why."""
    columns = [*PLAN_COLUMNS, "arm"]
    return rows[columns].assign(event=SUPPRESSED, event_at=pd.Timestamp(naive(at)), detail=detail)


def _refuse_late(contacts: pd.DataFrame, plan_version: str, shop_now: datetime, shop: Shop) -> None:
    if contacts.empty:
        raise DecisionRefused(
            _("%(version)s has no contact that is not committed already: there is nothing to approve", version=plan_version)
        )
    today = pd.Timestamp(shop_now.astimezone(shop.zone).date())
    first = pd.Timestamp(contacts["contact_date"].min())
    if first < today:
        raise DecisionRefused(
            _(
                "the first contacts of %(version)s are for %(first)s and it is %(today)s. Plan the day again",
                version=plan_version,
                first=f"{first:%Y-%m-%d}",
                today=f"{today:%Y-%m-%d}",
            )
        )


def _refuse_message(campaign: Campaign, message: Message | None, faults: list[str], plan_version: str) -> None:
    if campaign.message is not None and message is None:
        raise DecisionRefused(
            _("the message of %(version)s is not kept beside the plan any more. Plan the day again", version=plan_version)
        )
    if faults:
        shown = "\n  ".join(faults[:MOST_FAULTS])
        raise DecisionRefused(
            _(
                "the message %(message)s of %(version)s may not be sent:\n  %(faults)s\nMend it, and plan the day again",
                message=campaign.message,
                version=plan_version,
                faults=shown,
            )
        )


def _keep(settings: Settings, draft: pd.DataFrame, campaign: Campaign, message: Message | None) -> None:
    """Write the approved plan's file, and beside it the campaign and the message that it was made from, once."""
    first = draft.iloc[0]
    target = approved_file(settings.place, str(first["campaign_id"]), str(first["plan_version"]))
    if not target.exists():
        write_definition(target.parent, target.stem, campaign, message)
        with replacing(target) as temporary:
            draft.to_parquet(temporary, index=False, compression="zstd")
        for file in (target, message_file(target.parent, target.stem)):
            if file.exists():
                file.chmod(0o444)
    elif not pd.read_parquet(target).equals(draft.reset_index(drop=True)):
        raise DecisionRefused(
            _("%(file)s holds another plan under this version; a version is never written again. Plan anew", file=target)
        )


def _entries(added: pd.DataFrame, detail: str, shop_now: datetime, shop: Shop) -> pd.DataFrame:
    """Planned and approved, of each row. A plan is made on its day, which begins at midnight where the shop is."""
    base = added.reindex(columns=list(PLAN_COLUMNS)).assign(arm=added["decision"])
    made = datetime.combine(added["plan_date"].iloc[0], time(), shop.zone)
    held = added["holdout"].map({"global": "held out of every campaign", "campaign": "held out of this campaign"})
    planned = base.assign(event=PLANNED, event_at=pd.Timestamp(naive(made)), detail=held)
    approved = base.assign(event=APPROVED, event_at=pd.Timestamp(naive(shop_now)), detail=detail)
    return pd.concat([planned, approved], ignore_index=True)
