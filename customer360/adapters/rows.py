"""Shared by the adapters of foreign formats: clicks, skipped and invalid rows, ids, order lines, times, URLs, user agents."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from crawlerdetect import CrawlerDetect
from crawleruseragents import is_crawler

from customer360.lake.landing.contracts import CLICK_COLUMNS
from customer360.lake.landing.values import canonical_id

ID_COLUMNS = frozenset(column.name for column in CLICK_COLUMNS if column.is_id)

# Columns of the click contract by name; `event_at` is a datetime in UTC; unknown values are None or left out.
Click = dict[str, Any]

LONGEST_NUMBER = 100  # digits before or behind the point; JSON may write a number with a thousand million of them

_TABLET = re.compile(r"iPad|Tablet|PlayBook|Silk/|Android(?!.*Mobile)")
_PHONE = re.compile(r"Mobi|iPhone|iPod|Windows Phone")
_CRAWLERS = CrawlerDetect()


@dataclass(frozen=True)
class Skip:
    """A row that the adapter's rules skip, such as an image in a web log. Skips are counted by reason."""

    reason: str


class RowError(ValueError):
    """A row that cannot be read. The message names the column and says what is wrong."""


@dataclass
class EventIds:
    """Ids for rows that have none: a hash of the row's identity and of how often it came before in the file.

    The same file gives the same ids again, also after lines were appended.
    """

    seen: Counter[bytes] = field(default_factory=Counter)

    def of(self, identity: str) -> str:
        """The id of the next row with this identity, 32 hexadecimal digits."""
        digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:16]
        self.seen[digest] += 1
        return hashlib.sha256(digest + str(self.seen[digest]).encode()).hexdigest()[:32]


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of a line; fractions stay decimal. Raises ``RowError`` on anything else."""
    try:
        loaded = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise RowError(f"is not valid JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise RowError("is not a JSON object")
    return loaded


def with_canonical_ids(click: Click) -> Click:
    """The click with its ids in the contract's one form: a number without fraction as an integer, a placeholder as missing.

    Raises ``RowError`` naming the column where an id is ambiguous, such as the text ``1001.0``.
    """
    return {column: canonical(value, column) if column in ID_COLUMNS else value for column, value in click.items()}


def canonical(value: Any, column: str) -> str | None:
    """An id in its one form, None for a placeholder. Raises ``RowError`` naming the column where it is ambiguous."""
    try:
        return None if value is None else canonical_id(text_of(value))
    except ValueError as error:
        raise RowError(f"{column}: {error}") from error


def text_of(value: Any) -> str:
    """A JSON value as text; a number of whole value is written without a fraction."""
    is_short = isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < LONGEST_NUMBER
    return f"{value:.0f}" if is_short and value == value.to_integral_value() else str(value)


def first(*values: Any) -> Any:
    """The first value that is there: neither None nor empty text."""
    return next((value for value in values if value not in (None, "")), None)


def record(value: Any, column: str) -> Mapping[str, Any]:
    """A nested record, empty where it is missing. Raises ``RowError`` where it is something else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError(f"{column}: is not an object")
    return value


def mappings(value: Any, column: str) -> Sequence[Mapping[str, Any]]:
    """A repeated record, empty where it is missing. Raises ``RowError`` where it is something else."""
    if value in (None, ""):
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise RowError(f"{column}: is not a list of objects")
    return value


def line_total(values: Mapping[str, Any], price: str = "price", quantity: str = "quantity") -> Decimal | None:
    """Price times quantity, which is 1 where it is missing; None without a price."""
    each, count = decimal_of(values, price), decimal_of(values, quantity)
    return None if each is None else each * (1 if count is None else count)


def order_lines(lines: Iterable[Click], sign: int) -> list[Click]:
    """The lines of a sale (sign 1) or of a refund (sign -1): amounts of that sign, numbers that depend on content alone.

    The same sale sent again with its products in another order gives the same lines: they count from 1 within a product.
    A refund has no id in these formats, and an order may have several of one product: its lines are numbered below 0 by a
    hash of product, quantity and amount, so that different refunds are different lines, and one that is sent again counts once.
    """
    found: list[Click] = []
    seen: Counter[str] = Counter()
    for line in sorted(lines, key=_content):
        key = str(line.get("product_id")) if sign > 0 else _content(line)
        seen[key] += 1
        digest = hashlib.sha256(f"{key}\0{seen[key]}".encode("utf-8", "surrogatepass")).digest()
        number = seen[key] if sign > 0 else -1 - int.from_bytes(digest[:6])
        amount = line.get("amount")
        found.append({**line, "line_no": number, "amount": None if amount is None else sign * abs(amount)})
    return found


def _content(line: Click) -> str:
    """The content of an order line as text: product, quantity and amount with normalised numbers."""
    numbers = (line.get("quantity"), line.get("amount"))
    return "\0".join([str(line.get("product_id")), *(_plain(number) for number in numbers)])


def _plain(number: Any) -> str:
    try:
        value = Decimal(str(number))
    except InvalidOperation:
        return str(number)
    return f"{value.normalize():f}" if value.is_finite() and abs(value.adjusted()) < LONGEST_NUMBER else str(number)


def utc_time(text: str, column: str) -> datetime:
    """An ISO 8601 time; without a zone it is UTC. Raises ``RowError`` naming the column."""
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise RowError(f"{column}: {text!r} is not a time (ISO 8601)") from error


def decimal_of(values: Mapping[str, Any], column: str) -> Decimal | None:
    """A number of a record, None where it is missing. Raises ``RowError`` naming the column."""
    value = first(values.get(column))
    try:
        number = None if value is None else Decimal(str(value))
    except InvalidOperation as error:
        raise RowError(f"{column}: {value!r} is not a number") from error
    if number is not None and not (number.is_finite() and abs(number.adjusted()) < LONGEST_NUMBER):
        raise RowError(f"{column}: {value!r} is not a number")
    return number


def without_query(url: str | None) -> str | None:
    """A URL up to its query, which may hold e-mail addresses and tokens."""
    return re.split(r"[?#]", url, maxsplit=1)[0] or None if url else None


def query_of(url: str | None) -> dict[str, str]:
    """The parameters of a URL; of a repeated one the first. Empty for a URL that cannot be read."""
    try:
        pairs = parse_qsl(urlsplit(url or "").query)
    except ValueError:
        return {}
    return dict(reversed(pairs))


@functools.lru_cache(maxsize=65_536)
def is_robot(agent: str) -> bool:
    """Whether a user agent is a robot's or a program's, by two kept lists; an empty one is.

    ``crawler-user-agents`` judges every agent; its patterns fit no phone (CUBOT). ``crawlerdetect`` also knows HTTP libraries
    and monitors, but looks for parts of words: it judges only agents that do not begin with ``Mozilla/`` or ``Opera/``, as
    those of browsers do.
    """
    if agent in {"", "-"} or is_crawler(agent):
        return True
    return not agent.startswith(("Mozilla/", "Opera/")) and bool(_CRAWLERS.isCrawler(agent))


def device_of(agent: str | None) -> str | None:
    """Device class of a user agent: tablet, mobile or desktop, as GA4 names them; None without one."""
    if not agent:
        return None
    if _TABLET.search(agent):
        return "tablet"
    return "mobile" if _PHONE.search(agent) else "desktop"
