"""Messages of e-mails: the list, the words that a marketer fills in, and how a message looks, also for a customer."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from csp.decorators import csp, csp_update
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.clickjacking import xframe_options_sameorigin

from customer360.campaigns.definition import Campaign, load_shop_campaigns
from customer360.decisions import DecisionRefused
from customer360.mail.checking import check_message, sample_values
from customer360.mail.links import PreviewLinks
from customer360.mail.message import Message, MessageProblem, load_messages
from customer360.mail.message_files import (
    MessageRefused,
    copy_message,
    is_made,
    remove_message,
    slots_of,
    with_texts,
    write_texts,
)
from customer360.mail.previews import preview, starter_names
from customer360.mail.rendering import Rendered, Renderer, email_of
from customer360.services.desk.access import PERSONAL, PLAN, VIEW, DeskRequest, page
from customer360.services.desk.audit import PERSONAL_VIEWED, record
from customer360.services.desk.models import AuditEntry
from customer360.services.desk.show import show
from customer360.services.mailer.testing import send_test_mail
from customer360.settings import SettingsError

# Of a message that is looked at: its styles and pictures; no script, no form, and no address of its own.
OF_MESSAGE = {
    "default-src": ["'none'"],
    "style-src": ["'unsafe-inline'"],
    "img-src": ["https:", "http:", "data:"],
    "frame-ancestors": ["'self'"],
    "sandbox": ["allow-popups"],
}
SAVED, REMOVED = "message saved", "message removed"
TEST_ASKED, TEST_SENT = "test mail asked for", "test mail sent"
CHOICES = ("variant", "language", "customer", "campaign")  # what a look at a message, or a test mail of it, is of
MOST_TESTS = 20  # that an account may ask for in an hour


@page("messages/", VIEW, name="messages", title=gettext_lazy("Messages"), order=44, reads=False)
def message_list(request: DeskRequest) -> HttpResponse:
    """Every message, what is wrong with it, and the campaigns that send it."""
    if request.settings.shop.email is None:
        return show(request, "desk/messages.html", {"is_off": True})
    known, problems = load_messages(request.settings)
    senders = _senders(request)
    rows = [
        {
            "message": message,
            "problems": check_message(message, request.settings.shop),
            "campaigns": [name for name, campaign in senders.items() if campaign.message == message.name],
            "is_made": is_made(request.settings, message.name),
        }
        for message in known
    ]
    sources = [*starter_names(), *(message.name for message in known if message.name not in starter_names())]
    context = {"rows": rows, "problems": problems, "sources": sources, "may_plan": request.may(PLAN)}
    return show(request, "desk/messages.html", context)


@page("messages/begin/", PLAN, name="message_begin", methods=("POST",), reads=False)
def message_begin(request: DeskRequest) -> HttpResponse:
    """Begin a message as a copy of a starter or of another one."""
    name, source = request.POST.get("name", "").strip(), request.POST.get("source", "")
    try:
        with transaction.atomic():
            record(request, SAVED, subject=name, details={"copy_of": source})
            copy_message(request.settings, name, source)
    except DecisionRefused as refused:
        messages.error(request, str(refused))
        return redirect("messages")
    return redirect("message", name)


@page("messages/<slug:name>/", VIEW, name="message", methods=("GET", "POST"))  # type: ignore[arg-type]
@csp_update({"frame-src": ["'self'"]})  # type: ignore[arg-type]  # django-csp knows HttpRequest alone
def message(request: DeskRequest, name: str) -> HttpResponse:
    """A message with its words and how it looks; a marketer changes the words of those that were made here."""
    found = _message(request, name)
    may_edit = request.may(PLAN) and is_made(request.settings, name)
    problems = check_message(found, request.settings.shop)
    texts = {slot.key: slot.text for slot in slots_of(found)}
    if request.method == "POST":
        if not may_edit:
            raise PermissionDenied
        texts = {key: request.POST.get(key, text).replace("\r\n", "\n") for key, text in texts.items()}
        saved = _saved(request, found, texts)
        if isinstance(saved, HttpResponse):
            return saved
        problems = saved
    context = {
        "message": found,
        "slots": [(slot, texts[slot.key]) for slot in slots_of(found)],
        "variables": list(found.variables),
        "problems": problems,
        "may_edit": may_edit,
        "may_plan": request.may(PLAN),
        "may_see_customers": request.may(PERSONAL),
        "campaigns": [each for each, campaign in _senders(request).items() if campaign.message == name],
        "customer": request.GET.get("customer", "").strip(),
        "campaign": request.GET.get("campaign", ""),
        "variant": request.GET.get("variant", found.variant_names[0]),
        "language": request.GET.get("language", found.languages[0]),
        "query": request.GET.urlencode(),
        "test_addresses": email_of(request.settings.shop).test_addresses,
        "choices": {choice: request.GET[choice] for choice in CHOICES if choice in request.GET},
    }
    return show(request, "desk/message.html", context)


@page("messages/<slug:name>/preview/", VIEW, name="message_preview")  # type: ignore[arg-type]
@xframe_options_sameorigin
@csp(OF_MESSAGE)  # type: ignore[arg-type]
def message_preview(request: DeskRequest, name: str) -> HttpResponse:
    """The message alone, as mail programs show it: with made-up values, or those of a customer of a campaign."""
    found = _message(request, name)
    try:
        made = _rendered(request, found, request.GET)
    except DecisionRefused as refused:
        return HttpResponse(str(refused), content_type="text/plain; charset=utf-8", status=422)
    return HttpResponse(made.html)


@page("messages/<slug:name>/test/", PLAN, name="message_test", methods=("POST",))
def message_test(request: DeskRequest, name: str) -> HttpResponse:
    """Send the message as it is looked at to a test address of the shop's."""
    found, to = _message(request, name), request.POST.get("to", "")
    choices = {choice: request.POST[choice] for choice in CHOICES if choice in request.POST}
    details = {**choices, "to": to}
    recent = AuditEntry.objects.filter(
        action=TEST_ASKED, username=request.user.get_username(), at__gt=timezone.now() - timedelta(hours=1)
    )
    if recent.count() >= MOST_TESTS:
        messages.error(request, _("You asked for %(count)s test mails within an hour. Wait a while.") % {"count": MOST_TESTS})
        return redirect("message", name)
    record(request, TEST_ASKED, subject=name, details=details)
    try:
        made = _rendered(request, found, request.POST)
        reply = send_test_mail(request.settings.shop, os.environ, made, to, datetime.now(UTC))
    except (DecisionRefused, SettingsError) as error:
        messages.error(request, str(error))
    else:
        record(request, TEST_SENT, subject=name, details={**details, "reply": reply})
        messages.success(request, _("The test mail is on its way to %(address)s: %(reply)s") % {"address": to, "reply": reply})
    return redirect(f"{reverse('message', args=[name])}?{urlencode(choices)}")


@page("messages/<slug:name>/remove/", PLAN, name="message_remove", methods=("POST",), reads=False)
def message_remove(request: DeskRequest, name: str) -> HttpResponse:
    """Remove a message that was made here; approved plans keep their copy."""
    try:
        with transaction.atomic():
            record(request, REMOVED, subject=name)
            remove_message(request.settings, name, request.POST.get("mark", ""))
    except DecisionRefused as refused:
        messages.error(request, str(refused))
    return redirect("messages")


def _rendered(request: DeskRequest, found: Message, query: QueryDict) -> Rendered:
    """The message as a query or form asks for it. Raises ``DecisionRefused`` where it cannot be made."""
    shop = request.settings.shop
    if problems := check_message(found, shop):
        raise MessageRefused(problems)
    variant = query.get("variant", found.variant_names[0])
    customer = query.get("customer", "").strip()
    if customer:
        if not request.may(PERSONAL):
            raise PermissionDenied
        campaign = _senders(request).get(query.get("campaign", ""))
        if campaign is None or campaign.message != found.name:
            raise DecisionRefused(_("Choose a campaign that sends this message: offer and title are the campaign's."))
        record(request, PERSONAL_VIEWED, subject=customer, details={"page": "message", "message": found.name})
        return preview(request.snapshot, found, campaign, customer, variant)
    language = found.language_for(query.get("language"))
    if variant not in found.variant_names:
        raise DecisionRefused(_("The message has no such variant."))
    links = PreviewLinks(email_of(shop).public_url)
    return Renderer(found, shop).render(variant, language, sample_values(found, shop), links)


def _saved(request: DeskRequest, found: Message, texts: dict[str, str]) -> HttpResponse | list[MessageProblem]:
    """Write the words; what is wrong with them where they were refused."""
    try:
        with transaction.atomic():
            record(request, SAVED, subject=found.name, details={"text": with_texts(found, texts)})
            write_texts(request.settings, found.name, texts, request.POST.get("mark", ""))
    except MessageRefused as refused:
        return refused.problems
    except DecisionRefused as refused:
        messages.error(request, str(refused))
        return []
    messages.success(request, _("The message is saved. Plans that were made before keep the words that they had."))
    return redirect("message", found.name)


def _message(request: DeskRequest, name: str) -> Message:
    if request.settings.shop.email is not None:
        for found in load_messages(request.settings)[0]:
            if found.name == name:
                return found
    raise Http404(_("There is no message of this name, or it cannot be read."))


def _senders(request: DeskRequest) -> dict[str, Campaign]:
    """The campaigns that send a message, by name."""
    campaigns: list[Any] = load_shop_campaigns(request.settings)[0]
    return {campaign.campaign_id: campaign for campaign in campaigns if campaign.message}
