"""A test mail: a message as a customer would get it, sent to one of the shop's ``test_addresses`` and to nobody else.

It leaves through the mailer's transport and signature, beside the queue: no contact, ledger or rate knows of it, and its links
are those of a preview.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from customer360.decisions import DecisionRefused
from customer360.mail.previews import as_mail
from customer360.mail.rendering import Rendered, email_of
from customer360.mail.return_paths import BOUNCES
from customer360.mail.smtp import LostConnectionError, RefusedError
from customer360.services.mailer.settings import PREFIX, MailerSettings
from customer360.settings import Shop

LONGEST_WAIT = 10.0  # seconds for each answer of the relay: a person waits


def send_test_mail(shop: Shop, environment: Mapping[str, str], made: Rendered, to: str, at: datetime) -> str:
    """Send a test mail at a time (aware) by the transport of ``environment``; returns the relay's answer.

    Raises ``DecisionRefused`` where the address is no test address, no transport is set up, or the relay did not take it.
    """
    email = email_of(shop)
    if to not in email.test_addresses:
        known = ", ".join(email.test_addresses) or "none: list them as email.test_addresses of shop.yaml"
        raise DecisionRefused(f"a test mail goes to a test address alone; there are {known}")
    if not {f"{PREFIX}HOST", f"{PREFIX}PROVIDER"} & environment.keys():
        raise DecisionRefused(f"no transport is set up here: start this with the mailer's variables, such as {PREFIX}HOST")
    own = MailerSettings.from_environment(environment)
    own = msgspec.structs.replace(own, timeout_seconds=min(own.timeout_seconds, LONGEST_WAIT))
    content, signer = as_mail(made, shop, at, to), own.signer(shop)
    content = signer.sign(content, int(at.timestamp())) if signer else content
    try:
        connection = own.transport(email.return_path_domain).connect()
        reply = connection.send(f"{BOUNCES}@{email.return_path_domain}", to, content, lambda: None)
        connection.quit()
    except (RefusedError, LostConnectionError) as error:
        raise DecisionRefused(f"the test mail was not taken: {error}") from error
    if not reply.is_accepted:
        raise DecisionRefused(f"the test mail was not taken: {reply.line}")
    return reply.line
