"""Web server logs in the combined format, as Apache and nginx write it, as clicks. The shop says which request means what.

``%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"``, where further fields in quotes may follow, such as a cookie.
Requests are named in ``weblog.yaml`` beside ``shop.yaml``. Skipped and counted: static files, robots, failed requests, and
requests that no rule names. The address is not kept: without a logged cookie the visitor is a keyed hash of address and user
agent. Of URLs only the part before the query is kept, beside the parameters that a rule names and ``utm_*``.

Equal lines of one file are requests of their own. Equal lines of two files are taken for the same request; where several
servers write logs, have them add their name to the end of the line.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

import yaml
from pydantic import Field, ValidationError, model_validator

from customer360.adapters.rows import Click, EventIds, RowError, Skip, device_of, query_of, without_query
from customer360.lake.landing.contracts import CLICK_COLUMNS, EVENT_NAMES
from customer360.settings import SettingsError, Strict

FILE = "weblog.yaml"
KEY_VARIABLE = "CUSTOMER360_VISITOR_KEY"
SHORTEST_KEY = 16
UTM_COLUMNS = ("utm_source", "utm_medium", "utm_campaign")
_STATIC = "css js mjs map png jpg jpeg gif webp avif svg ico woff woff2 ttf eot mp4 webm txt xml json webmanifest"
STATIC = tuple(_STATIC.split())
ROBOTS = r"bot\b|bot/|crawl|spider|slurp|preview|monitor|curl/|wget/|python-requests|headless|^$|^-$"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(rf"(\S+) \S+ (.+?) \[([^\]]+)\] {_QUOTED} (\d{{3}}) (?:\d+|-) {_QUOTED} {_QUOTED}(.*)", re.DOTALL)
_FURTHER = re.compile(_QUOTED)
_REQUEST = re.compile(r"([A-Z]+) (\S+)(?: HTTP/[\d.]+)?")
_TIME = re.compile(r"(\d\d)/([A-Z][a-z][a-z])/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_ESCAPED = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+|\\.", re.DOTALL)

_SETTABLE = frozenset(column.name for column in CLICK_COLUMNS) - {"event_id", "event_name", "event_at"}


class Rule(Strict):
    """A request and what it means: ``path`` is a regular expression of the whole path, its named groups are columns."""

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
    """``weblog.yaml``: the rules, the first that fits counts, and how the shop's log differs from the usual."""

    events: Annotated[list[Rule], Field(min_length=1)]
    user: Literal["customer", "ignore"] = "customer"
    further_fields: tuple[str, ...] = ()
    static: tuple[str, ...] = STATIC
    robots: re.Pattern[str] = re.compile(ROBOTS, re.IGNORECASE)

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
        lines = [f"  {'.'.join(str(part) for part in e['loc']) or '(whole file)'}: {e['msg']}" for e in error.errors()]
        raise SettingsError(f"{path} does not say what a request means:\n" + "\n".join(lines)) from error


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
    address, user, time, request, status, referrer, agent, rest = found.groups()
    further = _further(rest, weblog)
    event_at = _time(time)
    asked = _REQUEST.fullmatch(_unescaped(request))
    if asked is None:
        return Skip("no HTTP request")
    url = _split(asked[2])
    agent = _unescaped(agent)
    meant = _meaning(weblog, asked[1], url.path, agent, int(status))
    if isinstance(meant, Skip):
        return meant
    rule, named = meant
    query = query_of(asked[2])
    return [
        {
            "event_id": ids.of(line),
            "event_name": rule.event,
            "event_at": event_at,
            "customer_id": _unescaped(user) if weblog.user == "customer" and user != "-" else None,
            "visitor_id": None if "visitor_id" in weblog.further_fields else _visitor(key, address, agent),
            "page_url": url.path,
            "referrer": without_query(_unescaped(referrer)) if referrer != "-" else None,
            "device": device_of(agent),
            **{column: query.get(column) for column in UTM_COLUMNS},
            **{column: query.get(parameter) for column, parameter in rule.query.items()},
            **named,
            **further,
        }
    ]


def _meaning(weblog: Weblog, method: str, path: str, agent: str, status: int) -> tuple[Rule, Click] | Skip:
    """The rule that a request fits with the columns that its path names, or why it is no click."""
    if path.rsplit(".", 1)[-1].lower() in weblog.static:
        return Skip("static file")
    if weblog.robots.search(agent):
        return Skip("robot")
    for rule in weblog.events:
        found = rule.path.fullmatch(unquote(path)) if rule.method == method else None
        if found:
            succeeded = 200 <= status < 300 or status == 304 or (rule.redirects and 300 <= status < 400)  # 304: from a cache
            return (rule, found.groupdict()) if succeeded else Skip(f"status {status}")
    return Skip(f"{method} that no rule names")


def _further(rest: str, weblog: Weblog) -> dict[str, Any]:
    """The columns of the fields behind the user agent. Raises ``RowError`` where some are missing."""
    values = _FURTHER.findall(rest)
    if len(values) < len(weblog.further_fields):
        raise RowError(
            f"has {len(values)} fields in quotes behind the user agent, weblog.yaml names {len(weblog.further_fields)}"
        )
    named = zip(weblog.further_fields, values, strict=False)
    return {column: _unescaped(value) for column, value in named if column != "-" and value not in {"", "-"}}


def _visitor(key: bytes, address: str, agent: str) -> str:
    return hmac.new(key, f"{address}\0{agent}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def _split(target: str) -> SplitResult:
    try:
        return urlsplit(target)
    except ValueError as error:
        raise RowError(f"request: {target[:200]!r} is not a URL") from error


def _time(text: str) -> datetime:
    """``10/Oct/2000:13:55:36 -0700`` in UTC. Month names are English, whatever the server's language."""
    found = _TIME.fullmatch(text)
    try:
        day, month, year, hour, minute, second, sign, hours, minutes = found.groups() if found else ("",) * 9
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        date = datetime(
            int(year), MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=timezone(offset)
        )
        return date.astimezone(UTC)
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
