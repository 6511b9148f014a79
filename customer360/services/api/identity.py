"""Who asks: the key, the visitor of a browser by its signed cookie, its customer by the shop's signature, and consent.

A browser is never believed. Its visitor is the one of a cookie that this API signed, its customer the one of a token that the
shop's server signed. What may be personalised has a visitor id that may be linked to a customer; what may not (Global Privacy
Control, or a customer without consent) has another one, that is never linked to anybody.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec
from starlette.requests import Request

from customer360.secret_files import made_secrets, read_secrets
from customer360.services.api.keys import Key, KeyRing, KeysError, Kind, keys_file
from customer360.services.api.problems import Problem
from customer360.services.api.settings import ApiSettings
from customer360.services.api.tokens import (
    VisitorToken,
    read_customer,
    read_visitor,
    sign_visitor,
    visitor_secrets_file,
)
from customer360.services.api.watched import WatchedFile
from customer360.services.store.layout import StoreError
from customer360.services.store.reading import StoreReader
from customer360.settings import Place, SettingsError

COOKIE = "c360_visitor"
CUSTOMER_HEADER, REFUSED_HEADER = "customer-token", "Customer-Token-Refused"
LINKABLE, UNLINKABLE = "v-", "u-"  # how visitor ids begin
OWN = "me"
DAY = 24 * 3600
Content = TypeVar("Content")
_log = logging.getLogger(__name__)


class Caller(msgspec.Struct, frozen=True):
    """Who asks. ``visitor_id`` and ``customer_id`` are those of a browser; a server key asks for whomever it names.

    ``may_personalise`` is false where the request objects, or its customer does not consent; then ``customer_id`` is None.
    """

    key_id: str
    kind: Kind
    scopes: tuple[str, ...]
    visitor_id: str | None
    customer_id: str | None
    may_personalise: bool
    consent_of: Callable[[str], bool | None]

    def visitor(self, asked: str) -> str:
        """The visitor that a path names. Raises ``Problem`` 403 where a browser asks for another one than its own."""
        if self.visitor_id is None:
            return asked
        if asked not in (OWN, self.visitor_id):
            raise Problem(
                403, "not-yours", "Not your visitor", f"A browser key answers for its own visitor alone: ask for {OWN}."
            )
        return self.visitor_id

    def customer(self, asked: str) -> str:
        """The customer that a path names. Raises ``Problem`` 403 for a browser, whose paths are those of its visitor."""
        if self.kind == "browser":
            detail = f"A browser key asks for the visitor {OWN}, with the customer's token where one has signed in."
            raise Problem(403, "not-yours", "Not for browsers", detail)
        return asked

    def event_ids(self, visitor_id: str | None, customer_id: str | None) -> tuple[str | None, str | None]:
        """Visitor and customer of an event that names these: a browser's own ones whatever it names, else as named.

        A server's event of a customer who is known not to consent, or who objects, loses its visitor: nothing links the two.
        """
        if self.kind == "browser":
            return self.visitor_id, self.customer_id
        is_linked = visitor_id is not None and customer_id is not None
        if is_linked and not (self.may_personalise and self.consent_of(customer_id or "") is not False):
            return None, customer_id
        return visitor_id, customer_id

    def objecting(self) -> Caller:
        """The same one where the body of a request objects to personalisation: a browser's visitor is of this request alone."""
        visitor_id = None if self.visitor_id is None else _new_visitor(UNLINKABLE)
        return msgspec.structs.replace(self, visitor_id=visitor_id, customer_id=None, may_personalise=False)


class _Allowance(NamedTuple):
    left: float
    at: float


class Identity:
    """Tells who asks, for one process: keys with their rates, visitors, customers and consents."""

    def __init__(self, settings: ApiSettings, place: Place, reader: StoreReader) -> None:
        self.keys = KeyRing(keys_file(place))
        self._settings = settings
        self._reader = reader
        file = visitor_secrets_file(place)
        made_secrets(file)
        self._visitor_secrets = WatchedFile(file, read_secrets)
        self._customer_secrets = settings.customer_secrets()
        self._allowances: dict[str, _Allowance] = {}

    def identify(self, request: Request, scope: str, key_text: str | None = None, *, anonymous: bool = False) -> Caller:
        """Who asks for something of this scope. What the answer has to tell the browser goes to ``request.state.headers``.

        ``key_text``: the key where a protocol has a place of its own for it. ``anonymous``: a browser's visitor is a new one
        for this request alone, without a cookie.

        Raises ``Problem``: 401 without a key in force; 403 without the scope, from another origin than the key's, or with
        a server key in a URL; 429 where the key asks too often; 503 where keys cannot be read.
        """
        monotonic = time.monotonic()
        key = self._key(request, key_text, monotonic)
        if scope not in key.scopes:
            raise Problem(403, "no-scope", "The key lacks a scope", f"This needs a key with the scope {scope}.")
        origin = _header(request, b"origin")
        if origin is not None and origin not in key.origins:
            detail = "The origin of the page is none of the key's; a server key is not for pages."
            raise Problem(403, "wrong-origin", "The key is not for this page", detail)
        self._take(key, monotonic)
        objects = _header(request, b"sec-gpc") == "1"
        if key.kind == "server":
            return Caller(key.id, key.kind, key.scopes, None, None, not objects, self._consent_of)
        customer_id = self._customer(request)
        may_personalise = not (objects or anonymous) and (customer_id is None or self._consent_of(customer_id) is True)
        kind = LINKABLE if may_personalise else UNLINKABLE
        visitor_id = _new_visitor(kind) if anonymous else self._visitor(request, key, kind)
        customer_id = customer_id if may_personalise else None
        return Caller(key.id, key.kind, key.scopes, visitor_id, customer_id, may_personalise, self._consent_of)

    def _key(self, request: Request, key_text: str | None, monotonic: float) -> Key:
        header = _header(request, b"authorization") if key_text is None else key_text
        text = request.query_params.get("key", "") if header is None else header.removeprefix("Bearer ")
        key = _readable(lambda: self.keys.find(text, monotonic))
        if key is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "no-key", "A key is needed", "Send Authorization: Bearer <key> with a key in force.", headers)
        if header is None and key.kind == "server":
            detail = "URLs are written to logs: send Authorization: Bearer <key>, and make a new key in place of this."
            raise Problem(403, "key-in-url", "A server key is in the URL", detail)
        return key

    def _take(self, key: Key, monotonic: float) -> None:
        """A token bucket for each key; each worker gives its share of the rate."""
        shared = self._settings
        rate = (key.requests_per_second or shared.requests_per_second) / shared.workers
        burst = max(1.0, rate * shared.burst / shared.requests_per_second)
        left, at = self._allowances.get(key.id, (burst, monotonic))
        left = min(burst, left + (monotonic - at) * rate)
        if left < 1:
            wait = f"{max(1, round((1 - left) / rate))}"
            raise Problem(429, "too-many-requests", "Too many requests with this key", "", {"Retry-After": wait})
        self._allowances[key.id] = _Allowance(left - 1, monotonic)

    def _customer(self, request: Request) -> str | None:
        """The customer for whom the shop vouches; a token that does not count is as none, and the answer says why."""
        token = request.headers.get(CUSTOMER_HEADER) or request.query_params.get("customer_token")
        if not token:
            return None
        accepted = _readable(lambda: self._customer_secrets(time.monotonic()))
        customer_id, refusal = read_customer(token, accepted, time.time())
        if refusal is not None:
            _tell(request, REFUSED_HEADER, refusal)
        return customer_id

    def _consent_of(self, customer_id: str) -> bool | None:
        """Whether the customer consents to personalisation; None where the store does not know, or cannot be read."""
        try:
            with self._reader.view() as view:
                return view.consent_of(customer_id)
        except StoreError:
            return None

    def _visitor(self, request: Request, key: Key, kind: str) -> str:
        """The visitor of the cookie, where there is one of this kind; else a new one, which the answer's cookie names."""
        accepted = _readable(lambda: self._visitor_secrets.content(time.monotonic()))
        is_secure = self._settings.same_site == "none" or any(origin.startswith("https:") for origin in key.origins)
        name = f"__Host-{COOKIE}" if is_secure else COOKIE
        now, lifetime = time.time(), self._settings.visitor_days * DAY
        token = read_visitor(request.cookies.get(name, ""), accepted, now)
        if token is None or not token.visitor_id.startswith(kind):
            token = VisitorToken(_new_visitor(kind), 0, is_newest=True)
        if token.ends_at < now + lifetime / 2 or not token.is_newest:
            value = sign_visitor(accepted, token.visitor_id, int(now) + lifetime)
            attributes = [f"{name}={value}", "Path=/", f"Max-Age={lifetime}", "HttpOnly"]
            attributes += [f"SameSite={self._settings.same_site.capitalize()}", *(["Secure"] if is_secure else [])]
            attributes += ["Partitioned"] if self._settings.same_site == "none" else []
            _tell(request, "Set-Cookie", "; ".join(attributes))
        return token.visitor_id


def _header(request: Request, name: bytes) -> str | None:
    """The first header of a name in lower case, in a microsecond: Starlette's mapping takes two for one that is missing."""
    for key, value in request.scope["headers"]:
        if key == name:
            return value.decode("latin-1")  # type: ignore[no-any-return]
    return None


def _new_visitor(kind: str) -> str:
    return kind + secrets.token_hex(16)


def _readable(read: Callable[[], Content]) -> Content:
    """What is read of keys or secrets; ``Problem`` 503 where it cannot be, with the reason in the log."""
    try:
        return read()
    except (KeysError, SettingsError) as error:
        _log.error("%s", error)
        raise Problem(503, "no-keys", "Keys cannot be read", "The operator finds the reason in the log.") from error


def _tell(request: Request, header: str, value: str) -> None:
    request.scope.setdefault("state", {}).setdefault("headers", {})[header] = value
