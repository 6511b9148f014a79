"""``customer360 campaigns check``."""

from __future__ import annotations

import argparse

from customer360.campaigns.audience import AudienceError, members
from customer360.campaigns.definition import Campaign, load_campaigns
from customer360.lake.publishing.version import current_publication, reader
from customer360.settings import Settings
from customer360.words import many
from orchestration.console import WELL, WRONG, say, settings_of

EXPECTED = ()
NOT_COUNTED = "its audience is counted once something is published"


def run(options: argparse.Namespace) -> int:
    """Judge the campaign files; count each audience when something is published. 1 where a file is wrong."""
    settings = settings_of(options)
    folder = settings.campaign_folder
    publication = current_publication(settings.place)
    offers = _offers(settings) if publication and publication.rows.get("offers") else None
    campaigns, problems = load_campaigns(folder, settings.shop, offers)
    failed = 0
    for campaign in campaigns:
        audience, is_well = _audience(settings, campaign) if publication else (NOT_COUNTED, True)
        failed += not is_well
        say(f"{campaign.campaign_id}: {'well' if is_well else 'wrong'}; {audience}")
    for problem in problems:
        say(f"{problem.file}, {problem.field}: {problem.message}", f"  -> {problem.remedy}")
    if not campaigns and not problems:
        say(f"{folder} has no campaigns: put a file <campaign>.yaml there")
    return WRONG if problems or failed else WELL


def _offers(settings: Settings) -> list[str]:
    with reader(settings.place) as connection:
        return [offer for (offer,) in connection.execute("select offer_id from offers").fetchall()]


def _audience(settings: Settings, campaign: Campaign) -> tuple[str, bool]:
    """The audience in words, and whether it can be asked for."""
    try:
        with reader(settings.place) as connection:
            found = len(members(connection, campaign.audience, settings.shop))
    except AudienceError as error:
        return f"audience: {error}", False
    return f"{many(found, 'customer')} in its audience", True
