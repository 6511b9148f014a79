"""Today: whether the data is fresh, what customers do now beside the same weekday, what runs, and what waits for the user."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from customer360.services.desk.access import VIEW, DeskRequest, page
from customer360.services.desk.show import show


@page("", VIEW, name="today", title=_("Today"), order=10)
def today(request: DeskRequest) -> HttpResponse:
    """The first page."""
    return show(request, "desk/today.html", {"as_of": request.snapshot.as_of})
