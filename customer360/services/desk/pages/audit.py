"""The audit log: searched, and exported as it is shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from customer360.services.desk.access import AUDIT, DeskRequest, page
from customer360.services.desk.audit import record
from customer360.services.desk.models import AuditEntry
from customer360.services.desk.show import safe_cell

SHOWN = 50
DAYS = (MinValueValidator(date(1970, 1, 1)), MaxValueValidator(date(2999, 12, 31)))
COLUMNS = ("at", "username", "action", "subject", "reason", "details", "address")


class Search(forms.Form):
    """What entries are looked for; an empty field asks for nothing."""

    text = forms.CharField(label=_("Text"), required=False, max_length=200)
    who = forms.CharField(label=_("Who"), required=False, max_length=150)
    action = forms.ChoiceField(label=_("Action"), required=False)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput({"type": "date"}), validators=DAYS)
    until = forms.DateField(label=_("Until"), required=False, widget=forms.DateInput({"type": "date"}), validators=DAYS)

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        known = AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
        self.fields["action"].choices = [("", _("All")), *((name, name) for name in known)]  # type: ignore[attr-defined]

    def entries(self) -> QuerySet[AuditEntry]:
        """The entries that match, the newest first; none where the search is wrong."""
        if not self.is_valid():
            return AuditEntry.objects.none()
        asked, found = self.cleaned_data, AuditEntry.objects.all()
        if text := asked["text"]:
            found = found.filter(Q(subject__icontains=text) | Q(reason__icontains=text) | Q(details__icontains=text))
        if asked["who"]:
            found = found.filter(username__icontains=asked["who"])
        if asked["action"]:
            found = found.filter(action=asked["action"])
        if asked["since"]:
            found = found.filter(at__gte=_midnight(asked["since"]))
        if asked["until"]:
            found = found.filter(at__lt=_midnight(asked["until"] + timedelta(days=1)))
        return found


@page("audit/", AUDIT, name="audit", title=_("Audit"), order=90, reads=False)
def audit(request: DeskRequest) -> HttpResponse:
    """Entries that match, a page of them or with ``?csv`` all."""
    search = Search(request.GET)
    entries = search.entries()
    query = request.GET.copy()
    query.pop("page", None)
    if "csv" in request.GET:
        query.pop("csv")
        record(request, "audit log exported", details={"search": query.dict()})
        response = StreamingHttpResponse(_csv(entries), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="audit.csv"'
        return response  # type: ignore[return-value]
    shown = Paginator(entries, SHOWN).get_page(request.GET.get("page"))
    return render(request, "desk/audit.html", {"search": search, "shown": shown, "query": query.urlencode()})


def _csv(entries: QuerySet[AuditEntry]) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\r\n"
    for entry in entries.iterator(chunk_size=1000):
        buffer = io.StringIO()
        csv.writer(buffer).writerow(safe_cell(str(getattr(entry, name) or "")) for name in COLUMNS)
        yield buffer.getvalue()


def _midnight(day: Any) -> datetime:
    return timezone.make_aware(datetime.combine(day, datetime.min.time()))
