"""Contacts that are due are handed over to the tools that mail, text and call: as files in ``DATA_DIR/campaigns/outbox``.

Those by e-mail whose campaign has a message go into the mail queue instead, from which the mailer sends them.

A hand-over has three steps: its files are written into ``.aside``; the ledger records that their contacts are sent; the files
are renamed into the outbox. A crash between any two steps neither loses nor duplicates a contact: the next hand-over renames a
file in ``.aside`` whose contacts the ledger has, and deletes one whose contacts it lacks, which are then due again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

from customer360.campaigns.approval import suppressions
from customer360.campaigns.ledger import (
    APPROVED,
    PLAN_COLUMNS,
    SENT,
    SUPPRESSED,
    append,
    contact_keys,
    deciding,
    read_ledger,
)
from customer360.campaigns.mailing import NO_ADDRESS, is_mailed, queue_contacts, sync_ledger
from customer360.campaigns.standing import due_contacts, next_due, standing
from customer360.errors import OperatorError
from customer360.lake.atomic import TEMPORARY_PREFIX, fsync_path, replacing
from customer360.lake.engine import connect
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.object_store import StoreError
from customer360.lake.publishing.publications import publish_files
from customer360.lake.reference.customer_queries import consents_query, suppressions_query
from customer360.lake.reference.postgres import UnreadableSourceError
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import reference_relation
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.lake.slices import naive
from customer360.mail.queue import open_queue
from customer360.settings import TIME_ZONES, Place, Settings

AT_MOST_AHEAD = timedelta(hours=24)
ASIDE = ".aside"
OUTBOX_COLUMNS = ("contact_key", "customer_id", "campaign_id", "channel", "offer_id", "send_at", "plan_version")
KNOWN_ZONES = frozenset(TIME_ZONES.values())
TOO_LATE = "too late: its day has passed"
READ_AGAIN = ("customers", "suppressions")


class SendRefused(OperatorError, ValueError):  # noqa: N818 (the field's word: a hand-over is refused)
    """Nothing may be sent now. The message says why, and what to do; nothing has changed."""


@dataclass(frozen=True)
class Sent:
    """A hand-over: contacts by file of the outbox, those that were suppressed by reason, and files of an earlier one.

    ``next_due``: when (UTC) the next approved contact is due; None where there is none. ``queued``: contacts that went into the
    mail queue, of campaigns with a message.
    """

    files: dict[Path, int] = field(default_factory=dict)
    suppressed: dict[str, int] = field(default_factory=dict)
    finished: list[Path] = field(default_factory=list)
    next_due: datetime | None = None
    queued: int = 0

    @property
    def contacts(self) -> int:
        """Contacts that were sent."""
        return sum(self.files.values())


def send(settings: Settings, now: datetime, shop_now: datetime, by: str, until: datetime | None = None) -> Sent:
    """Hand over the approved contacts that are due: send_at has come, and their day, where the customer is, has not passed.

    ``until``: also those that are due until then, at most 24 hours ahead, for tools that keep to send_at themselves. Consents
    and suppressions are loaded again first. Who may no longer be contacted is suppressed with the reason, as is a contact whose
    day has passed. ``now`` is the wall clock, ``shop_now`` the shop's. Sending again sends nothing twice.

    Raises ``SendRefused`` when consents or suppressions cannot be read, or ``until`` lies too far ahead.
    """
    until = until or shop_now
    if until > shop_now + AT_MOST_AHEAD:
        raise SendRefused(
            f"{until:%Y-%m-%d %H:%M} UTC is more than 24 hours ahead: consents may be withdrawn until then. Send later"
        )
    mail_queue = open_queue(settings.place) if settings.shop.email else None
    if mail_queue:
        sync_ledger(settings, mail_queue, now, shop_now, by)
    with deciding(settings.place):
        finished = finish(settings.place)
        approved = standing(read_ledger(settings.place, [APPROVED, SENT, SUPPRESSED]))
        asked, later = due_contacts(approved, until), next_due(approved, until)
        if mail_queue:  # what becomes of those that are queued is the mailer's to say
            keys = pd.Series(contact_keys(asked), index=asked.index, dtype="str")
            asked = asked[~keys.isin(mail_queue.known(keys.tolist()))]
        if asked.empty:
            return Sent(finished=finished, next_due=later)
        load_again(settings, shop_now)
        found = reasons_against(settings, asked, shop_now)
        reasons = found["reason"]
        queued = 0
        mailed = asked[is_mailed(settings, asked) & reasons.isna()]
        if mail_queue and len(mailed):
            queued, has_none = queue_contacts(mail_queue, mailed.join(found["email"]), now, shop_now)
            reasons[mailed.index[has_none]] = NO_ADDRESS
        is_left = reasons.notna()
        due, left = asked[~is_left & ~asked.index.isin(mailed.index)], asked[is_left]
        aside = _write_aside(settings, due, now, shop_now)
        sent_at = due["send_at"].mask(due["send_at"] < pd.Timestamp(naive(shop_now)), pd.Timestamp(naive(shop_now)))
        entries = due[[*PLAN_COLUMNS, "arm"]].assign(event=SENT, event_at=sent_at, detail=_file_names(due, aside))
        append(settings.place, pd.concat([entries, suppressions(left, shop_now, reasons[is_left])]), now, by)
        files = {_hand_over(settings.place, file): len(due.loc[places]) for file, places in aside.items()}
    publish_files(settings.place, now)
    return Sent(files, dict(sorted(Counter(reasons[is_left]).items())), finished, later, queued)


def is_cut_off(place: Place) -> bool:
    """True where a hand-over died between two steps and waits to be brought to its end."""
    return any((outbox(place) / ASIDE).glob("*/*"))


def finish(place: Place) -> list[Path]:
    """Bring a hand-over that was cut off to its end: files whose contacts the ledger has go out, others are deleted."""
    aside = sorted((outbox(place) / ASIDE).glob("*/*"))
    known = set(read_ledger(place, [SENT])["entry_id"]) if aside else set()
    finished = []
    for file in aside:
        if file.name.startswith(TEMPORARY_PREFIX):
            file.unlink()
            continue
        keys = set(pd.read_csv(file, dtype=str, keep_default_na=False)["contact_key"])
        if keys <= known:
            finished.append(_hand_over(place, file))
        else:
            file.unlink()
    return finished


def outbox(place: Place) -> Path:
    """Where the tools fetch their files: ``<shop-local date>/<campaign>-<channel>-<UTC time>.csv``. They may take them away."""
    return place.campaigns / "outbox"


def load_again(settings: Settings, shop_now: datetime) -> None:
    """Load consents and suppressions again. Raises ``SendRefused`` where one cannot be read."""
    for table in READ_AGAIN:
        try:
            loaded = load_reference(settings, table, shop_now)
        except BrokenReferenceError as error:  # its values must not stand in a log
            raise SendRefused(f"nothing is sent while {table} cannot be read again: {error.for_logs}") from None
        except (UnreadableSourceError, StoreError) as error:
            raise SendRefused(f"nothing is sent while {table} cannot be read again: {error}") from error
        if loaded.not_read:
            raise SendRefused(f"nothing is sent on old consents: {loaded.not_read}")


def reasons_against(settings: Settings, contacts: pd.DataFrame, shop_now: datetime) -> pd.DataFrame:
    """By contact (customer_id, channel, contact_date): ``reason``, why it is not to be sent, ``time_zone`` and ``email``.

    The reason is empty of contacts that may be sent, ``email`` (canonical) of those without an address, and of every one where
    the shop sends no e-mail. Addresses are personal: they are read where contacts are sent, and kept nowhere else.
    """
    place, shop = settings.place, settings.shop
    with connect(place.scratch) as connection:
        connection.register("contacts", contacts[["customer_id", "channel"]].reset_index(names="place"))
        customers = reference_relation(place, reference_tables(shop)["customers"])
        found = connection.execute(
            f"""
            select place, profiles.time_zone, {"profiles.email" if shop.email else "null::varchar"} as email,
                consents.is_allowed, listed.reason
            from contacts
            left join ({consents_query(place, shop)}) as consents using (customer_id, channel)
            left join ({suppressions_query(place, shop)}) as listed using (customer_id, channel)
            left join (select * from ({customers}) where valid_to is null) as profiles using (customer_id)
            """
        ).df()
    asked = found.set_index("place").reindex(contacts.index)
    ends = _ends_of_days(asked["time_zone"], contacts["contact_date"], shop.zone)
    reasons = pd.Series(None, index=contacts.index, dtype="str")
    is_allowed = asked["is_allowed"].astype("boolean").fillna(value=False)
    reasons = reasons.mask(~is_allowed, "no consent for " + contacts["channel"])
    reasons = reasons.mask(asked["reason"].notna(), "suppressed: " + asked["reason"].astype("str"))
    reasons = reasons.mask(ends <= pd.Timestamp(naive(shop_now)), TOO_LATE)
    return pd.DataFrame({"reason": reasons, "time_zone": asked["time_zone"], "email": asked["email"]})


def _ends_of_days(zones: pd.Series[str], days: pd.Series[pd.Timestamp], shop_zone: ZoneInfo) -> pd.Series[pd.Timestamp]:
    """When each day ends where its customer is, UTC; in the shop's zone where the customer's is not known."""
    pairs = list(zip(zones, days, strict=True))
    ends = {
        pair: _midnight(pair[1].date() + timedelta(days=1), ZoneInfo(pair[0]) if pair[0] in KNOWN_ZONES else shop_zone)
        for pair in set(pairs)
    }
    return pd.Series([ends[pair] for pair in pairs], index=days.index, dtype="datetime64[us]")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return naive(datetime.combine(day, time(), zone))


def _write_aside(settings: Settings, due: pd.DataFrame, now: datetime, shop_now: datetime) -> dict[Path, pd.Index[int]]:
    """One file per campaign and channel, and which rows of ``due`` it has."""
    folder = outbox(settings.place) / ASIDE / f"{shop_now.astimezone(settings.shop.zone):%Y-%m-%d}"
    contacts = due.assign(contact_key=contact_keys(due), send_at=due["send_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    files = {}
    for (campaign, channel), rows in contacts.groupby(["campaign_id", "channel"]):
        file = folder / f"{campaign}-{channel}-{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.csv"
        with replacing(file) as temporary:
            rows.sort_values(["send_at", "customer_id"])[list(OUTBOX_COLUMNS)].to_csv(temporary, index=False)
        files[file] = rows.index
    return files


def _file_names(due: pd.DataFrame, aside: dict[Path, pd.Index[int]]) -> pd.Series[str]:
    names = pd.Series("", index=due.index, dtype="str")
    for file, places in aside.items():
        names[places] = f"{file.parent.name}/{file.name}"
    return names


def _hand_over(place: Place, file: Path) -> Path:
    """Rename a file into the outbox; never over another one."""
    target = outbox(place) / file.parent.name / file.name
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{file.stem}-{number}.csv")
    target.parent.mkdir(parents=True, exist_ok=True)
    file.rename(target)
    fsync_path(target.parent)
    return target
