"""``customer360 campaigns``: check campaign files, decide on plans, send contacts, and see what they brought."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from customer360.text import many
from orchestration import console
from orchestration.console import JsonOption, ReasonOption, answer, command, place_settings, say

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from customer360.campaigns.definition import Campaign
    from customer360.campaigns.overview import CampaignOverview, Draft, Version
    from customer360.settings import Settings, Shop

app = console.group("campaigns", "Check, approve, withdraw and send plans, and see what they brought.")

CampaignArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN")]
MEASURES = {"revenue_lift": "revenue a customer", "cuped_revenue_lift": "the same, by spend before", "profit": "profit"}
DECILE = ["decile", "customers", "predicted", "realised"]


@command(app)
def check(context: typer.Context, as_json: JsonOption = False) -> int:
    """Judge the campaign files and count their audiences once something is published; exits with 1 where a file is wrong."""
    from customer360.campaigns.definition import load_shop_campaigns
    from customer360.lake.publishing.version import current_publication, open_version

    settings = console.shop_settings(context)
    folder, shop = settings.campaign_folder, settings.shop
    with open_version(settings.place) if current_publication(settings.place) else nullcontext() as version:
        connection, offers = version.connection if version else None, None
        if version and version.publication.rows.get("offers"):
            offers = [offer for (offer,) in version.connection.execute("select offer_id from offers").fetchall()]
        campaigns, problems = load_shop_campaigns(settings, offers)
        rows = [_audience(connection, campaign, shop) for campaign in campaigns]
    lines = [f"{row['campaign_id']}: {'well' if row['is_well'] else 'wrong'}; {row['audience']}" for row in rows]
    for problem in problems:
        lines += [f"{problem.file}, {problem.field}: {problem.message}", f"  -> {problem.remedy}"]
    lines = lines or [f"{folder} has no campaigns: put a file <campaign>.yaml there"]
    return answer(
        as_json, {"campaigns": rows, "problems": problems}, lines, not problems and all(row["is_well"] for row in rows)
    )


@command(app, "list")
def list_campaigns(context: typer.Context, as_json: JsonOption = False) -> int:
    """Every campaign with its newest draft and what was approved; exits with 1 where a file is wrong."""
    from customer360.campaigns.overview import campaign_overviews

    overviews = campaign_overviews(place_settings(context))
    lines = [line for overview in overviews for line in _lines(overview)] or ["There are no campaigns."]
    documents = [_document(overview) for overview in overviews]
    return answer(as_json, documents, lines, not any(overview.problems for overview in overviews))


@command(app)
def show(context: typer.Context, campaign: CampaignArgument, as_json: JsonOption = False) -> int:
    """One campaign: costs, contacts by channel and day, why others are left out; exits with 1 where its file is wrong."""
    from customer360.campaigns.overview import campaign_overviews
    from customer360.decisions import DecisionRefused

    settings = place_settings(context)
    overviews = {overview.campaign_id: overview for overview in campaign_overviews(settings)}
    if campaign not in overviews:
        raise DecisionRefused(f"there is no campaign {campaign}; there are: {', '.join(overviews) or 'none'}")
    overview = overviews[campaign]
    brief = _brief(settings, overview)
    lines = [*_lines(overview), *_details(overview, settings.shop.currency), *(f"  {line}" for line in brief)]
    return answer(as_json, {**_document(overview), "brief": brief}, lines, not overview.problems)


@command(app)
def approve(
    context: typer.Context,
    campaign: CampaignArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The draft's plan_version, as list shows it.")],
    reason: ReasonOption,
    without_evidence: Annotated[
        bool, typer.Option("--without-evidence", help="Also a draft of which nothing measured says what its contacts add.")
    ] = False,
) -> None:
    """Have the newest draft sent when it is due; it never changes from then on."""
    from customer360.campaigns.approval import approve as approve_plan
    from customer360.lake.operations.clock import shop_now
    from customer360.snapshot import published_touches

    settings, request = place_settings(context), console.request(reason)
    touches = published_touches(settings)
    now = shop_now(settings, request.at)
    done = approve_plan(settings, campaign, version, request, now, touches=touches, without_evidence=without_evidence)
    if done.before:
        say(f"{done.plan_version} was {done.before} already. Nothing was changed.")
        return
    contacts = f"{many(done.contacts, 'contact')} for {done.cost:,.2f} {settings.shop.currency}"
    basis = f", without evidence ({done.unproven})" if done.unproven else ""
    say(f"{done.plan_version} is approved{basis}: {contacts}, {done.holdouts:,} held out.")
    if done.committed:
        say(f"{many(done.committed, 'customer')} of an earlier version keep to that one.")
    say("What is due leaves with customer360 campaigns send, or hourly once send_schedule is switched on.")


@command(app)
def withdraw(
    context: typer.Context,
    campaign: CampaignArgument,
    reason: ReasonOption,
    customer: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this one; may be repeated.")] = None,
) -> None:
    """Take back what is approved and not sent."""
    from customer360.campaigns.approval import withdraw as withdraw_plan
    from customer360.lake.operations.clock import shop_now

    settings, request = place_settings(context), console.request(reason)
    done = withdraw_plan(settings, campaign, request, shop_now(settings, request.at), customer or [])
    say(f"{many(done.contacts, 'contact')} of {done.campaign_id} withdrawn, and {done.holdouts:,} who were held out.")
    if done.sent:
        say(f"{many(done.sent, 'contact')} had been sent and stay sent.")


@command(app)
def send(
    context: typer.Context,
    until: Annotated[
        datetime | None,
        typer.Option(parser=console.moment_option, metavar="TIME", help="Also those due until then, at most 24 hours ahead."),
    ] = None,
) -> int:
    """Hand approved contacts that are due over: to the mail queue, the outbox, and the tools that shop.yaml names."""
    from customer360.campaigns.hand_over import post_outbox
    from customer360.campaigns.sending import outbox
    from customer360.campaigns.sending import send as send_contacts
    from customer360.lake.operations.clock import shop_now

    settings, moment = place_settings(context), console.now()
    done = send_contacts(settings, moment, shop_now(settings, moment), console.user(), until)
    folder = outbox(settings.place)
    lines = [f"handed over after a crash: {file.relative_to(folder)}" for file in done.finished]
    lines += [f"{many(contacts, 'contact')} sent: {file.relative_to(folder)}" for file, contacts in done.files.items()]
    lines += [f"{many(done.queued, 'contact')} queued for the mailer"] if done.queued else []
    lines += [f"{many(contacts, 'contact')} not sent, {reason}" for reason, contacts in done.suppressed.items()]
    next_due = [f"The next contact is due at {done.next_due:%Y-%m-%d %H:%M} UTC."] if done.next_due else []
    posted = post_outbox(settings, os.environ)
    lines += [f"{many(contacts, 'contact')} posted: {file.relative_to(folder)}" for file, contacts in posted.files.items()]
    lines += [f"not posted: {file.relative_to(folder)}: {why}; send posts it again" for file, why in posted.failed.items()]
    say(*(lines or ["No approved contact is due."]), *next_due)
    return 1 if posted.failed else 0


@command(app)
def results(
    context: typer.Context,
    campaign: Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]", help="Only this one.")] = None,
    as_json: JsonOption = False,
) -> int:
    """What campaigns brought beside the customers who were held out, from what is published now; nothing is recorded."""
    from customer360.campaigns.ledger import CONTACT
    from customer360.decisions import DecisionRefused
    from customer360.snapshot import ORDERS, open_snapshot
    from ml.effects.results import published_results
    from ml.effects.variants import variant_lines

    settings, published = place_settings(context), None
    with suppress(FileNotFoundError), open_snapshot(settings) as snapshot:
        published = published_results(snapshot) if snapshot.has(ORDERS) else None
    if published is None:
        raise DecisionRefused(
            "no orders are published yet: customer360 start loads what is in landing, and daily_job adds later ones"
        )
    found = (published.campaigns, published.deciles, published.variants)
    rows, deciles, variants = (table[table["campaign_id"] == campaign] if campaign else table for table in found)
    lines = []
    for name, arms in rows.groupby("campaign_id", sort=False):
        lines.append(f"{name}: {arms['verdict'].iloc[0]}")
        lines += _measures(arms[arms["arm"] == CONTACT].iloc[0], settings.shop.currency)
        lines += [f"  {line}" for line in variant_lines(variants[variants["campaign_id"] == name])]
        for decile, customers, predicted, realised in deciles.loc[deciles["campaign_id"] == name, DECILE].to_numpy():
            lines.append(f"  decile {decile:.0f}: {predicted:.2%} expected, {realised:.2%} of {customers:,.0f} converted")
    none = f"{campaign} has no approved plan yet." if campaign else "No plan is approved yet."
    return answer(as_json, {"campaigns": rows, "deciles": deciles, "variants": variants}, lines or [none])


def _audience(connection: duckdb.DuckDBPyConnection | None, campaign: Campaign, shop: Shop) -> dict[str, Any]:
    """The size of a campaign's audience, the same in words, and whether the filter is one of this shop."""
    from customer360.campaigns.audience import AudienceError, members

    row: dict[str, Any] = {"campaign_id": campaign.campaign_id, "is_well": True, "customers": None}
    if connection is None:
        return {**row, "audience": "its audience is counted once something is published (customer360 start)"}
    try:
        customers = len(members(connection, campaign.audience, shop))
    except AudienceError as error:
        return {**row, "is_well": False, "audience": f"audience: {error}"}
    words = f"{many(customers, 'customer')} in its audience" if customers else "but nobody is in its audience: widen it"
    return {**row, "customers": customers, "audience": words}


def _document(overview: CampaignOverview) -> dict[str, Any]:
    title = overview.campaign.title if overview.campaign else None
    problems, draft, versions = overview.problems, overview.draft, overview.versions
    return {"campaign_id": overview.campaign_id, "title": title, "problems": problems, "draft": draft, "approved": versions}


def _brief(settings: Settings, overview: CampaignOverview) -> list[str]:
    """What the newest draft may earn and measure, in words."""
    import pandas as pd

    from customer360.lake.publishing.publications import newest_plan
    from ml.planning.briefs import brief_lines

    plan = newest_plan(settings.place)
    file = plan / "campaign_briefs.parquet" if plan else None
    if file is None or not file.exists() or overview.draft is None:
        return []
    briefs = pd.read_parquet(file)
    rows = briefs[briefs["plan_version"] == overview.draft.plan_version]
    return [line for _, row in rows.iterrows() for line in brief_lines(row)]


def _lines(overview: CampaignOverview) -> list[str]:
    """A campaign with its problems, its newest draft and its approved versions."""
    from customer360.campaigns.drafts import MEASURED
    from customer360.campaigns.ledger import UNPROVEN
    from ml.planning.reasons import CONTACT, HOLDOUT, LEFT_OUT

    decisions = {CONTACT: "to contact", HOLDOUT: "to hold out", LEFT_OUT: "left out"}
    draft, versions = overview.draft, overview.versions
    title = overview.campaign.title if overview.campaign else "its file is wrong" if overview.problems else "its file is gone"
    lines = [f"{overview.campaign_id}: {title}"]
    lines += [f"  {problem.field}: {problem.message} -> {problem.remedy}" for problem in overview.problems]
    if draft:
        status = "newest plan" if draft.plan_version in [version.plan_version for version in versions] else "draft"
        counts = [f"{draft.decisions[name]:,} {text}" for name, text in decisions.items() if name in draft.decisions]
        basis = "" if draft.value_basis == MEASURED else f"; {draft.value_basis}"
        lines.append(f"  {status} {draft.plan_version}: {', '.join(counts)}{basis}{_changed(draft)}")
    for version in versions:
        counts = [many(version.contacts, "contact"), f"{version.holdouts:,} held out"]
        counts += [f"{count:,} {event}" for event, count in version.events.items()]
        basis = f"; {UNPROVEN}" if version.is_unproven else ""
        lines.append(f"  approved {version.plan_version}: {', '.join(counts)}{basis}{_changed(version)}")
    return lines


def _changed(plan: Draft | Version) -> str:
    return f"; changed since this plan: {', '.join(plan.changed)}" if plan.changed else ""


def _details(overview: CampaignOverview, currency: str) -> list[str]:
    from customer360.campaigns.drafts import MEASURED

    lines = [
        f"  {version.plan_version} by {version.approved_by}, {version.approved_at:%Y-%m-%d %H:%M} UTC: {version.reason}"
        for version in overview.versions
    ]
    if draft := overview.draft:
        costs = f"{draft.cost:,.2f} {currency} for an expected value of {draft.value:,.2f} {currency}"
        supposed = "" if draft.value_basis == MEASURED else f", if contacts do what documented ones did ({draft.value_basis})"
        has_contacts = bool(draft.by_channel_and_day)
        lines.append(f"  {draft.plan_version} " + (f"costs {costs}{supposed}" if has_contacts else "contacts nobody"))
        lines += [f"    {row['contacts']:,} by {row['channel']} on {row['day']}" for row in draft.by_channel_and_day]
        lines += [f"    {count:,} left out: {reason}" for reason, count in draft.reasons.items()]
    return lines


def _measures(row: pd.Series, currency: str) -> list[str]:
    """Contacts and cost of a campaign, and its measures; those without an interval say so, and unknown ones are left out."""
    import pandas as pd

    if not row["customers"]:
        return [f"  {row['planned']:,} planned, none judged yet"]
    judged = f"{row['customers']:,} judged and {row['planned']:,} planned"
    lines = [f"  {row['contacted']:,} contacted of {judged}, for {row['cost']:,.2f} {currency}"]
    for name, text in MEASURES.items():
        value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
        if not any(pd.isna(bound) or math.isinf(bound) for bound in (value, low, high)):
            lines.append(f"  {text}: {value:+,.2f} {currency} (95% interval {low:+,.2f} to {high:+,.2f})")
        elif not pd.isna(value) and value:
            lines.append(
                f"  {text}: {value:+,.2f} {currency} (no interval: in one arm all spent alike, or there is one customer)"
            )
    return lines
