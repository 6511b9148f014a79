"""A message as one customer would see it, whose links count nothing and stop nobody's messages."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from email.utils import make_msgid
from pathlib import Path

from customer360.campaigns.definition import Campaign
from customer360.decisions import DecisionRefused
from customer360.definition_files import LONGEST_NAME, is_name
from customer360.lake.atomic import replacing
from customer360.mail import starters
from customer360.mail.links import PreviewLinks
from customer360.mail.message import Message
from customer360.mail.mime import Headers, mime_message
from customer360.mail.rendering import Rendered, Renderer, email_of
from customer360.mail.templates import MissingVariable
from customer360.mail.values import reason_without
from customer360.mail.variables import LANGUAGE, message_values
from customer360.settings import Settings, Shop
from customer360.snapshot import Snapshot

TEST = "[Test]"  # how the subject of a test mail begins
STARTERS = Path(starters.__path__[0])


def preview(snapshot: Snapshot, message: Message, campaign: Campaign, customer_id: str, variant: str) -> Rendered:
    """The message for a customer of the published version. Raises ``DecisionRefused`` with the reason where there is none."""
    if variant not in message.variant_names:
        raise DecisionRefused(f"{message.name} has no variant {variant}; it has {', '.join(message.variant_names)}")
    row = message_values(snapshot, message, campaign, [customer_id]).iloc[0]
    values = {str(name): value for name, value in row.items()}
    links = PreviewLinks(email_of(snapshot.shop).public_url)
    try:
        return Renderer(message, snapshot.shop).render(variant, values[LANGUAGE], values, links)
    except MissingVariable as error:
        raise DecisionRefused(f"{customer_id} does not get the message: {reason_without(str(error.args[0]))}") from error


def as_mail(made: Rendered, shop: Shop, date: datetime, test_address: str = "") -> bytes:
    """A preview as a mail from the shop: to a test address, with a subject that says so, else a file to nobody's address."""
    email = email_of(shop)
    domain = email.sender.address.rpartition("@")[2]
    stop = PreviewLinks(email.public_url).page("unsubscribe")
    headers = Headers(
        sender_name=email.sender.name,
        sender=email.sender.address,
        to=test_address or f"customer@{domain}",
        message_id=make_msgid("preview", domain),
        date=date,
        unsubscribe_mailto=email.unsubscribe_mailto,
        unsubscribe_url=stop,
        feedback_id=f"preview:A:preview:{shop.name.replace('_', '-')}",
        reply_to=email.reply_to,
    )
    return mime_message(replace(made, subject=f"{TEST} {made.subject}") if test_address else made, headers)


def starter_names() -> list[str]:
    """The messages that come with the product, to begin with."""
    return sorted(path.name for path in STARTERS.iterdir() if (path / "message.yaml").exists())


def new_message(settings: Settings, name: str, starter: str) -> Path:
    """Copy a starter into the shop's folder under a name of its own; returns the new folder. Raises ``DecisionRefused``."""
    if starter not in starter_names():
        raise DecisionRefused(f"there is no starter {starter}; there are {', '.join(starter_names())}")
    return begin_message(settings, name, STARTERS / starter, settings.message_folder / name)


def begin_message(settings: Settings, name: str, source: Path, target: Path) -> Path:
    """Copy the folder of a message to one of another name. Raises ``DecisionRefused`` where the name is none, or taken."""
    if not is_name(name):
        raise DecisionRefused(
            f"a message's name has small letters, digits, - and _, and at most {LONGEST_NAME} characters, such as spring-sale"
        )
    if (settings.message_folder / name).exists() or (settings.made_message_folder / name).exists():
        raise DecisionRefused(f"there is a message {name} already; choose another name")
    with replacing(target) as temporary:
        shutil.copytree(source, temporary)
    return target
