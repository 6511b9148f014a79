"""Settings of the desk: environment variables that begin with ``CUSTOMER360_DESK_``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from babel import Locale, UnknownLocaleError
from msgspec import Meta

from customer360.loopback import is_loopback
from customer360.services.environment import settings_of
from customer360.settings import Place, SettingsError

PREFIX = "CUSTOMER360_DESK_"


class DeskSettings(msgspec.Struct, frozen=True):
    """Where it listens, who reaches it, where its own database is, and what people may do.

    ``origin``: the address that browsers use, such as https://desk.shop.example, where a proxy that ends TLS stands before it;
    without it the desk answers this machine alone, over HTTP. ``database_url``: of PostgreSQL, in place of a SQLite file below
    DATA_DIR. ``secret_key`` or the file ``secret_key_file``: signs sessions; without either a key is made below DATA_DIR.
    ``four_eyes``: who planned may not approve. ``locale``: of numbers, times and texts, such as nl or en-GB.
    ``session_hours``: after which everybody signs in again. ``body_bytes``: of one request. ``failed_logins`` and
    ``lockout_minutes``: after so many wrong passwords an account is refused for so long, from that address.
    ``dagster_url``: of Dagster's web server. ``oidc_...``: single sign-on by OpenID Connect, where ``oidc_issuer`` is given;
    ``oidc_trusts_email``: addresses count as verified where the provider has no claim ``email_verified``.
    ``forwarded_for``: the proxy adds the browser's address to X-Forwarded-For, of which the last entry
    counts in audit log and lock-out.
    ``oidc_roles_claim``: the claim that lists a person's roles, else an admin gives them. The provider's addresses are asked
    of the issuer when the server starts, unless all are given.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8380
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    threads: Annotated[int, Meta(ge=1, le=64)] = 8
    origin: Annotated[str, Meta(pattern="^(https://[^/]+)?$")] = ""
    forwarded_for: bool = False
    database_url: str = ""
    secret_key: str = ""
    secret_key_file: str = ""
    four_eyes: bool = True
    locale: str = "en"
    session_hours: Annotated[float, Meta(gt=0)] = 12.0
    body_bytes: Annotated[int, Meta(ge=1024)] = 10 * 1024 * 1024
    failed_logins: Annotated[int, Meta(ge=1)] = 5
    lockout_minutes: Annotated[int, Meta(ge=1)] = 15
    dagster_url: str = "http://127.0.0.1:3000"
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_client_secret_file: str = ""
    oidc_roles_claim: str = ""
    oidc_trusts_email: bool = False
    oidc_authorization_endpoint: str = ""
    oidc_token_endpoint: str = ""
    oidc_userinfo_endpoint: str = ""
    oidc_jwks_uri: str = ""

    @property
    def babel_locale(self) -> Locale:
        """How numbers and times are written."""
        return Locale.parse(self.locale, sep="-")

    @property
    def client_secret(self) -> str:
        """With which the desk proves itself to the provider of single sign-on."""
        return _from_file(self.oidc_client_secret_file) if self.oidc_client_secret_file else self.oidc_client_secret

    def key(self, place: Place) -> str:
        """The key that signs sessions. Where none is given it is made once, below the place, for its owner alone."""
        if self.secret_key_file:
            return _from_file(self.secret_key_file)
        return self.secret_key or _made_key(desk_folder(place) / "secret_key")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> DeskSettings:
        """Raises ``SettingsError`` naming a variable that is unknown or has no such value."""
        settings = settings_of(cls, PREFIX, "the desk", environment)
        try:
            _ = settings.babel_locale
        except (UnknownLocaleError, ValueError) as error:
            raise SettingsError(f"a variable {PREFIX}... cannot be used: {error}") from error
        if not is_loopback(settings.host) and not settings.origin:
            raise SettingsError(
                f"{PREFIX}HOST {settings.host} is reached by other machines, and passwords and customers' data would travel "
                f"unencrypted: put a proxy that ends TLS before the desk and name its address by {PREFIX}ORIGIN=https://... "
                "(customer360 desk serve --origin)"
            )
        if settings.oidc_issuer and not (settings.oidc_client_id and settings.client_secret):
            raise SettingsError(f"{PREFIX}OIDC_ISSUER needs {PREFIX}OIDC_CLIENT_ID and {PREFIX}OIDC_CLIENT_SECRET(_FILE)")
        return settings


def desk_folder(place: Place) -> Path:
    """Where the desk's own files lie: its database, key, static files and the campaigns that were written in it."""
    return Path(place.desk)


def _from_file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}, which a variable {PREFIX}..._FILE names, cannot be read: {error.strerror}") from error


def _made_key(file: Path) -> str:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text(encoding="utf-8")
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(secrets.token_urlsafe(64))
    return file.read_text(encoding="utf-8")
