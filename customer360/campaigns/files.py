"""Campaign files that people make in the desk, in ``DATA_DIR/campaigns/definitions``. The shop's own are never written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from customer360.campaigns.definition import Campaign, CampaignProblem, read_campaign
from customer360.campaigns.ledger import deciding
from customer360.decisions import DecisionRefused
from customer360.definition_files import LONGEST_NAME, is_name
from customer360.lake.atomic import write_text
from customer360.mail.message import load_messages
from customer360.settings import Settings
from customer360.translation import gettext as _


class CampaignRefused(DecisionRefused):
    """A file was not written, since something in it is wrong: ``problems`` say what, each with its remedy."""

    def __init__(self, problems: list[CampaignProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def made_file(settings: Settings, campaign_id: str) -> Path:
    """Where the file of a campaign that is made in the desk lies. Raises ``DecisionRefused`` on what is no name."""
    if not is_name(campaign_id):
        raise DecisionRefused(
            _(
                "a campaign's name has small letters, digits, - and _, and at most %(most)s characters, such as spring-sale",
                most=LONGEST_NAME,
            )
        )
    return settings.made_campaign_folder / f"{campaign_id}.yaml"


def campaign_text(settings: Settings, campaign_id: str) -> tuple[str | None, bool]:
    """The text of a campaign's file, None where there is none, and whether it is one that may be edited here."""
    made, own = made_file(settings, campaign_id), settings.campaign_folder / f"{campaign_id}.yaml"
    file = own if own.exists() else made
    return (file.read_text(encoding="utf-8") if file.exists() else None), file == made


def fields_text(fields: Mapping[str, Any]) -> str:
    """A campaign's fields as the text of its file; those that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=120)


def fields_of(campaign: Campaign) -> dict[str, Any]:
    """The fields of a campaign that differ from their defaults, as its file has them, without its name."""
    return campaign.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"campaign_id"})


def write_campaign(
    settings: Settings, campaign_id: str, text: str, before: str | None, offers: Collection[str] | None = None
) -> Campaign:
    """Write the file of a campaign, whose text was ``before`` when the edit began (None: there was none).

    Raises ``CampaignRefused`` where anything in it is wrong, ``DecisionRefused`` where the shop has a file of this name, or
    somebody else wrote the file since; nothing is written then.
    """
    with deciding(settings.place):
        known, is_ours = campaign_text(settings, campaign_id)
        if not is_ours:
            raise DecisionRefused(
                _(
                    "%(name)s is a file of the shop's own, which is not written here. Save it under another name",
                    name=campaign_id,
                )
            )
        if known != before:
            if known is None:
                text = _("the file of %(name)s was removed meanwhile. Open it again, and repeat your edit", name=campaign_id)
            elif before is None:
                text = _("the file of %(name)s was written meanwhile. Open it again, and repeat your edit", name=campaign_id)
            else:
                text = _("the file of %(name)s was changed meanwhile. Open it again, and repeat your edit", name=campaign_id)
            raise DecisionRefused(text)
        messages = [message.name for message in load_messages(settings)[0]]
        campaign, problems = read_campaign(f"{campaign_id}.yaml", text, settings.shop, offers, messages)
        if campaign is None:
            raise CampaignRefused(problems)
        write_text(made_file(settings, campaign_id), text)
    return campaign


def remove_campaign(settings: Settings, campaign_id: str, before: str) -> None:
    """Remove a file that was made in the desk; what is planned or approved stays. Raises as ``write_campaign``."""
    with deciding(settings.place):
        known, is_ours = campaign_text(settings, campaign_id)
        if not is_ours:
            raise DecisionRefused(_("%(name)s is a file of the shop's own, which is not removed here", name=campaign_id))
        if known != before:
            raise DecisionRefused(_("the file of %(name)s was changed meanwhile. Look at it again", name=campaign_id))
        made_file(settings, campaign_id).unlink()
