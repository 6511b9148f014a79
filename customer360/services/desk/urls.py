"""Routes: those of the registered pages, signing in and out, and the health of the process."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path

from customer360.services.desk.access import PAGES


def health(_request: HttpRequest) -> HttpResponse:
    """200 while the process answers."""
    return HttpResponse("ok", content_type="text/plain")


urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", LoginView.as_view(template_name="desk/login.html", redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("health/", health, name="health"),
    *([path("oidc/", include("mozilla_django_oidc.urls"))] if settings.DESK.oidc_issuer else []),
    *(page.pattern for page in PAGES.values()),
]
