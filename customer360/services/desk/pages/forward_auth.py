"""What a proxy asks before it passes a request on to a service without a login of its own (forward auth): 204 lets it pass."""

from __future__ import annotations

from django.http import HttpResponse

from customer360.services.desk.access import ACCOUNTS, VIEW, DeskRequest, page


@page("may/view/", VIEW, name="may_view", reads=False)
def may_view(_request: DeskRequest) -> HttpResponse:
    """Whoever may see the desk's pages may look at Dagster, where that is read-only."""
    return HttpResponse(status=204)


@page("may/operate/", ACCOUNTS, name="may_operate", reads=False)
def may_operate(_request: DeskRequest) -> HttpResponse:
    """Admins may launch and stop runs in Dagster."""
    return HttpResponse(status=204)
