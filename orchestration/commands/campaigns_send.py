"""``customer360 campaigns send``."""

from __future__ import annotations

import argparse

from customer360.campaigns.sending import SendRefused, outbox, send
from customer360.lake.operations.clock import shop_now
from customer360.words import many
from orchestration.console import WELL, now, say, settings_of, user

EXPECTED = (SendRefused,)


def run(options: argparse.Namespace) -> int:
    """Hand over what is due."""
    settings = settings_of(options)
    moment = now()
    done = send(settings, moment, shop_now(settings, moment), user(), options.until)
    folder = outbox(settings.place)
    for file in done.finished:
        say(f"handed over after a crash: {file.relative_to(folder)}")
    for file, contacts in done.files.items():
        say(f"{many(contacts, 'contact')} sent: {file.relative_to(folder)}")
    for reason, contacts in done.suppressed.items():
        say(f"{many(contacts, 'contact')} not sent, {reason}")
    if not done.finished and not done.files and not done.suppressed:
        say("No approved contact is due.")
    return WELL
