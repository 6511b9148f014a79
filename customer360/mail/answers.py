"""What an answer to a message does: a mark on the message, and a stop of its customer or its address.

Hard bounces and complaints stop at once, soft ones once ``SOFT_BOUNCES`` messages to an address in a row came back so. What is
taken twice counts once: the mailbox, a provider's webhook and a public page may each report the same, and again after a crash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select

from customer360.mail.queue import MailQueue
from customer360.mail.queue.messages import Contact
from customer360.mail.queue.tables import MARKS, reading
from customer360.settings import MAIL_CHANNEL

SOFT_BOUNCES = 5
BY_MACHINE = "by a machine: "  # how the reason of a click or an opening begins that no person made
Mark = Literal["bounced_hard", "bounced_soft", "complained", "unsubscribed", "opened", "clicked", "delivered"]
OF_KINDS: dict[str, Mark] = {
    "hard": "bounced_hard",
    "soft": "bounced_soft",
    "complaint": "complained",
    "unsubscribe": "unsubscribed",
}


@dataclass(frozen=True)
class Answer:
    """What followed a message: ``reason`` in words, without an address; who said so (``source``), and by which id."""

    contact_key: str
    mark: Mark
    at: datetime
    reason: str
    source: str
    source_id: str


def take(queue: MailQueue, answer: Answer) -> bool:
    """Count an answer. Returns whether it is new and of a message that is known; what is not is left as it is.

    The stop is written before the mark, so that a crash between the two repeats the stop, and never forgets it.
    """
    contact = queue.contact(answer.contact_key)
    if contact is None or _is_marked(queue, answer):
        return False
    _stop(queue, contact, answer)
    is_new = queue.mark(answer.contact_key, answer.mark, answer.at, answer.reason, answer.source_id)
    if answer.mark == "bounced_soft" and queue.soft_bounces_in_a_row(contact.address_hash) >= SOFT_BOUNCES:
        reason = f"{SOFT_BOUNCES} messages in a row came back: {answer.reason}"
        queue.stop(None, contact.address_hash, MAIL_CHANNEL, None, reason, answer.source, answer.at)
    return is_new


def source_id(*parts: str | bytes) -> str:
    """An id by what an answer says, for reports that have none of their own: 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]


def _stop(queue: MailQueue, contact: Contact, answer: Answer) -> None:
    """Stop an address that is gone, or a customer who complained or unsubscribed, with the address that they have now."""
    stopped: dict[str, tuple[str | None, str]] = {
        "bounced_hard": (None, f"mail came back: {answer.reason}"),
        "complained": (contact.customer_id, "complained that a message is spam"),
        "unsubscribed": (contact.customer_id, "unsubscribed"),
    }
    if answer.mark in stopped:
        customer_id, reason = stopped[answer.mark]
        queue.stop(customer_id, contact.address_hash, MAIL_CHANNEL, None, reason, answer.source, answer.at)


def _is_marked(queue: MailQueue, answer: Answer) -> bool:
    key = (MARKS.c.contact_key == answer.contact_key, MARKS.c.kind == answer.mark, MARKS.c.source_id == answer.source_id)
    with reading(queue.engine) as connection:
        return connection.execute(select(MARKS.c.kind).where(*key)).first() is not None
