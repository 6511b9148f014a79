"""A campaign is a file, ``<campaign_id>.yaml``: no code, validated when it is read.

The shop's own lie in ``shops/<name>/campaigns``; those that were made in the desk in ``DATA_DIR/campaigns/definitions``.

A file that is wrong becomes a ``CampaignProblem`` that names the file, the field, what is wrong and the remedy; the other
campaigns run.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from customer360.campaigns.audience import AudienceError, parse_audience
from customer360.definition_files import (
    LONGEST_NAME,
    NAME,
    WHOLE_FILE,
    FileProblem,
    UnreadableError,
    loaded_fields,
    nearest_remedy,
    validation_problems,
)
from customer360.mail.message import load_messages
from customer360.settings import MAIL_CHANNEL, Daypart, FrequencyCap, Identifier, Settings, Shop, Strict
from customer360.text import without_markup
from customer360.translation import gettext as _

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MANUAL = "docs/campaigns.md"


class Channel(Strict):
    """What a contact costs, in the shop's currency, and how many there may be a day; without a number, any."""

    cost: Amount = 0.0
    capacity_per_day: Annotated[int, Field(ge=0)] | None = None


class SendWindow(Daypart):
    """Local hours [from, to) of some weekdays (1 is Monday), in the customer's time zone."""

    days: Annotated[tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(min_length=1)] = (1, 2, 3, 4, 5, 6, 7)


class FrequencyCaps(Strict):
    """Caps on contacts of all campaigns (``overall``), and by channel of all campaigns. A campaign contacts nobody twice."""

    overall: FrequencyCap | None = None
    channels: dict[Identifier, FrequencyCap] = Field(default_factory=dict)


class Campaign(Strict):
    """One campaign. Money is in the shop's currency, days and hours are the customer's, both ends of the dates included.

    ``budget`` is for the whole campaign, without one there is no limit; capacities are this campaign's own. ``priority`` 1 is
    planned first. ``holdout_share`` of those who would be contacted are not, so that the effect can be measured;
    ``exploration_share`` get an allowed combination of channel, day and daypart that is drawn at random. ``message`` is what
    its contacts by email are sent; without one they go to the outbox, as those of other channels.
    """

    campaign_id: Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Identifier = "general"
    offer_id: Annotated[str, Field(min_length=1)] | None = None
    message: Annotated[str, Field(min_length=1)] | None = None
    audience: Annotated[str, Field(min_length=1)]
    starts_on: date | None = None
    ends_on: date | None = None
    value_per_conversion: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    budget: Amount | None = None
    channels: Annotated[dict[Identifier, Channel], Field(min_length=1)]
    send_windows: Annotated[tuple[SendWindow, ...], Field(min_length=1)] = (SendWindow.model_validate({"from": 8, "to": 20}),)
    frequency_caps: FrequencyCaps = FrequencyCaps()
    minimum_gap_days: Annotated[int, Field(ge=0, le=366)] = 0
    priority: Annotated[int, Field(ge=1)] = 100
    holdout_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    exploration_share: Annotated[float, Field(ge=0, le=1)] = 0.05

    @field_validator("starts_on", "ends_on", mode="before")
    @classmethod
    def _plain_date(cls, value: object) -> object:
        # YAML reads 20260501 as a number, which would become a day of 1970.
        if value is not None and (not isinstance(value, date | str) or hasattr(value, "hour")):
            raise ValueError(_("write a day as 2026-05-01"))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.starts_on and self.ends_on and self.ends_on < self.starts_on:
            raise ValueError(_("ends_on %(last)s lies before starts_on %(first)s", last=self.ends_on, first=self.starts_on))
        return self

    def runs_on(self, day: date) -> bool:
        """Whether a contact may lie on this day."""
        return (self.starts_on is None or self.starts_on <= day) and (self.ends_on is None or day <= self.ends_on)

    def hours_on(self, weekday: int) -> set[int]:
        """Local hours in which a contact may be sent on a weekday (1 is Monday)."""
        return {hour for window in self.send_windows if weekday in window.days for hour in range(window.start, window.end)}


@dataclass(frozen=True)
class CampaignProblem(FileProblem):
    """Why a campaign does not run."""

    @property
    def campaign_id(self) -> str:
        """The campaign that the file is of."""
        return Path(self.file).stem


def load_shop_campaigns(
    settings: Settings, offers: Collection[str] | None = None
) -> tuple[list[Campaign], list[CampaignProblem]]:
    """The campaigns of both folders of a shop, as ``load_campaigns`` has them. Of two of one name the shop's own counts."""
    messages = [message.name for message in load_messages(settings)[0]]
    campaigns, problems = load_campaigns(settings.campaign_folder, settings.shop, offers, messages)
    made, wrong = load_campaigns(settings.made_campaign_folder, settings.shop, offers, messages)
    names = {path.stem for path in settings.campaign_folder.glob("*.yaml")}
    twice = {campaign.campaign_id for campaign in made} & names
    taken = _("%(folder)s has a campaign of this name", folder=settings.campaign_folder)
    remedy = _("give this one another name")
    wrong += [CampaignProblem(f"{name}.yaml", _(WHOLE_FILE), taken, remedy) for name in sorted(twice)]
    campaigns += [campaign for campaign in made if campaign.campaign_id not in twice]
    return sorted(campaigns, key=_order_of_planning), [*problems, *wrong]


def load_campaigns(
    folder: Path, shop: Shop, offers: Collection[str] | None = None, messages: Collection[str] | None = None
) -> tuple[list[Campaign], list[CampaignProblem]]:
    """The campaigns of ``folder`` in the order of planning (priority, then id), and what is wrong with the others.

    ``offers`` and ``messages``: those that exist, where they are known; a campaign's must be one of them. No folder means no
    campaigns.
    """
    campaigns: list[Campaign] = []
    problems: list[CampaignProblem] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix == ".yml":
            problems.append(
                CampaignProblem(
                    path.name, _(WHOLE_FILE), _("campaigns end in .yaml"), _("rename it to %(name)s", name=f"{path.stem}.yaml")
                )
            )
        if path.suffix != ".yaml" or path.name.startswith((".", "_")):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            remedy = _("write it as UTF-8 text that the service may read")
            problems.append(CampaignProblem(path.name, _(WHOLE_FILE), _("it cannot be read: %(error)s", error=error), remedy))
            continue
        campaign, wrong = read_campaign(path.name, text, shop, offers, messages)
        problems += wrong
        if campaign is not None:
            campaigns.append(campaign)
    return sorted(campaigns, key=_order_of_planning), problems


def _order_of_planning(campaign: Campaign) -> tuple[int, str]:
    return campaign.priority, campaign.campaign_id


def campaign_problems(
    campaign: Campaign,
    shop: Shop,
    offers: Collection[str] | None = None,
    file: str | None = None,
    messages: Collection[str] | None = None,
) -> list[CampaignProblem]:
    """What of a campaign does not fit the shop: channels, audience, offer, message, send windows outside every daypart."""
    file = file or f"{campaign.campaign_id}.yaml"
    found = [
        CampaignProblem(
            file,
            f"channels.{name}",
            _("%(name)s is no channel of shop.yaml", name=repr(name)),
            nearest_remedy(name, shop.channels),
        )
        for name in campaign.channels
        if name not in shop.channels
    ]
    found += [
        CampaignProblem(
            file,
            f"frequency_caps.channels.{name}",
            _("%(name)s is no channel of this campaign", name=repr(name)),
            nearest_remedy(name, list(campaign.channels)),
        )
        for name in campaign.frequency_caps.channels
        if name not in campaign.channels
    ]
    if offers is not None and campaign.offer_id is not None and campaign.offer_id not in offers:
        known = (
            nearest_remedy(campaign.offer_id, sorted(offers))
            if offers
            else _("load an offer of that id into landing/reference/offers")
        )
        shown = repr(without_markup(campaign.offer_id, 60))
        found.append(CampaignProblem(file, "offer_id", _("there is no offer %(name)s", name=shown), known))
    found += [CampaignProblem(file, "message", *problem) for problem in _message_problems(campaign, shop, messages)]
    try:
        parse_audience(campaign.audience, shop)
    except AudienceError as error:
        found.append(CampaignProblem(file, "audience", error.message, error.remedy))
    hours = {hour for daypart in shop.dayparts.values() for hour in range(daypart.start, daypart.end)}
    for place, window in enumerate(campaign.send_windows):
        if not hours & set(range(window.start, window.end)):
            parts = ", ".join(f"{name} {part.start} to {part.end}" for name, part in shop.dayparts.items())
            wrong = _("%(from)s to %(to)s lies in no daypart of shop.yaml", **{"from": window.start, "to": window.end})
            found.append(CampaignProblem(file, f"send_windows.{place}", wrong, _("choose hours within %(parts)s", parts=parts)))
    return found


def _message_problems(campaign: Campaign, shop: Shop, messages: Collection[str] | None) -> Iterator[tuple[str, str]]:
    """Why the campaign's message cannot be sent, with the remedy."""
    if campaign.message is None:
        return
    if MAIL_CHANNEL not in campaign.channels:
        wrong = _("a message is sent by the channel email, which the campaign does not use")
        yield wrong, _("add the channel, or leave it out")
    if shop.email is None:
        wrong = _("shop.yaml does not say how the shop mails")
        yield wrong, _("add the block email to shop.yaml; see docs/your-data.md")
    if messages is not None and campaign.message not in messages:
        name = without_markup(campaign.message, LONGEST_NAME)
        missing = _("add the folder messages/%(name)s", name=name)
        other = nearest_remedy(campaign.message, sorted(messages)) if messages else missing
        wrong = _("there is no message %(name)s that can be sent", name=repr(name))
        yield wrong, _("%(remedy)s; a message with a mistake counts as none", remedy=other)


def read_campaign(
    file: str,
    text: str,
    shop: Shop,
    offers: Collection[str] | None = None,
    messages: Collection[str] | None = None,
) -> tuple[Campaign | None, list[CampaignProblem]]:
    """The campaign that the text of a file of this name says; None where anything of it is wrong."""
    name = Path(file).stem
    try:
        campaign = Campaign.model_validate({**_loaded(name, text), "campaign_id": name})
    except UnreadableError as error:
        return None, [CampaignProblem(file, _(WHOLE_FILE), *error.args)]
    except ValidationError as error:
        return None, [CampaignProblem(file, *problem) for problem in validation_problems(error, _fields, MANUAL)]
    problems = campaign_problems(campaign, shop, offers, file, messages)
    return None if problems else campaign, problems


def _loaded(name: str, text: str) -> dict[Hashable, Any]:
    """The fields of the file of a campaign. Raises ``UnreadableError``."""
    fields = loaded_fields(text, MANUAL)
    if fields.get("campaign_id", name) != name:
        raise UnreadableError(
            _("campaign_id is not the file's name, %(name)s", name=name), _("leave the field out, or name both alike")
        )
    return fields


def _fields(location: Sequence[int | str]) -> list[str]:
    """The fields that exist where a wrong one stands."""
    places: dict[str, type[BaseModel]] = {"channels": Channel, "send_windows": SendWindow, "frequency_caps": FrequencyCaps}
    model: type[BaseModel] = Campaign
    if len(location) > 1:
        model = places.get(str(location[0]), Campaign)
        if model is FrequencyCaps and len(location) > 2:
            model = FrequencyCap
    return [field.alias or name for name, field in model.model_fields.items()]
