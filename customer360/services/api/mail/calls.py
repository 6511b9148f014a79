"""What the public pages of mail do: stops in the queue at once, and events into the slices."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from prometheus_client import Counter

from customer360.lake.landing.contracts import CONSENT_CHANGED
from customer360.mail.answers import BY_MACHINE, Answer, Mark, source_id, take
from customer360.mail.consents import Consents, Question
from customer360.mail.links import LinkToken, is_allowed_target, link_secrets, link_secrets_file, link_url, read_link, sign_link
from customer360.mail.preferences import Change, Preferences, choose, preferences_of
from customer360.mail.queue import MailQueue, export_stops, open_queue
from customer360.secret_files import read_secrets
from customer360.services.api.collector.collecting import Collector
from customer360.services.api.mail.scanners import image_proxy, scanner
from customer360.services.api.problems import Problem
from customer360.services.api.watched import WatchedFile
from customer360.settings import MAIL_CHANNEL, Email, Settings

ANSWERS = Counter(
    "customer360_api_mail", "Links of messages, by kind: counted, scanned, prefetched, invalid", ["kind", "outcome"]
)
SCANNED_SECONDS = 300  # after a program opened the link that nobody sees its other clicks count for nothing
MOST_SCANNED = 10_000


@dataclass(frozen=True)
class Client:
    """Who asks: the method of the request and the browser's name for itself."""

    method: str
    user_agent: str


class MailAnswers:
    """What the endpoints of mail share in one process. All but the events may block: call them in a thread."""

    def __init__(self, settings: Settings, email: Email, collector: Collector) -> None:
        self.settings, self.email, self._collector = settings, email, collector
        link_secrets(settings.place)
        self._secrets = WatchedFile(link_secrets_file(settings.place), read_secrets)
        self._scanned: dict[str, float] = {}

    @property
    def queue(self) -> MailQueue:
        """The mail queue."""
        return open_queue(self.settings.place)

    @cached_property
    def consents(self) -> Consents:
        """The opt-ins."""
        return Consents(self.queue, self.settings.place)

    @property
    def secrets(self) -> list[str]:
        """With which links and return paths are signed."""
        return self._secrets.content(time.monotonic())

    def token(self, text: str, kind: str) -> LinkToken | None:
        """The token of a link of this kind; None where no secret signed it, or it is of another kind."""
        token = read_link(text, self.secrets)
        if token is None or token.kind != kind:
            ANSWERS.labels(kind, "invalid").inc()
            return None
        return token

    def url(self, token: LinkToken, kind: str) -> str:
        """The address of another page for the same contact."""
        page = LinkToken(kind, token.contact_key, token.customer_id, token.campaign_id)
        return link_url(self.email.public_url, kind, sign_link(self.secrets, page))

    def is_open(self, target: str) -> bool:
        """Whether a target may be redirected to now: the shop may have taken its domain off the list since it was signed."""
        return is_allowed_target(target, self.email.link_domains)

    def clicked(self, token: LinkToken, client: Client) -> bool:
        """Count a click; returns whether it is a person's, as far as can be told."""
        contact = self.queue.contact(token.contact_key)
        accepted = None if contact is None or contact.accepted_at is None else contact.accepted_at.replace(tzinfo=UTC)
        seconds = None if accepted is None else (datetime.now(UTC) - accepted).total_seconds()
        was_scanned = self._scanned.get(token.contact_key, 0.0) > time.monotonic()
        reason = scanner(client.method, client.user_agent, seconds, was_scanned=was_scanned)
        if not token.target:  # the link that nobody sees
            if len(self._scanned) >= MOST_SCANNED:
                self._scanned.clear()
            self._scanned[token.contact_key] = time.monotonic() + SCANNED_SECONDS
            reason = reason or "followed the link that nobody sees"
        ANSWERS.labels("click", "scanned" if reason else "counted").inc()
        words = f"{BY_MACHINE}{reason}" if reason else "a link was followed"
        if contact is not None:
            self._take(token, "clicked", words, "link", source_id("clicked", token.target, reason or ""))
        return contact is not None and reason is None

    def opened(self, token: LinkToken, client: Client) -> str | None:
        """Count an opening; returns the proxy that fetched the picture, empty for none, and None where nothing counts."""
        if not self.email.open_tracking or client.method != "GET" or self.queue.contact(token.contact_key) is None:
            return None
        proxy = image_proxy(client.user_agent)
        ANSWERS.labels("open", "prefetched" if proxy else "counted").inc()
        detail = f"{BY_MACHINE}fetched by {proxy}, perhaps unseen" if proxy else "the pictures were shown"
        self._take(token, "opened", detail, "picture", source_id("opened", proxy or ""))
        return proxy or ""

    def unsubscribe(self, token: LinkToken, source: str) -> None:
        """Send this customer and this address no more e-mail, from now on."""
        now = datetime.now(UTC)
        if not self._take(
            token, "unsubscribed", "unsubscribed by the link", source, source_id("unsubscribed", f"{now:%Y%m%d%H%M}")
        ):
            contact = self.queue.contact(token.contact_key)  # one that the queue no longer knows is stopped all the same
            address = None if contact is None else contact.address_hash
            self.queue.stop(token.customer_id, address, MAIL_CHANNEL, None, "unsubscribed", source, now)
        ANSWERS.labels("unsubscribe", "counted").inc()
        export_stops(self.settings.place, self.queue)

    def ask_for_mail(self, question: Question) -> None:
        """Keep that somebody asks for mail. Raises ``AddressError``; what follows is the same for all addresses."""
        asked = self.consents.ask(question, datetime.now(UTC))
        ANSWERS.labels("opt_in", "asked" if asked else "limited").inc()

    def confirm(self, token: LinkToken, client: str) -> bool:
        """Confirm an address; returns whether it could be."""
        confirmed = self.consents.confirm(token.contact_key, client, datetime.now(UTC))
        if confirmed is None:
            return False
        export_stops(self.settings.place, self.queue)
        self.consents.export(datetime.now(UTC), self.email.consent_months)
        ANSWERS.labels("opt_in", "confirmed").inc()
        return True

    def preferences(self, customer_id: str) -> Preferences:
        """What a customer has chosen among the shop's channels and topics."""
        return preferences_of(self.queue, customer_id, self.settings.shop.channels, self.email.topics)

    def choose(self, customer_id: str, chosen: Preferences) -> list[Change]:
        """Keep what a customer chose; returns what changed."""
        before = self.preferences(customer_id)
        changes = choose(self.queue, customer_id, before, chosen, datetime.now(UTC))
        if changes:
            export_stops(self.settings.place, self.queue)
        return changes

    async def note(self, name: str, token: LinkToken, **columns: Any) -> None:
        """An event of a contact into the slices; one that has no room there is lost, and the customer's request is not."""
        event = {
            "event_id": uuid.uuid4().hex,
            "event_name": name,
            "customer_id": token.customer_id,
            "campaign_id": token.campaign_id or None,
            **columns,
        }
        try:
            await self._collector.note([event])
        except Problem:
            ANSWERS.labels(name, "lost").inc()

    async def note_consent(self, token: LinkToken, change: Change) -> None:
        """A change of consent as an event: what changed stands in its page_url, since it is of no visit."""
        changed = {"channel": change.channel, "topic": change.topic or "", "allowed": f"{change.is_allowed}".lower()}
        await self.note(CONSENT_CHANGED, token, page_url=f"{self.email.public_url}/m/#{urlencode(changed)}")

    def _take(self, token: LinkToken, mark: Mark, reason: str, source: str, key: str) -> bool:
        return take(self.queue, Answer(token.contact_key, mark, datetime.now(UTC), reason, source, key))
