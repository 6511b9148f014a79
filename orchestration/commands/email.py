"""``customer360 email``: how e-mail stands, and what people decide about it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from customer360.text import many
from orchestration import console
from orchestration.console import JsonOption, ReasonOption, answer, command, place_settings, say

if TYPE_CHECKING:
    from customer360.mail.overview import CampaignMail
    from customer360.settings import Email, Settings

app = console.group("email", "See how e-mail stands, stop and resume it, and choose what to do with what is unknown.")

CampaignArgument = Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]", help="Only this one; without it all.")]


@command(app)
def status(context: typer.Context, as_json: JsonOption = False) -> int:
    """Messages by campaign and state, rates with their verdicts, and what waits; exits with 1 where something is stopped."""
    from customer360.mail.overview import email_overview
    from customer360.mail.queue import open_queue

    settings = place_settings(context)
    overview = email_overview(open_queue(settings.place), console.now())
    lines = [line for campaign in overview.campaigns for line in _lines(campaign)] or ["No message was queued yet."]
    lines += [f"{lane} waits until {until:%Y-%m-%d %H:%M} UTC: {reason}" for lane, until, reason in overview.waiting]
    lines += [f"All is stopped {overview.stopped}."] if overview.stopped else []
    if not overview.is_open:
        lines.append("Nothing is sent: the queue was copied or restored. Compare it with the logs: customer360 email reconcile")
    is_well = overview.is_open and not overview.stopped and not any(campaign.stopped for campaign in overview.campaigns)
    return answer(as_json, overview, lines, is_well)


@command(app)
def stop(context: typer.Context, reason: ReasonOption, campaign: CampaignArgument = None) -> None:
    """Send nothing of a campaign, or of any, from now on; what is on its way arrives."""
    from customer360.mail.queue import open_queue

    open_queue(place_settings(context).place).stop_campaign(campaign, console.request(reason))
    say(f"{campaign or 'All of it'} is stopped. customer360 email resume sends the rest; campaigns withdraw takes it back.")


@command(app)
def resume(context: typer.Context, reason: ReasonOption, campaign: CampaignArgument = None) -> None:
    """Send what is stopped again."""
    from customer360.mail.queue import open_queue

    open_queue(place_settings(context).place).resume_campaign(campaign, console.request(reason))
    say(f"{campaign or 'All of it'} is sent again.")


@command(app, "retry-unknown")
def retry_unknown(context: typer.Context, reason: ReasonOption, campaign: CampaignArgument = None) -> None:
    """Send messages again of which nobody knows whether they arrived: some customers then get them twice."""
    from customer360.mail.queue import open_queue

    queue, request = open_queue(place_settings(context).place), console.request(reason)
    released = queue.release_unknown(campaign, request.at)
    queue.keep_fact(
        f"released:{request.at.isoformat()}", f"{released} of {campaign or 'all'} by {request.by}: {request.reason_line}"
    )
    say(f"{many(released, 'message')} will be sent again.")


@command(app)
def reconcile(
    context: typer.Context,
    log: Annotated[list[Path] | None, typer.Option("--log", help="A mail.log of Postfix; may be repeated.")] = None,
) -> None:
    """After a restore or a copy: compare the queue with the logs of what was sent, and open it for sending."""
    from customer360.mail.links import link_secrets
    from customer360.mail.queue import open_queue
    from customer360.mail.recovery import reconcile as compare

    settings = place_settings(context)
    changed = compare(open_queue(settings.place), log or [], link_secrets(settings.place), console.now())
    say(f"{many(changed, 'message')} had been sent, or may have been, and will not be sent again. The queue is open.")


@command(app)
def check(
    context: typer.Context,
    as_json: JsonOption = False,
) -> int:
    """Ask the DNS for SPF, DKIM and aligned DMARC of the shop's domains; exits with 1 where something is to be mended."""
    from customer360.mail.dns_checks import check_dns, keep_check
    from customer360.services.mailer.settings import MailerSettings

    settings = place_settings(context)
    email, mailer = _email(settings), MailerSettings.from_environment(os.environ)
    selector = mailer.dkim_selector if mailer.dkim_key else None  # else the relay signs
    checked = keep_check(settings.place, email, check_dns(email, selector), console.now())
    lines = []
    for finding in checked.findings:
        lines.append(f"{'well ' if finding.is_good else 'wrong'}  {finding.name}: {finding.words}")
        lines += [f"       {finding.remedy}"] if finding.remedy else []
    if checked.is_passed:
        lines.append("Mail may go to everybody.")
    elif checked.override:
        lines.append(f"Mail may go to everybody: {checked.override.by} decided so ({checked.override.reason}).")
    else:
        lines.append("Mail goes to the test addresses alone until this is mended, or customer360 email override says why not.")
    return answer(as_json, checked, lines, checked.is_passed)


@command(app)
def override(context: typer.Context, reason: ReasonOption) -> None:
    """Let mail go to everybody whatever the check of the domains says; who decided so, and why, is kept."""
    from customer360.mail.dns_checks import keep_override

    settings = place_settings(context)
    keep_override(settings.place, _email(settings), console.request(reason))
    say("Mail may go to everybody. Another sender or return path in shop.yaml needs a check of its own.")


@command(app)
def answers(
    context: typer.Context,
    every: Annotated[int | None, typer.Option("--every", min=1, metavar="SECONDS", help="Look again and again.")] = None,
) -> None:
    """Read the mailbox: bounces, complaints and unsubscribes stop who they are of, and what is unclear is kept for people.

    Settings are environment variables CUSTOMER360_MAILBOX_..., see docs/email.md.
    """
    from customer360.mail.links import link_secrets
    from customer360.mail.queue import open_queue
    from customer360.services.mailer.mailbox import UNCLEAR, MailboxError, MailboxSettings, opened, read_mailbox

    settings, own = place_settings(context), MailboxSettings.from_environment(os.environ)
    _email(settings)
    while True:
        try:
            with opened(own) as box:
                counts = read_mailbox(
                    box, open_queue(settings.place), settings.place, link_secrets(settings.place), console.now()
                )
                unclear = box.count(UNCLEAR)
            summary = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(counts.items()))
            say(f"{summary or 'Nothing new'}. {unclear} in the folder {UNCLEAR} wait for a person.")
        except MailboxError as error:
            if every is None:
                raise
            say(f"{error}")
        if every is None:
            return
        time.sleep(every)


@command(app, "opt-ins")
def opt_ins(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV that is made; it is personal, for your account alone.")],
) -> None:
    """Write the confirmed opt-ins with their proof: address, customer, when and where, and which text they saw."""
    from customer360.lake.atomic import write_text
    from customer360.mail.consents import Consents
    from customer360.mail.queue import open_queue

    settings = place_settings(context)
    _email(settings)
    proofs = Consents(open_queue(settings.place), settings.place).proofs()
    write_text(file, proofs.to_csv(index=False), mode=0o600)
    say(f"{many(len(proofs), 'confirmed opt-in')} in {file}.")


def _lines(campaign: CampaignMail) -> list[str]:
    states = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in campaign.states.items())
    lines = [f"{campaign.campaign_id}: {states}"]
    lines += [f"  stopped {campaign.stopped}"] if campaign.stopped else []
    lines += [f"  {verdict.rate}: {verdict.level}, {verdict.reason}" for verdict in campaign.verdicts]
    return lines + [f"  {count:,}: {reason}" for reason, count in campaign.reasons.items()]


def _email(settings: Settings) -> Email:
    from customer360.settings import SettingsError

    if settings.shop.email is None:
        raise SettingsError(f"{settings.shop_folder / 'shop.yaml'}: email is missing; docs/email.md says what it holds")
    return settings.shop.email
