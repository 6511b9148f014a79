"""The server: migrations and static files first, then granian's workers."""

from __future__ import annotations

import json
import os
import time
import urllib.request

import msgspec
from granian.constants import Interfaces

from customer360.logs import json_logging
from customer360.services.desk.configuration import PREFIX, DeskSettings
from customer360.services.processes import Workers
from customer360.settings import Settings, SettingsError

APPLICATION = "customer360.services.desk.wsgi:application"
ENDPOINTS = ("oidc_authorization_endpoint", "oidc_token_endpoint", "oidc_userinfo_endpoint", "oidc_jwks_uri")
DISCOVERY_SECONDS = 10
START_SECONDS = 60.0  # in which a worker that cannot start ends the server
UNUSED = ["datasets", "templates", "*-4.js", "*-4.min.js", "htmx-2.js", "hx-*"]  # of plotly and django-htmx


def set_up(settings: Settings, own: DeskSettings) -> None:
    """Have Django use these settings, in this process and those that it starts."""
    import django

    given = {PREFIX + name.upper(): str(getattr(own, name)) for name in DeskSettings.__struct_fields__}
    place = {"SHOP": str(settings.shop_folder), "DATA_DIR": str(settings.place.root)}
    os.environ |= {**given, **place, "DJANGO_SETTINGS_MODULE": "customer360.services.desk.settings"}
    settings.place.desk.mkdir(mode=0o700, parents=True, exist_ok=True)
    django.setup()


def discovered(own: DeskSettings) -> DeskSettings:
    """With the addresses of the provider of single sign-on, as its issuer publishes them (OpenID Connect Discovery 1.0).

    Raises ``SettingsError`` where the issuer does not answer with them.
    """
    missing = [name for name in ENDPOINTS if not getattr(own, name)]
    if not own.oidc_issuer or not missing:
        return own
    address = f"{own.oidc_issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        with urllib.request.urlopen(address, timeout=DISCOVERY_SECONDS) as answer:  # noqa: S310 (an operator's setting)
            document = json.load(answer)
        return msgspec.structs.replace(own, **{name: document[name.removeprefix("oidc_")] for name in missing})
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"{address} does not say where people sign in: {error!r}; check {PREFIX}OIDC_ISSUER") from error


def prepare() -> None:
    """Bring the desk's own database up to date, and collect its static files."""
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=UNUSED)


def serve(own: DeskSettings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    began = time.monotonic()
    server = Workers(
        APPLICATION,
        address=own.host,
        port=own.port,
        interface=Interfaces.WSGI,
        workers=own.workers,
        blocking_threads=own.threads,
        workers_kill_timeout=10,
        log_access=False,
        log_dictconfig=json_logging(),
        websockets=False,
    )
    server.has_started = lambda: time.monotonic() - began > START_SECONDS
    server.serve()
