"""Settings of the mailer: environment variables with the prefix ``CUSTOMER360_MAILER_``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from customer360.loopback import is_loopback
from customer360.mail.dkim import Signer, load_signer
from customer360.mail.rendering import email_of
from customer360.mail.smtp import Relay
from customer360.services.environment import settings_of
from customer360.settings import SettingsError, Shop

if TYPE_CHECKING:
    from customer360.mail.provider_api import Transport

PREFIX = "CUSTOMER360_MAILER_"


class MailerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How messages leave. ``host`` and ``port`` are the relay's, ``tls`` is starttls, implicit, or none on this machine.

    ``provider``, in place of a relay: whose HTTP API takes the messages, and ``provider_file`` its options in JSON, the key
    among them.

    ``password_file`` and ``dkim_key`` (PEM) are files. Without ``dkim_key`` the relay signs. Consents and suppressions are at
    most ``consent_seconds`` old when a message is sent. Logs of what was sent are kept for ``log_days``.
    """

    host: str = "127.0.0.1"
    port: int = 25
    tls: str = "starttls"
    user: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    timeout_seconds: float = 60.0
    connections: int = 4
    consent_seconds: float = 60.0
    provider: str = ""
    provider_file: str = ""
    log_days: Annotated[float, Meta(ge=7)] = 90.0
    dkim_key: str | None = None
    dkim_selector: str = "customer360"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> MailerSettings:
        """The settings that the environment gives. Raises ``SettingsError`` naming a wrong variable."""
        return settings_of(cls, PREFIX, "the mailer", environment)

    @property
    def is_sink(self) -> bool:
        """Whether messages go to a server of this machine without TLS, such as the demo's sink."""
        return not self.provider and self.tls == "none" and is_loopback(self.host)

    def transport(self, name: str) -> Transport:
        """The provider or the relay; ``name`` is ours in EHLO. Raises ``SettingsError`` where a file of it cannot be used."""
        if self.provider:
            from customer360.mail.provider_api import ProviderApi  # noqa: PLC0415  a third of a second that a relay needs not

            if self.dkim_key:
                raise SettingsError(f"{PREFIX}DKIM_KEY: {self.provider} signs by itself; take it out")
            try:
                options = msgspec.json.decode(Path(self.provider_file).read_bytes(), type=dict[str, Any])
            except (OSError, msgspec.DecodeError) as error:
                raise SettingsError(f"{PREFIX}PROVIDER_FILE cannot be read ({type(error).__name__})") from None
            return ProviderApi(self.provider, options, self.timeout_seconds)
        password = None
        if self.password_file:
            try:
                password = Path(self.password_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{PREFIX}PASSWORD_FILE cannot be read ({type(error).__name__})") from None
        where = (self.host, self.port, self.tls, self.user)
        return Relay(*where, password, self.ca_file, self.timeout_seconds, name)

    def signer(self, shop: Shop) -> Signer | None:
        """Signs for the domain of the shop's sender; None where the relay signs. Raises ``SettingsError`` on a wrong key."""
        domain = email_of(shop).sender.address.rpartition("@")[2]
        return load_signer(Path(self.dkim_key), domain, self.dkim_selector) if self.dkim_key else None
