"""Campaign files: made, edited as a form or as text, with what is wrong and how to mend it, and removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from customer360.audiences.sizes import audience_size
from customer360.campaigns.audience import AudienceError
from customer360.campaigns.definition import Campaign, CampaignProblem, read_campaign
from customer360.campaigns.files import (
    CampaignRefused,
    campaign_text,
    fields_text,
    remove_campaign,
    write_campaign,
)
from customer360.decisions import DecisionRefused
from customer360.definition_files import is_name
from customer360.mail.message import load_messages
from customer360.services.desk.access import PLAN, DeskRequest, page
from customer360.services.desk.audit import record
from customer360.services.desk.campaign_forms import CampaignForm, fields_from, values_of
from customer360.services.desk.pages.campaigns import CAMPAIGN_SAVED
from customer360.services.desk.show import show

START = {"audience": "everyone", "from_0": 8, "to_0": 20}


@dataclass
class Edit:
    """A campaign that is edited: its file's name, the text as it would be written, the form, and what is wrong with the text.

    ``before``: the text of the file when the edit began, None where there was none.
    """

    campaign_id: str
    text: str
    form: CampaignForm
    before: str | None = None
    campaign: Campaign | None = None
    problems: list[CampaignProblem] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """The file when the edit began, as a hash."""
        return _mark(self.before)


@page("campaign-new/", PLAN, name="campaign_new", methods=("GET", "POST"))
def campaign_new(request: DeskRequest) -> HttpResponse:
    """Make a campaign; ``?audience=`` and ``?copy=`` say where it begins."""
    copied, _is_ours = (
        campaign_text(request.settings, name) if (name := request.GET.get("copy", "")) and is_name(name) else (None, True)
    )
    start = {**START, "audience": request.GET.get("audience", "everyone")}
    if copied is not None:
        campaign, _problems = read_campaign(f"{name}.yaml", copied, request.settings.shop)
        start = {**values_of(campaign), "campaign_id": f"{name}-copy"[:60]} if campaign else start
    return _edited(request, "", None, start)


@page("campaigns/<slug:campaign_id>/edit/", PLAN, name="campaign_edit", methods=("GET", "POST"))
def campaign_edit(request: DeskRequest, campaign_id: str) -> HttpResponse:
    """Edit a campaign that was made here; the shop's own file is shown, to be copied."""
    known, is_ours = campaign_text(request.settings, campaign_id) if is_name(campaign_id) else (None, True)
    if known is None:
        messages.error(request, _("There is no file of this campaign; make a new one."))
        return redirect("campaign_new")
    if not is_ours:
        return show(request, "desk/campaign_file.html", {"campaign_id": campaign_id, "text": known})
    campaign, _problems = read_campaign(f"{campaign_id}.yaml", known, request.settings.shop)
    return _edited(request, campaign_id, known, values_of(campaign) if campaign else {"campaign_id": campaign_id})


@page("campaigns/<slug:campaign_id>/remove/", PLAN, name="campaign_remove", methods=("POST",))
def campaign_remove(request: DeskRequest, campaign_id: str) -> HttpResponse:
    """Remove a file that was made here; plans and approvals stay."""
    known, _is_ours = campaign_text(request.settings, campaign_id) if is_name(campaign_id) else (None, True)
    if known is None:
        messages.error(request, _("There is no file of this campaign."))
        return redirect("campaigns")
    try:
        with transaction.atomic():
            record(request, "campaign removed", subject=campaign_id, details={"text": known})
            remove_campaign(request.settings, campaign_id, known)
    except DecisionRefused as refused:
        messages.error(request, str(refused))
    return redirect("campaigns")


def _edited(request: DeskRequest, campaign_id: str, before: str | None, start: dict[str, Any]) -> HttpResponse:
    """Answer the form (``by`` is form), the text (text), or the beginning of an edit."""
    shop, by = request.settings.shop, request.POST.get("by")
    offers = _offers(request)
    choices = (offers, [(message.name, f"{message.name}: {message.title}") for message in load_messages(request.settings)[0]])
    form = CampaignForm(shop, *choices, initial=start)
    text = before or ""
    if by == "form":
        form = CampaignForm(
            shop, *choices, {**request.POST.dict(), **_lists(request), **({"campaign_id": campaign_id} if campaign_id else {})}
        )
        base = read_campaign(f"{campaign_id}.yaml", before, shop)[0] if before else None
        text = fields_text(fields_from(form.cleaned_data, shop, base)) if form.is_valid() else request.POST.get("text", text)
    elif by == "text":
        text = request.POST.get("text", "").replace("\r\n", "\n")
    name = campaign_id or request.POST.get("campaign_id", "").strip()
    edit = Edit(name, text, form, before)
    if text and name:
        edit.campaign, edit.problems = read_campaign(f"{name}.yaml", text, shop, [offer for offer, _name in offers] or None)
        if by == "text" and edit.campaign is not None:
            edit.form = CampaignForm(shop, *choices, initial=values_of(edit.campaign))
    if by and "save" in request.POST and text and (by == "text" or form.is_valid()):
        saved = _saved(request, edit)
        if saved is not None:
            return saved
    context = {"edit": edit, "form": edit.form, "is_new": not campaign_id, "size": _size(request, edit.campaign)}
    return show(request, "desk/campaign_edit.html", context)


def _saved(request: DeskRequest, edit: Edit) -> HttpResponse | None:
    """Write the file; None where that was refused, and why is among the messages or the problems."""
    if request.POST.get("mark", "") != edit.mark:
        messages.error(request, _("Somebody else changed this file since you opened it. Open it again, and repeat your edit."))
        return None
    offers = [offer for offer, _name in _offers(request)] or None
    try:
        with transaction.atomic():
            record(request, CAMPAIGN_SAVED, subject=edit.campaign_id, details={"text": edit.text})
            write_campaign(request.settings, edit.campaign_id, edit.text, edit.before, offers)
    except CampaignRefused as refused:
        edit.problems = refused.problems
        return None
    except DecisionRefused as refused:
        messages.error(request, str(refused))
        return None
    messages.success(request, _("%(name)s is saved. Plan all campaigns to have a draft of it.") % {"name": edit.campaign_id})
    return redirect("campaign", edit.campaign_id)


def _size(request: DeskRequest, campaign: Campaign | None) -> Any:
    """The audience through the campaign's channels, as a plan would count it; None where it cannot be counted."""
    if campaign is None:
        return None
    try:
        return audience_size(request.snapshot, campaign.audience, list(campaign.channels))
    except AudienceError:
        return None


def _offers(request: DeskRequest) -> list[tuple[str, str]]:
    if not request.snapshot.has("offers"):
        return []
    rows = request.snapshot.connection.execute("select offer_id, coalesce(name, offer_id) from offers order by 1").fetchall()
    return [(str(offer), f"{offer}: {name}") for offer, name in rows]


def _lists(request: DeskRequest) -> dict[str, list[str]]:
    return {name: request.POST.getlist(name) for name in request.POST if name.startswith("days_")}


def _mark(text: str | None) -> str:
    return "" if text is None else sha256(text.encode()).hexdigest()
