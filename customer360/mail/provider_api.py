"""Messages through the HTTP API of a mail provider, by django-anymail, for networks that no port of SMTP leaves.

What a provider took or refused for good its answer says. An answer that did not come, that cannot be read, or that blames the
provider itself leaves the message in doubt, as the lost reply of an SMTP server does. The provider signs (DKIM) and has a
return path of its own; the Message-ID, which is signed, goes along as metadata, by which its webhooks name the contact.
"""

from __future__ import annotations

import email
import email.policy
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from ssl import SSLCertVerificationError
from typing import Any

from anymail.exceptions import AnymailAPIError, AnymailConfigurationError, AnymailError, AnymailRecipientsRefused
from django.conf import settings as django_settings
from django.core.mail import EmailMultiAlternatives
from requests import Response
from requests.exceptions import ConnectTimeout
from urllib3.exceptions import NewConnectionError

from customer360.loopback import is_loopback
from customer360.mail.smtp import LostConnectionError, RefusedError, Relay, Reply, without_addresses
from customer360.settings import SettingsError

# Those of django-anymail that answer over plain HTTP, and whose webhooks the api takes: else no bounce would be known.
PROVIDERS = ("mailgun", "postmark")
HEADERS = ("Reply-To", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID", "Auto-Submitted")
REFUSES_ALL = {401, 402, 403, 404, 405, 407, 429}  # HTTP: of the account, the address or the moment, not of a message
IDLE_SECONDS = 5.0  # after which a kept connection may be closed by the provider, which would leave a message in doubt
DOUBT_SECONDS = 30.0  # in which nothing more is sent after an answer in doubt


class ProviderApi:
    """A provider by its name in django-anymail, with the options that this has for it, such as ``server_token``.

    Raises ``SettingsError`` on a name, an option or an address that cannot be used.
    """

    is_local = False

    def __init__(self, name: str, options: Mapping[str, Any], timeout: float) -> None:
        if name not in PROVIDERS:
            raise SettingsError(f"{name} is no provider that is known; there are {', '.join(PROVIDERS)}")
        url = str(options.get("api_url", "https://"))
        if not url.startswith("https://") and not is_loopback(url.partition("://")[2].partition("/")[0].partition(":")[0]):
            raise SettingsError("api_url begins with https://: messages and the key go to another machine through TLS alone")
        if not django_settings.configured:
            django_settings.configure()
        self.name, self.has_sent, self.in_doubt_at = name, False, -float("inf")
        backend = import_module(f"anymail.backends.{name}").EmailBackend
        self.backend: Callable[[], Any] = lambda: backend(**options, timeout=timeout, ignore_unsupported_features=True)
        try:
            self.backend()
        except (AnymailConfigurationError, TypeError) as error:
            raise SettingsError(f"the options of {name} cannot be used: {str(error).partition(' or ANYMAIL_')[0]}") from None

    def __repr__(self) -> str:
        """Without its options."""
        return f"the API of {self.name}"

    def connect(self) -> ApiConnection:
        """Raises ``RefusedError`` for a while after an answer in doubt, lest many messages are."""
        if time.monotonic() - self.in_doubt_at < DOUBT_SECONDS:
            raise RefusedError(f"{self!r} left a message in doubt")
        return ApiConnection(self)


class ApiConnection:
    """One session with the API. Not for several threads at once."""

    is_open = True

    def __init__(self, api: ProviderApi) -> None:
        self._api, self._backend, self._used_at = api, api.backend(), -float("inf")

    def send(self, sender: str, recipient: str, message: bytes, before_end: Callable[[], None]) -> Reply:
        """Send one message, as ``smtp.Connection`` does. What is refused whatever the message is a reply to ``mail``."""
        mail = _mail(message, sender, recipient)
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self._backend.close()
        self._backend.open()
        before_end()
        try:
            self._backend.send_messages([mail])
        except AnymailRecipientsRefused as error:
            return Reply(550, _words(error.response), "rcpt")
        except AnymailAPIError as error:
            if error.status_code is None and _is_unsent(error.__cause__):
                return Reply(421, f"it cannot be reached ({type(error.__cause__).__name__})", "mail")
            return self._failed(error.status_code, error.response)
        except AnymailError as error:
            return Reply(554, f"the message cannot be given to the provider ({type(error).__name__})", "end")
        finally:
            self._used_at = time.monotonic()
        status = mail.anymail_status  # type: ignore[attr-defined]
        if not status.status or not status.status <= {"sent", "queued"}:
            return self._failed(status.esp_response.status_code, status.esp_response)
        self._api.has_sent = True
        return Reply(250, f"{status.message_id}", "end")

    def close(self) -> None:
        """End the session."""
        self._backend.close()

    quit = close

    def _failed(self, code: int | None, response: Response | None) -> Reply:
        """What an answer other than success means (None: none came). A fault before a first success is the account's."""
        if code is None or code == 408 or not 400 <= code < 500:
            self._api.in_doubt_at = time.monotonic()
            raise LostConnectionError("end", f"{self._api!r} answered {code}", is_in_doubt=True)
        if code in REFUSES_ALL or not self._api.has_sent:
            return Reply(421, f"{code} {_words(response)}", "mail")
        return Reply(554, f"{code} {_words(response)}", "end")


Transport = Relay | ProviderApi


def _mail(message: bytes, sender: str, recipient: str) -> EmailMultiAlternatives:
    """A message of ours as Django's; the provider follows none of its links and counts none of its openings."""
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    headers = {name: str(parsed[name]) for name in HEADERS if parsed[name]}
    body = str(text.get_content()) if text else ""
    mail = EmailMultiAlternatives(str(parsed["Subject"]), body, str(parsed["From"]), [recipient], headers=headers)
    if html is not None:
        mail.attach_alternative(str(html.get_content()), "text/html")
    options = {"envelope_sender": sender, "metadata": {"message_id": str(parsed["Message-ID"]).strip("<>")}}
    for name, value in (options | {"track_opens": False, "track_clicks": False}).items():
        setattr(mail, name, value)
    return mail


def _is_unsent(cause: BaseException | None) -> bool:
    """Whether a request failed before any of it was sent: no connection was made, or its certificate was refused."""
    reason = getattr(next(iter(getattr(cause, "args", ())), None), "reason", None)
    is_refused = isinstance(next(iter(getattr(reason, "args", ())), None), SSLCertVerificationError)
    return is_refused or isinstance(cause, ConnectTimeout) or isinstance(reason, NewConnectionError)


def _words(response: Response | None) -> str:
    """What the provider says, without addresses."""
    return "" if response is None else without_addresses(response.text)
