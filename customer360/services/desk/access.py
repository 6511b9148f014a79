"""Who may see and do what, and the registry of pages: ``page`` registers every view with the permission that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.urls import URLPattern, path
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from customer360.services.desk.snapshots import NothingPublishedError, Snapshots
from customer360.settings import Settings
from customer360.snapshot import Snapshot

VIEW, PERSONAL, PLAN = "desk.view_pages", "desk.view_personal", "desk.plan_campaigns"
APPROVE, AUDIT, ACCOUNTS = "desk.approve_campaigns", "desk.view_audit", "desk.manage_accounts"
# Each role may do what the one before it may.
ROLES = {
    "viewer": (VIEW,),
    "marketer": (VIEW, PERSONAL, PLAN),
    "approver": (VIEW, PERSONAL, PLAN, APPROVE, AUDIT),
    "admin": (VIEW, PERSONAL, PLAN, APPROVE, AUDIT, ACCOUNTS),
}
View = Callable[..., HttpResponse]  # of a DeskRequest, and of what its route names


class DeskRequest(HttpRequest):
    """What the view of a page is given. ``may`` is the user's ``has_perm``."""

    settings: Settings
    snapshot: Snapshot
    user: User
    htmx: HtmxDetails
    may: Callable[[str], bool]


@dataclass(frozen=True)
class Page:
    """A route: its permission, and for the navigation a title and an order; without a title it is not listed there."""

    route: str
    permission: str
    name: str
    methods: tuple[str, ...]
    view: View
    title: Any = None
    order: int = 0

    @property
    def pattern(self) -> URLPattern:
        """For Django's urls."""
        return path(self.route, self.view, name=self.name)


PAGES: dict[str, Page] = {}


def page(
    route: str,
    permission: str,
    *,
    name: str,
    title: Any = None,
    order: int = 0,
    methods: tuple[str, ...] = ("GET",),
    reads: bool = True,
) -> Callable[[View], View]:
    """Register a view below ``route``. ``reads``: it reads the published version, which is opened for it, once.

    Who is not signed in is sent to the login, who lacks the permission gets 403. Before the first publication the answer says
    how to come to one.
    """

    def register(view: View) -> View:
        @require_http_methods([*methods, *(["HEAD"] if "GET" in methods else [])])
        @wraps(view)
        def guarded(request: Any, **values: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _to_login(request)
            if not request.user.has_perm(permission):
                raise PermissionDenied
            request.may = request.user.has_perm
            snapshots: Snapshots = django_settings.SNAPSHOTS
            if not reads:
                request.settings = snapshots.settings
                return view(request, **values)
            try:
                with snapshots.opened() as snapshot:
                    request.settings, request.snapshot = snapshot.settings, snapshot
                    return view(request, **values)
            except NothingPublishedError:
                return render(request, "desk/nothing_published.html")

        PAGES[name] = Page(route, permission, name, methods, guarded, title, order)
        return guarded

    return register


def _to_login(request: Any) -> HttpResponse:
    if request.htmx:
        return HttpResponseClientRedirect(resolve_url(django_settings.LOGIN_URL))
    # A proxy that asks for another service names the address that is wanted; the login leads to paths of its own host alone.
    return redirect_to_login(request.headers.get("X-Forwarded-Uri") or request.get_full_path())


def listed_pages(user: User) -> list[Page]:
    """The pages of the navigation that a user may see, in their order."""
    listed = [known for known in PAGES.values() if known.title is not None and user.has_perm(known.permission)]
    return sorted(listed, key=lambda known: known.order)
