"""What is looked at when a message is about to be sent, and how it is made.

At that moment, not when it was planned or queued: consents and suppressions (loaded again), stops, the address, the campaign's
hours where the customer is, and whether the day has passed there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.drafts import definition_of, message_of
from customer360.campaigns.mailing import NO_ADDRESS
from customer360.campaigns.sending import KNOWN_ZONES, TOO_LATE, load_again, reasons_against
from customer360.lake.operations.clock import shop_now
from customer360.mail.addresses import address_key
from customer360.mail.dkim import Signer
from customer360.mail.dns_checks import may_send_to_all
from customer360.mail.links import ContactLinks, link_secrets
from customer360.mail.mime import HeaderError, Headers, mime_message
from customer360.mail.preferences import too_soon
from customer360.mail.queue import MailQueue
from customer360.mail.queue.messages import TWICE, Contact, Outcome
from customer360.mail.queue.tables import LEFT_OUT, QUEUED
from customer360.mail.rendering import Renderer, email_of
from customer360.mail.return_paths import message_id, return_path, unsubscribe_address
from customer360.mail.templates import MissingVariable
from customer360.mail.values import fillable, reason_without
from customer360.mail.variables import LANGUAGE, message_values
from customer360.services.mailer.worker import LeftOut, Letter
from customer360.settings import MAIL_CHANNEL, Settings
from customer360.snapshot import open_snapshot

UNCHECKED = "the DNS check has not passed: customer360 email check"
UNCHECKED_WAIT = timedelta(minutes=10)
ShopClock = Callable[[Settings, datetime], datetime]  # the shop's time (UTC) at a time of the wall clock
QUARTER = timedelta(minutes=15)  # every zone's hours begin at a quarter of an hour of UTC


class Preparation:
    """Prepares messages of a shop. ``signer`` is None where the relay signs; ``is_sink``: no other machine is reached."""

    def __init__(
        self,
        settings: Settings,
        queue: MailQueue,
        *,
        signer: Signer | None,
        consent_seconds: float,
        is_sink: bool,
        shop_clock: ShopClock = shop_now,
    ) -> None:
        self._shop_clock = shop_clock
        self._settings, self._queue, self._signer, self._is_sink = settings, queue, signer, is_sink
        self._email, self._secrets = email_of(settings.shop), link_secrets(settings.place)
        self._consent_seconds, self._loaded_at = consent_seconds, -float("inf")
        self._campaign = lru_cache(maxsize=64)(self._read_campaign)
        self._test_keys = {address_key(address) for address in self._email.test_addresses}

    def prepare(self, contacts: Sequence[Contact], now: datetime) -> tuple[list[Letter], list[Outcome]]:
        """The letters of contacts that may be sent now, and what becomes of the others."""
        at_shop = self._shop_clock(self._settings, now)
        if time.monotonic() - self._loaded_at > self._consent_seconds:
            load_again(self._settings, at_shop)
            self._loaded_at = time.monotonic()
        frame = pd.DataFrame(contacts, columns=Contact._fields).assign(channel=MAIL_CHANNEL)
        frame["contact_date"] = pd.to_datetime(frame["contact_date"])
        frame = frame.join(reasons_against(self._settings, frame, at_shop))
        frame["reason"] = frame["reason"].fillna(self._queue.stopped(frame))
        often = too_soon(self._queue, contacts, now)
        frame["reason"] = frame["reason"].fillna(frame["contact_key"].map(often).astype("str"))
        frame["reason"] = frame["reason"].mask(frame["reason"].isna() & frame["email"].isna(), NO_ADDRESS)
        frame = frame.astype(object).where(frame.notna(), None)  # rows of Python's own values: those of Arrow take 13 us each
        is_checked = self._is_sink or may_send_to_all(self._settings)
        frame["wait"] = self._waits(frame, at_shop, is_checked=is_checked)
        self._readdress(frame)
        letters = self._letters(contacts, frame, now)
        outcomes = [
            _outcome(contact, reason, wait, now, is_checked=is_checked)
            for contact, reason, wait in zip(contacts, frame["reason"], frame["wait"], strict=True)
            if isinstance(reason, str) or not pd.isna(wait)
        ]
        return letters, outcomes

    def _waits(self, frame: pd.DataFrame, at_shop: datetime, *, is_checked: bool) -> pd.Series[Any]:
        """How long each message waits for its campaign's hours, or for the DNS check; missing where it need not wait."""

        @cache
        def until_hours(campaign_id: str, plan_version: str, time_zone: str | None, day: date) -> timedelta | None:
            campaign, _ = self._campaign(campaign_id, plan_version)
            zone = ZoneInfo(time_zone) if time_zone in KNOWN_ZONES else self._settings.shop.zone
            return wait_for_hours(campaign, zone, day, at_shop)

        waits: list[timedelta | None] = []
        for row in _rows(frame):
            wait = None
            if not isinstance(row.reason, str):
                wait = until_hours(row.campaign_id, row.plan_version, row.time_zone, row.contact_date.date())
                if wait is None:
                    frame.loc[row.Index, "reason"] = TOO_LATE
                elif not is_checked and address_key(str(row.email)) not in self._test_keys:
                    wait = UNCHECKED_WAIT
            waits.append(wait or None)
        return pd.Series(waits, index=frame.index, dtype="timedelta64[us]")

    def _readdress(self, frame: pd.DataFrame) -> None:
        """Note changed addresses; one that has a message of the campaign already is left out."""
        ready = frame[frame["reason"].isna()]
        changed = {}
        for row in _rows(ready):
            address_hash = self._queue.address_hash(address_key(str(row.email)))
            if address_hash != row.address_hash:
                changed[str(row.contact_key)] = (address_hash, str(row.email).rpartition("@")[2])
        taken = self._queue.readdress(changed) if changed else []
        frame.loc[frame["contact_key"].isin(taken), "reason"] = TWICE

    def _letters(self, contacts: Sequence[Contact], frame: pd.DataFrame, now: datetime) -> list[Letter]:
        """A letter for each contact whose row is ready; those whose message lacks a value get their reason."""
        letters: dict[Any, Letter] = {}
        ready = frame[frame["reason"].isna() & frame["wait"].isna()]
        with open_snapshot(self._settings) as snapshot:
            for (campaign_id, plan_version), rows in ready.groupby(["campaign_id", "plan_version"]):
                campaign, renderer = self._campaign(str(campaign_id), str(plan_version))
                values = message_values(snapshot, renderer.message, campaign, rows["customer_id"])
                lacking = fillable(renderer.message, values).dropna().to_dict()
                by_customer = dict(zip(values.index, values.astype(object).to_dict("records"), strict=True))
                for row in _rows(rows):
                    if row.customer_id in lacking:
                        frame.loc[row.Index, "reason"] = lacking[row.customer_id]
                        continue
                    draft = _Draft(contacts[row.Index], row.email, renderer, by_customer[row.customer_id], now)
                    sender = return_path(self._secrets[0], draft.contact.contact_key, self._email.return_path_domain)
                    letters[row.Index] = Letter(draft.contact, sender, row.email, partial(self._build, draft))
        return [letters[place] for place in frame.index if place in letters]

    def _build(self, draft: _Draft) -> bytes:
        """The bytes of a message, signed. Raises ``LeftOut`` where a value is missing or cannot stand in a header."""
        contact, email, secret = draft.contact, self._email, self._secrets[0]
        links = ContactLinks(self._secrets, email.public_url, contact.contact_key, contact.customer_id, contact.campaign_id)
        variant, domain = contact.variant or draft.renderer.message.variant_names[0], email.sender.address.rpartition("@")[2]
        try:
            content = draft.renderer.render(variant, draft.values[LANGUAGE], draft.values, links)
            headers = Headers(
                sender_name=email.sender.name,
                sender=email.sender.address,
                to=draft.address,
                message_id=message_id(secret, contact.contact_key, domain),
                date=draft.at,
                unsubscribe_mailto=unsubscribe_address(secret, contact.contact_key, email.unsubscribe_mailto),
                unsubscribe_url=links.page("unsubscribe"),
                feedback_id=f"{contact.campaign_id}:{variant}:campaign:{self._settings.shop.name}",
                reply_to=email.reply_to,
            )
            message = mime_message(content, headers)
        except MissingVariable as error:
            raise LeftOut(reason_without(str(error))) from None
        except HeaderError as error:
            raise LeftOut(f"its message cannot be made: {error}") from None
        return self._signer.sign(message, int(draft.at.timestamp())) if self._signer else message

    def _read_campaign(self, campaign_id: str, plan_version: str) -> tuple[Campaign, Renderer]:
        """The campaign and its message as they were approved, whatever their files say now."""
        campaign = definition_of(self._settings.place, campaign_id, plan_version)
        message = message_of(self._settings.place, campaign_id, plan_version)
        if campaign is None or message is None:
            raise FileNotFoundError(f"{plan_version}: the approved plan's campaign or message is gone from campaigns/plans")
        return campaign, Renderer(message, self._settings.shop)


@dataclass(frozen=True)
class _Draft:
    """What a message is made of."""

    contact: Contact
    address: str
    renderer: Renderer
    values: dict[Any, Any]
    at: datetime


def _outcome(contact: Contact, reason: Any, wait: Any, now: datetime, *, is_checked: bool) -> Outcome:
    """Of a message that is not sent now: left out for a ``reason``, else queued for so long."""
    if isinstance(reason, str):
        tried = f"{reason}; the last attempt: {contact.reply}" if contact.attempt > 1 and contact.reply else reason
        return Outcome(contact.contact_key, contact.attempt, LEFT_OUT, now, tried)
    text = contact.reply if is_checked else UNCHECKED
    return Outcome(contact.contact_key, contact.attempt, QUEUED, now, text, now + wait)


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, with columns as attributes."""
    yield from frame.itertuples()


def wait_for_hours(campaign: Campaign, zone: ZoneInfo, day: date, now: datetime) -> timedelta | None:
    """How long until the campaign may contact somebody in ``zone`` on their ``day``: nothing now, None not any more.

    ``now`` is aware. Hours are those of the clock there: of one that is set back both count, one that is skipped does not come.
    """
    quarter = datetime.fromtimestamp(now.timestamp() // QUARTER.total_seconds() * QUARTER.total_seconds(), UTC)
    moment = quarter
    while (local := moment.astimezone(zone)).date() <= day:
        if local.date() == day and local.hour in campaign.hours_on(local.isoweekday()):
            return max(timedelta(0), moment - now)
        moment += QUARTER
    return None
