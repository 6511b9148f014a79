"""A campaign with a message, whose contacts are approved, queued and sent as a test says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd

from customer360.campaigns.definition import Campaign
from customer360.campaigns.drafts import approved_file, write_definition
from customer360.campaigns.ledger import APPROVED, CONTACT, SENT, append, entry_id
from customer360.mail.deliveries import deliveries
from customer360.mail.queue import MailQueue, open_queue
from customer360.mail.queue.messages import Outcome
from customer360.settings import Place

NOW = datetime(2026, 5, 5, 8, 0, tzinfo=UTC)
DAY = date(2026, 5, 5)
DOMAINS = {"C1": "gmail.com", "C2": "yahoo.com"}


def key(customer: str, version: str = "spring-1") -> str:
    return entry_id(SENT, ["spring", version, customer])


class Mailing:
    """A campaign with a message, or without, whose contacts a test approves, queues and sends."""

    def __init__(self, root: Path) -> None:
        self.place = Place(root=root)
        self.queue: MailQueue = open_queue(self.place)

    def approve(self, *customers: str, version: str = "spring-1", message: str | None = "news", arm: str = CONTACT) -> None:
        campaign = Campaign.model_validate(
            {
                **{"campaign_id": "spring", "title": "Spring", "audience": "everyone", "value_per_conversion": 20},
                **{"channels": {"email": {}}, "message": message},
            }
        )
        folder = approved_file(self.place, "spring", version).parent
        folder.mkdir(parents=True, exist_ok=True)
        write_definition(folder, version, campaign)
        self.add(APPROVED, *customers, version=version, arm=arm)

    def add(self, event: str, *customers: str, version: str = "spring-1", arm: str = CONTACT, detail: str = "") -> None:
        rows = pd.DataFrame(
            {
                "event": event,
                "event_at": pd.Timestamp("2026-05-05 07:00"),
                "campaign_id": "spring",
                "plan_version": version,
                "customer_id": list(customers),
                "arm": arm,
                "channel": "email",
                "contact_date": pd.Timestamp(DAY),
                "send_at": pd.Timestamp("2026-05-05 07:00"),
                "detail": detail,
            }
        )
        append(self.place, rows, NOW, "test")

    def enqueue(self, *customers: str) -> None:
        frame = pd.DataFrame(
            {
                "contact_key": [key(customer) for customer in customers],
                "campaign_id": "spring",
                "plan_version": "spring-1",
                "customer_id": list(customers),
                "address_hash": [f"hash of {customer}" for customer in customers],
                "domain": [DOMAINS.get(customer, "shop.example") for customer in customers],
                "send_at": pd.Timestamp("2026-05-05 07:00"),
                "due_at": pd.Timestamp("2026-05-05 07:00"),
                "contact_date": DAY,
                "value": 1.0,
            }
        )
        self.queue.enqueue(frame, NOW)

    def send(self, outcomes: dict[str, tuple[str, str]], *, is_synced: bool = False) -> None:
        """Lease all that is queued and record these states and replies, by customer."""
        leased = self.queue.lease(100, "test", NOW, NOW + timedelta(minutes=1))
        found = {contact.customer_id: contact for contact in leased}
        rows = [
            Outcome(found[name].contact_key, found[name].attempt, state, NOW, reply)
            for name, (state, reply) in outcomes.items()
        ]
        self.queue.record(rows)
        if is_synced:
            self.queue.synced((row.contact_key, row.state) for row in rows)

    def table(self) -> pd.DataFrame:
        return deliveries(self.place, self.queue, DAY, DAY).set_index("customer_id")
