"""``customer360 campaigns approve | withdraw``, each with ``--reason``."""

from __future__ import annotations

import argparse

from customer360.campaigns.approval import Approved, Withdrawn, approve, withdraw
from customer360.decisions import DecisionRefused, Request
from customer360.lake.operations.clock import shop_now
from customer360.words import many
from orchestration.console import WELL, now, say, settings_of, user

EXPECTED = (DecisionRefused,)


def run(options: argparse.Namespace) -> int:
    """Take the decision, or say why it cannot be taken; nothing has changed then."""
    settings = settings_of(options)
    request = Request(options.reason, now(), user())
    clock = shop_now(settings, request.at)
    if options.action == "approve":
        say(*_approved(approve(settings, options.campaign, options.version, request, clock), settings.shop.currency))
    else:
        say(*_withdrawn(withdraw(settings, options.campaign, request, clock, options.customer)))
    return WELL


def _approved(done: Approved, currency: str) -> list[str]:
    if done.before:
        return [f"{done.plan_version} was {done.before} already. Nothing was changed."]
    contacts = f"{many(done.contacts, 'contact')} for {done.cost:,.2f} {currency}"
    lines = [f"{done.plan_version} is approved: {contacts}, {done.holdouts:,} held out."]
    if done.committed:
        lines.append(f"{many(done.committed, 'customer')} of an earlier version keep to that one.")
    return [*lines, "What is due leaves with customer360 campaigns send, or hourly once send_schedule is switched on."]


def _withdrawn(done: Withdrawn) -> list[str]:
    lines = [f"{many(done.contacts, 'contact')} of {done.campaign_id} withdrawn, and {done.holdouts:,} who were held out."]
    return [*lines, f"{many(done.sent, 'contact')} had been sent and stay sent."] if done.sent else lines
