"""A sender of a shop, put together from its settings."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from customer360.campaigns.mailing import sync_ledger
from customer360.errors import OperatorError
from customer360.lake.operations.clock import shop_now
from customer360.mail.overview import brake
from customer360.mail.queue import open_queue
from customer360.mail.queue.rates import Rates
from customer360.mail.rendering import email_of
from customer360.services.mailer.confirmations import send_confirmations
from customer360.services.mailer.preparation import Preparation, ShopClock
from customer360.services.mailer.settings import MailerSettings
from customer360.services.mailer.worker import Worker
from customer360.settings import Settings

LOG = logging.getLogger(__name__)
BY = "mailer"
SYNC_SECONDS = 900.0


class MailerClosed(OperatorError):  # noqa: N818  the state's name
    """Nothing may be sent from this queue until it was compared with what was sent."""


def make_worker(settings: Settings, own: MailerSettings, shop_clock: ShopClock = shop_now) -> Worker:
    """A sender; hours and days are those of ``shop_clock``.

    Raises ``MailerClosed`` on a queue that was copied or restored, ``SettingsError`` on wrong settings.
    """
    queue, email = open_queue(settings.place), email_of(settings.shop)
    if not queue.is_open():
        raise MailerClosed(
            "the mail queue was copied or restored: what it holds may have been sent. Stop the mailer of the other place, "
            "and compare it with the logs of what was sent: customer360 email reconcile; docs/email.md says with which"
        )
    preparation = Preparation(
        settings,
        queue,
        signer=own.signer(settings.shop),
        consent_seconds=own.consent_seconds,
        is_sink=own.is_sink,
        shop_clock=shop_clock,
    )
    return Worker(
        queue,
        own.transport(email.return_path_domain),
        preparation,
        connections=own.connections,
        rates=Rates(email.rates),
        keep_logs=timedelta(days=own.log_days),
    )


def run_worker(
    settings: Settings, own: MailerSettings, worker: Worker, *, is_once: bool, shop_clock: ShopClock = shop_now
) -> None:
    """Send.

    About once a minute and at the end confirmation mails of opt-ins leave and bad rates stop their campaign. What was sent is
    written to the ledger and published every ``SYNC_SECONDS`` and at the end: each time adds a file to the ledger.
    """
    next_sync = -float("inf")
    transport, signer = own.transport(email_of(settings.shop).return_path_domain), own.signer(settings.shop)

    def care() -> None:
        nonlocal next_sync
        now = datetime.now(UTC)
        send_confirmations(settings, worker.queue, transport, now, signer)
        for line in brake(worker.queue, now):
            LOG.error("stopped by itself: %s", line)
        if worker.stop.is_set() or time.monotonic() >= next_sync:
            sync_ledger(settings, worker.queue, now, shop_clock(settings, now), BY)
            next_sync = time.monotonic() + SYNC_SECONDS

    worker.run(is_once=is_once, each_minute=care)
