"""Confirmation mails of the double opt-in: one an address, as plain text, with one link."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from typing import TYPE_CHECKING

from customer360.mail.consents import Consents, OptIn
from customer360.mail.dkim import Signer
from customer360.mail.dns_checks import may_send_to_all
from customer360.mail.links import LinkToken, link_secrets, link_url, sign_link
from customer360.mail.queue import MailQueue
from customer360.mail.return_paths import message_id, return_path
from customer360.mail.smtp import LostConnectionError, RefusedError
from customer360.mail.texts import TEXTS, language_of
from customer360.settings import Email, Settings

if TYPE_CHECKING:
    from customer360.mail.provider_api import Transport

EXPORT_EVERY = timedelta(hours=1)  # opt-ins expire with time
LOG = logging.getLogger(__name__)


def send_confirmations(
    settings: Settings, queue: MailQueue, transport: Transport, now: datetime, signer: Signer | None = None
) -> int:
    """Send the confirmation mails that wait; returns how many the relay took. ``now`` is aware; ``signer``: of DKIM.

    One that was refused for now, or whose connection was lost before its end, is tried again next time; one that may have
    arrived is not. Before the check
    of the shop's domains passed, or a person overrode it, none is sent but through a relay of this machine without TLS.
    """
    email, consents = settings.shop.email, Consents(queue, settings.place)
    consents.forget(now)
    if email is not None and consents.exported_at() < now - EXPORT_EVERY:
        consents.export(now, email.consent_months)
    if email is None or not (transport.is_local or may_send_to_all(settings)):
        return 0
    waiting = consents.claim(now)
    if not waiting:
        return 0
    secrets, sent = link_secrets(settings.place), 0
    try:
        connection = transport.connect()
    except RefusedError as error:
        for opt_in in waiting:
            consents.unclaim(opt_in.opt_in_id)
        LOG.warning("confirmation mails wait: %s", error)
        return 0
    for number, opt_in in enumerate(waiting):
        sender = return_path(secrets[0], opt_in.opt_in_id, email.return_path_domain)
        message = confirmation(opt_in, email, settings.shop.title, secrets, now)
        content = signer.sign(message, int(now.timestamp())) if signer else message
        try:
            reply = connection.send(sender, opt_in.address, content, lambda: None)
        except LostConnectionError as error:
            for later in waiting[number + error.is_in_doubt :]:
                consents.unclaim(later.opt_in_id)
            LOG.warning("confirmation mails wait: %s", error)
            return sent
        sent += reply.is_accepted
        if not reply.is_final or reply.step == "mail":  # greylisted, say, or the relay refuses the sender
            consents.unclaim(opt_in.opt_in_id)
            LOG.warning("a confirmation mail waits: %s", reply.line)
    connection.quit()
    return sent


def confirmation(opt_in: OptIn, email: Email, title: str, secrets: list[str], now: datetime) -> bytes:
    """The mail (CRLF line ends). Nothing in it was written by who asked."""
    texts = TEXTS[language_of(opt_in.language, email.languages)]
    token = LinkToken("opt_in", opt_in.opt_in_id, opt_in.customer_id, "")
    link = link_url(email.public_url, "opt_in", sign_link(secrets, token))
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr((email.sender.name, email.sender.address))
    message["To"] = opt_in.address
    message["Subject"] = texts["confirm_subject"]
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id(secrets[0], opt_in.opt_in_id, email.sender.address.partition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    paragraphs = [
        texts["confirm_mail"].replace("{shop}", title),
        link,
        texts["confirm_ignore"],
        f"{title}\n{email.postal_address}",
    ]
    message.set_content("\n\n".join(paragraphs) + "\n", cte="quoted-printable")
    return bytes(message)
