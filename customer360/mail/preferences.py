"""What customers chose on the public page: channels, topics, and how often e-mail may come. It counts from then on.

Channels and topics that are not wanted are stops; the frequency is kept beside them, by customer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select

from customer360.lake.slices import naive
from customer360.mail.queue import MailQueue
from customer360.mail.queue.messages import Contact
from customer360.mail.queue.tables import ACCEPTED, FREQUENCY, MESSAGES, SENDING, STOPS, UNKNOWN, insert_new, reading
from customer360.settings import MAIL_CHANNEL

FREQUENCIES = {"any": 0, "weekly": 7, "monthly": 30}  # days that lie between two messages
CHUNK = 10_000
SOURCE = "preference page"


@dataclass(frozen=True)
class Preferences:
    """By channel and by topic of e-mail whether it is wanted, and a name of ``FREQUENCIES``."""

    channels: Mapping[str, bool]
    topics: Mapping[str, bool]
    frequency: str


@dataclass(frozen=True)
class Change:
    """A channel, or a topic of it, that a customer allowed or stopped."""

    channel: str
    topic: str | None
    is_allowed: bool


def preferences_of(queue: MailQueue, customer_id: str, channels: Sequence[str], topics: Iterable[str]) -> Preferences:
    """What a customer has chosen; what they did not stop is wanted."""
    with reading(queue.engine) as connection:
        asked = select(STOPS.c.channel, STOPS.c.topic).where(STOPS.c.customer_id == customer_id, STOPS.c.lifted_at.is_(None))
        stopped = {(channel, topic) for channel, topic in connection.execute(asked)}
        days = connection.execute(select(FREQUENCY.c.days).where(FREQUENCY.c.customer_id == customer_id)).scalar() or 0
    return Preferences(
        {name: (name, "") not in stopped for name in channels},
        {name: (MAIL_CHANNEL, name) not in stopped for name in topics},
        next(name for name, value in FREQUENCIES.items() if value == days),
    )


def choose(queue: MailQueue, customer_id: str, before: Preferences, chosen: Preferences, at: datetime) -> list[Change]:
    """Write what differs from before; returns the channels and topics among it. ``at`` is aware."""
    changes = list(_changes(before, chosen))
    for change in changes:
        if change.is_allowed:
            queue.lift(customer_id, change.channel, change.topic, at)
        else:
            reason = f"chose no {change.topic or change.channel} any more"
            queue.stop(customer_id, None, change.channel, change.topic, reason, SOURCE, at)
    if chosen.frequency != before.frequency:
        values = {"days": FREQUENCIES[chosen.frequency], "at": naive(at)}
        with queue.engine.begin() as connection:
            row = insert_new(connection, FREQUENCY).values(customer_id=customer_id, **values)
            connection.execute(row.on_conflict_do_update(index_elements=["customer_id"], set_=values))
    return changes


def too_soon(queue: MailQueue, contacts: Sequence[Contact], now: datetime) -> dict[str, str]:
    """Why contacts that are about to be sent are not, by key: their customer wants e-mail less often, and got one.

    Of several that are sent at once to a customer the first to be taken goes, the most valuable of those taken together.
    """
    customers = sorted({contact.customer_id for contact in contacts})
    names = [MESSAGES.c[name] for name in ("customer_id", "contact_key", "state", "changed_at", "value")]
    sent: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for start in range(0, len(customers), CHUNK):
        asked = (
            select(FREQUENCY.c.days, *names)
            .join(MESSAGES, MESSAGES.c.customer_id == FREQUENCY.c.customer_id)
            .where(
                FREQUENCY.c.customer_id.in_(customers[start : start + CHUNK]),
                FREQUENCY.c.days > 0,
                MESSAGES.c.state.in_((ACCEPTED, UNKNOWN, SENDING)),
            )
        )
        with reading(queue.engine) as connection:
            for row in connection.execute(asked):
                sent[row.customer_id].append(row)
    found: dict[str, str] = {}
    for contact in contacts:
        rows = sent.get(contact.customer_id, [])
        own = next((_turn(row) for row in rows if row.contact_key == contact.contact_key), None)
        for row in rows:
            is_first = row.state == SENDING and own is not None and _turn(row) < own
            if is_first or (row.state != SENDING and row.changed_at > naive(now) - timedelta(days=row.days)):
                found[contact.contact_key] = f"chose e-mail at most every {row.days} days"
    return found


def _turn(row: Row[Any]) -> tuple[datetime, float, str]:
    return row.changed_at, -row.value, row.contact_key


def _changes(before: Preferences, chosen: Preferences) -> Iterator[Change]:
    for name, is_wanted in chosen.channels.items():
        if is_wanted != before.channels[name]:
            yield Change(name, None, is_wanted)
    for name, is_wanted in chosen.topics.items():
        if is_wanted != before.topics[name]:
            yield Change(MAIL_CHANNEL, name, is_wanted)
