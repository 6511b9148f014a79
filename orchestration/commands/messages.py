"""``customer360 messages``: begin a message, judge it alone or for its whole audience, and see it as a customer does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from customer360.text import many
from orchestration import console
from orchestration.console import JsonOption, answer, command, place_settings, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customer360.campaigns.definition import Campaign
    from customer360.mail.message import Message
    from customer360.settings import Settings, Shop

app = console.group("messages", "Begin, judge and see the messages that campaigns send by e-mail.")

MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE")]


@command(app, "list")
def list_messages(context: typer.Context, as_json: JsonOption = False) -> int:
    """Every message with its languages, variants and the campaigns that send it; exits with 1 where one cannot be read."""
    from customer360.mail.message import load_messages

    settings = console.shop_settings(context)
    messages, problems = load_messages(settings)
    rows = [
        {
            "name": message.name,
            "title": message.title,
            "languages": message.languages,
            "variants": message.variant_names,
            "hash": message.content_hash,
            "campaigns": [campaign.campaign_id for campaign in _campaigns(settings, message)],
        }
        for message in messages
    ]
    lines = [
        f"{row['name']}: {row['title']}; {', '.join(row['languages'])}; variant {' or '.join(row['variants'])}; "
        f"{'sent by ' + ', '.join(row['campaigns']) if row['campaigns'] else 'no campaign sends it'}"
        for row in rows
    ]
    lines += [str(problem) for problem in problems]
    lines = lines or ["There are no messages: customer360 messages new NAME --from offer begins one."]
    return answer(as_json, {"messages": rows, "problems": problems}, lines, not problems)


@command(app)
def check(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[MESSAGE]", help="Only this one.")] = None,
    audience: Annotated[
        bool, typer.Option("--audience", help="Render it for the audience of each campaign that sends it.")
    ] = False,
    spam: Annotated[bool, typer.Option("--spam", help="Have SpamAssassin score it, where it is installed.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Judge messages: links, values, what the law requires, size; exits with 1 where one may not be sent."""
    from customer360.decisions import DecisionRefused
    from customer360.mail.checking import check_message
    from customer360.mail.message import load_messages

    settings = console.shop_settings(context)
    messages, problems = load_messages(settings)
    chosen = [message for message in messages if name in (None, message.name)]
    problems = [problem for problem in problems if name in (None, problem.name)]
    if name is not None and not chosen and not problems:
        raise DecisionRefused(f"there is no message {name}; there are {', '.join(found.name for found in messages) or 'none'}")
    rows: list[dict[str, Any]] = []
    for message in chosen:
        wrong = check_message(message, settings.shop)
        problems += wrong
        row: dict[str, Any] = {"name": message.name, "is_well": not wrong}
        if not wrong:
            row |= {"spam": _spam(message, settings.shop)} if spam else {}
            row |= {"audiences": list(_audiences(settings, message))} if audience else {}
        rows.append(row)
    lines = [line for row in rows for line in _checked_lines(row)]
    for problem in problems:
        lines += [f"{problem.file}, {problem.field}: {problem.message}", f"  -> {problem.remedy}"]
    is_well = not problems and all(check.is_well for row in rows for _, check in row.get("audiences", []))
    lines = lines or ["There are no messages: customer360 messages new NAME --from offer begins one."]
    return answer(as_json, {"messages": rows, "problems": problems}, lines, is_well)


@command(app)
def preview(
    context: typer.Context,
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN")],
    customer: Annotated[str, typer.Option("--customer", metavar="ID", help="Whose message.")],
    variant: Annotated[str, typer.Option(metavar="LETTER", help="Of a message with variants.")] = "A",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write FILE.html or FILE.eml instead of the text.")
    ] = None,
) -> None:
    """What a customer would get from a campaign; the links of a preview count nothing and stop nobody's messages."""
    from customer360.campaigns.definition import load_shop_campaigns
    from customer360.decisions import DecisionRefused
    from customer360.mail.message import load_messages
    from customer360.mail.previews import as_mail
    from customer360.mail.previews import preview as preview_message
    from customer360.snapshot import open_snapshot

    settings = place_settings(context)
    if to is not None and to.suffix not in (".html", ".eml"):
        raise DecisionRefused(f"{to} ends in neither .html nor .eml; name the file so")
    campaigns = {found.campaign_id: found for found in load_shop_campaigns(settings)[0]}
    messages = {message.name: message for message in load_messages(settings)[0]}
    chosen = campaigns.get(campaign)
    if chosen is None or chosen.message not in messages:
        known = ", ".join(name for name, found in campaigns.items() if found.message in messages) or "none"
        raise DecisionRefused(f"{campaign} is no campaign that sends a message; there are {known}")
    with open_snapshot(settings) as snapshot:
        made = preview_message(snapshot, messages[chosen.message], chosen, customer, variant)
    if to is None:
        say(
            f"Subject: {made.subject}",
            f"Preheader: {made.preheader}",
            f"HTML: {len(made.html.encode()):,} bytes",
            "",
            made.text,
        )
        return
    to.write_bytes(made.html.encode() if to.suffix == ".html" else as_mail(made, settings.shop, console.now()))
    say(f"{to} is what {customer} would get.")


@command(app)
def new(
    context: typer.Context,
    name: MessageArgument,
    starter: Annotated[
        str, typer.Option("--from", metavar="STARTER", help="offer, win_back, news or recommendations.")
    ] = "offer",
) -> None:
    """Begin a message from one that comes with the product: change its words, and name it in a campaign."""
    from customer360.mail.previews import new_message

    folder = new_message(console.shop_settings(context), name, starter)
    say(f"{folder} is a copy of {starter}. Change its words, then: customer360 messages check {name}")


@command(app)
def rotate_links(context: typer.Context) -> None:
    """Sign links with a new secret from the next message on; links that were sent stay good."""
    from customer360.mail.links import link_secrets_file
    from customer360.secret_files import make_secret

    make_secret(link_secrets_file(place_settings(context).place))
    say("Links are signed with a new secret; those that were sent stay good. Restart the mailer and the api to use it.")


def _campaigns(settings: Settings, message: Message) -> list[Campaign]:
    from customer360.campaigns.definition import load_shop_campaigns

    return [campaign for campaign in load_shop_campaigns(settings)[0] if campaign.message == message.name]


def _spam(message: Message, shop: Shop) -> Any:
    """The worst score of the message's variants and languages, with made-up values."""
    from customer360.mail.checking import sample_values
    from customer360.mail.links import PreviewLinks
    from customer360.mail.previews import as_mail
    from customer360.mail.rendering import Renderer, email_of
    from customer360.mail.spam import spam_score

    renderer, values, links = Renderer(message, shop), sample_values(message, shop), PreviewLinks(email_of(shop).public_url)
    pairs = [(variant, language) for variant in message.variant_names for language in message.languages]
    made = (renderer.render(variant, language, values, links) for variant, language in pairs)
    return max((spam_score(as_mail(found, shop, console.now())) for found in made), key=lambda score: score.score)


def _audiences(settings: Settings, message: Message) -> Iterator[tuple[str, Any]]:
    """How the message comes out for the audience of each campaign that sends it, once something is published."""
    from customer360.campaigns.audience import members
    from customer360.mail.checking import render_check
    from customer360.mail.variables import message_values
    from customer360.snapshot import open_snapshot

    with suppress(FileNotFoundError), open_snapshot(settings) as snapshot:
        for campaign in _campaigns(settings, message):
            customers = members(snapshot.connection, campaign.audience, settings.shop)
            values = message_values(snapshot, message, campaign, list(customers))
            yield campaign.campaign_id, render_check(message, settings.shop, values)


def _checked_lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['name']}: {'well' if row['is_well'] else 'may not be sent'}"
    if spam := row.get("spam"):
        rules = ", ".join(f"{name} {points:+.1f}" for name, points in spam.rules.items())
        yield f"  SpamAssassin gives it {spam.score:.1f} (5 is spam): {rules}"
    for campaign, check in row.get("audiences", []):
        sizes = f"the largest {check.largest_bytes:,} bytes"
        yield f"  {campaign}: {many(check.rendered, 'message')}, {sizes}, {check.failed:,} may not be sent"
        yield from (f"    {count:,} left out: {reason}" for reason, count in check.left_out.items())
        yield from (f"    {failure.customer_id}: {failure.reason}" for failure in check.failures)
