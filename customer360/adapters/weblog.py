"""Web server logs in the combined format, as Apache and nginx write it, as clicks. ``weblog.yaml`` maps requests to events.

``%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"``, where further fields in quotes may follow, such as a cookie. Before
``%l`` may stand the virtual host (``%v:%p``) and the addresses of proxies (``%{X-Forwarded-For}i``): the first address counts.
Requests are named in ``weblog.yaml`` beside ``shop.yaml``. Skipped and counted: static files, robots, failed requests, and
requests that no rule names. The address is not kept: without a logged cookie the visitor is a keyed hash of address and user
agent. Of URLs only the path is kept, beside the parameters that a rule names and ``utm_*``.

Equal lines of one file are requests of their own. Equal lines of two files are taken for the same request; where several
servers write logs, have them add their name to the end of the line.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

import yaml
from pydantic import Field, ValidationError, model_validator

from customer360.adapters.rows import Click, EventIds, RowError, Skip, device_of, is_robot, query_of, without_query
from customer360.lake.landing.contracts import CLICK_COLUMNS, EVENT_NAMES
from customer360.settings import SettingsError, Strict, setting_faults

FILE = "weblog.yaml"
KEY_VARIABLE = "CUSTOMER360_VISITOR_KEY"
SHORTEST_KEY = 16
UTM_COLUMNS = ("utm_source", "utm_medium", "utm_campaign")
_STATIC = "css js mjs map png jpg jpeg gif webp avif svg ico woff woff2 ttf eot mp4 webm txt xml json webmanifest"
STATIC = tuple(_STATIC.split())

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(rf"(.+?) \[([^\]]+)\] {_QUOTED} (\d{{3}}|-) (?:\d+|-) {_QUOTED} {_QUOTED}(.*)", re.DOTALL)
_FURTHER = re.compile(_QUOTED)
_REQUEST = re.compile(r"([A-Z]+) (\S.*?)(?: HTTP/[\d.]+)?", re.DOTALL)
_PATH_PARAMETERS = re.compile(r";[^/]*")  # a servlet container's ``;jsessionid=...``
_HOST = re.compile(r"[A-Za-z0-9]([\w.-]*\w)?(:\d{1,5})?")
_NO_ADDRESS = {"-", "unknown", "_"}
_ESCAPED = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+|\\.", re.DOTALL)

_SETTABLE = frozenset(column.name for column in CLICK_COLUMNS) - {"event_id", "event_name", "event_at"}


class Rule(Strict):
    """A rule for requests: ``path`` is a regular expression for the full path, its named groups are columns."""

    event: str
    path: re.Pattern[str]
    method: str = "GET"
    query: dict[str, str] = Field(default_factory=dict)
    redirects: bool = False

    @model_validator(mode="after")
    def _of_the_contract(self) -> Self:
        if self.event not in EVENT_NAMES:
            raise ValueError(f"{self.event} is no event of the click contract: {', '.join(EVENT_NAMES)}")
        unknown = {*self.path.groupindex, *self.query} - _SETTABLE
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no column of the click contract that a request can fill")
        return self


class Weblog(Strict):
    """``weblog.yaml``: the rules, the first that fits counts, and how the shop's log differs from the usual.

    ``robots`` adds to the kept lists of robots; an agent that matches ``people`` is no robot, even if a list has it.
    """

    events: Annotated[list[Rule], Field(min_length=1)]
    user: Literal["customer", "ignore"] = "customer"
    further_fields: tuple[str, ...] = ()
    static: tuple[str, ...] = STATIC
    robots: re.Pattern[str] | None = None
    people: re.Pattern[str] | None = None

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        unknown = set(self.further_fields) - _SETTABLE - {"-"}
        if unknown:
            raise ValueError(
                f"further_fields: {', '.join(sorted(unknown))}: no column of the click contract; write - to skip one"
            )
        return self


def load_weblog(shop_folder: Path) -> Weblog:
    """Read and check ``weblog.yaml`` of a shop. Raises ``SettingsError`` naming the file, the field and what to do."""
    path = shop_folder / FILE
    try:
        return Weblog.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SettingsError(f"{path} does not exist: it says which request is which event. See docs/your-data.md.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {error}") from error
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in setting_faults(error))
        raise SettingsError(f"{path} does not say what a request means:\n{lines}") from error


def visitor_key(weblog: Weblog, environment: dict[str, str]) -> bytes:
    """The secret of visitor ids, empty where the log has ids. Raises ``SettingsError`` where it is missing or short."""
    if "visitor_id" in weblog.further_fields:
        return b""
    key = environment.get(KEY_VARIABLE, "")
    if len(key) < SHORTEST_KEY:
        raise SettingsError(
            f"{KEY_VARIABLE} has to hold a secret of {SHORTEST_KEY} characters or more, always the same: visitors are told"
            " apart by a hash of address and user agent. Or log a cookie, and name it in further_fields of weblog.yaml."
        )
    return key.encode()


def clicks(line: str, weblog: Weblog, key: bytes, ids: EventIds) -> list[Click] | Skip:
    """The click of one line of a log. Raises ``RowError`` on a line that is not in the combined format."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise RowError("is not in the combined log format")
    head, time, request, status, referrer, agent, further_text = found.groups()
    address, user = _client(head)
    further = _further(further_text, weblog)
    event_at = _time(time)
    asked = _REQUEST.fullmatch(_unescaped(request))
    if asked is None:
        return Skip("no HTTP request")
    path, query_text = _target(asked[2])
    agent = _unescaped(agent)
    meant = _meaning(weblog, asked[1], path, agent, status)
    if isinstance(meant, Skip):
        return meant
    rule, named = meant
    query = query_of(f"?{query_text}")
    return [
        {
            "event_id": ids.of(line),
            "event_name": rule.event,
            "event_at": event_at,
            "customer_id": user if weblog.user == "customer" else None,
            "visitor_id": None if "visitor_id" in weblog.further_fields else _visitor(key, address, agent),
            "page_url": path,
            "referrer": without_query(_unescaped(referrer)) if referrer != "-" else None,
            "device": device_of(agent),
            **{column: query.get(column) for column in UTM_COLUMNS},
            **{column: query.get(parameter) for column, parameter in rule.query.items()},
            **named,
            **further,
        }
    ]


def _client(head: str) -> tuple[str | None, str | None]:
    """Address and user name of what stands before the time: ``[virtual host] address, proxies ... identity user``.

    Raises ``RowError`` where other fields stand there: a shifted field would make one customer of all visitors.
    """
    fields = _fields(head)
    addresses: list[str] = []
    at = 0
    if len(fields) > 3 and not _is_address(fields[0]) and _HOST.fullmatch(fields[0]) and _is_host(fields[1]):
        at = 1  # the virtual host
    start = at
    while at < len(fields) and (_is_address(fields[at]) or (at == start and _is_host(fields[at]))):
        addresses.append(fields[at])
        at += 1
    user = _unescaped(" ".join(fields[at + 1 :]))
    if not addresses or len(fields) < at + 2 or _is_shifted(user):
        raise RowError(f"{len(fields)} fields before the time are not: address (or a list of them), identity, user")
    valid = [text for text in map(_bare, addresses) if text not in _NO_ADDRESS]
    return next(iter(valid), None), None if user in {"", "-"} else user


def _fields(head: str) -> list[str]:
    """The words of ``head``; a list of addresses without blanks, or with blanks before its commas, is as many words."""
    fields: list[str] = []
    for word in head.split(" "):
        parts = [part for part in word.split(",") if part]
        if len(parts) > 1 and all(_is_address(part) for part in parts):
            fields += parts
        elif word != "," or not fields or not _is_address(fields[-1]):
            fields.append(word)
    return fields


def _is_shifted(user: str) -> bool:
    """A user name may hold blanks, but no ``-`` or address among its words: those are other fields."""
    words = user.split(" ")
    return len(words) > 1 and any(word in _NO_ADDRESS or _is_address(word) for word in words)


def _bare(field: str) -> str:
    """An address without its comma, quotes or parentheses, and without a port."""
    text = field.strip('",()')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, port = text.rpartition(":")
    return host if colon and port.isdigit() and host.count(".") == 3 else text


def _is_address(field: str) -> bool:
    text = _bare(field)
    if text == "unknown" or (text in _NO_ADDRESS and text != field):  # a proxy that hides the client: ``-,`` or ``(-)``
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host(field: str) -> bool:
    """A host's name in place of an address (``HostnameLookups``), or ``-`` for none."""
    return _is_address(field) or field == "-" or (_HOST.fullmatch(field) is not None and ("." in field or field == "localhost"))


def _meaning(weblog: Weblog, method: str, path: str, agent: str, status: str) -> tuple[Rule, Click] | Skip:
    """The rule that a request fits with the columns that its path names, or why it is no click."""
    if path.rsplit(".", 1)[-1].lower() in weblog.static:
        return Skip("static file")
    if _is_robot(weblog, agent):
        return Skip("robot")
    for rule in weblog.events:
        found = rule.path.fullmatch(unquote(path)) if rule.method == method else None
        if found:
            succeeded = status.startswith("2") or status == "304" or (rule.redirects and status.startswith("3"))  # 304: a cache
            return (rule, found.groupdict()) if succeeded else Skip(f"status {status}")
    return Skip(f"{method} that no rule names")


def _is_robot(weblog: Weblog, agent: str) -> bool:
    if weblog.people is not None and weblog.people.search(agent):
        return False
    return is_robot(agent) or (weblog.robots is not None and bool(weblog.robots.search(agent)))


def _further(text: str, weblog: Weblog) -> dict[str, Any]:
    """The columns of the fields behind the user agent. Raises ``RowError`` where some are missing."""
    values = _FURTHER.findall(text)
    if len(values) < len(weblog.further_fields):
        raise RowError(
            f"has {len(values)} fields in quotes behind the user agent, weblog.yaml names {len(weblog.further_fields)}"
        )
    named = zip(weblog.further_fields, values, strict=False)
    return {column: _unescaped(value) for column, value in named if column != "-" and value not in {"", "-"}}


def _visitor(key: bytes, address: str | None, agent: str) -> str | None:
    """A keyed hash of address and agent; without an address visitors cannot be distinguished."""
    if address is None:
        return None
    return hmac.new(key, f"{address}\0{agent}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def _target(target: str) -> tuple[str, str]:
    """Path and query of a request's target, a path (``/p?q``, also ``//p``) or a whole URL, as proxies are asked.

    The path is without parameters such as ``;jsessionid=``, which may be secrets, and has single slashes.
    """
    if "://" in target.partition("?")[0]:
        try:
            url = urlsplit(target)
        except ValueError as error:
            raise RowError(f"request: {target[:200]!r} is not a URL") from error
        path, query = url.path or "/", url.query
    else:
        path, _, query = target.partition("#")[0].partition("?")
    return re.sub("//+", "/", _PATH_PARAMETERS.sub("", path)), query


def _time(text: str) -> datetime:
    """``10/Oct/2000:13:55:36 -0700`` in UTC. Month names are English, as this process sets no other locale."""
    try:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RowError(f"time: {text!r} is not a time such as 10/Oct/2000:13:55:36 -0700") from error


def _unescaped(text: str) -> str:
    r"""Without the server's escapes: ``\"`` and ``\\`` of Apache, ``\xhh`` of both, whose bytes are UTF-8."""
    return _ESCAPED.sub(_plain, text) if "\\" in text else text


def _plain(escaped: re.Match[str]) -> str:
    text = escaped[0]
    if len(text) > 2:
        return bytes.fromhex(text.replace("\\x", "")).decode("utf-8", "replace")
    return {"\\t": "\t", "\\n": "\n", "\\r": "\r"}.get(text, text[1])
