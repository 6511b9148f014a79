"""Events judged by the click contract when they arrive, one by one: what is accepted here is not quarantined by its slice.

The rules are those of ``lake.landing.click_rules``, on values in place of SQL; tests run both on the same lines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import msgspec

from customer360.adapters.rows import Click, RowError, canonical
from customer360.lake.landing.contracts import CLICK_COLUMNS, MAX_AGE_DAYS, MAX_FUTURE_HOURS, Column

EVENT_BYTES = 65_536
ID_LENGTH, TEXT_LENGTH = 512, 8_192
LARGEST_AMOUNT = Decimal(10) ** 16
LARGEST_WHOLE = 2**63
CENT = Decimal("0.01")
AHEAD = timedelta(hours=MAX_FUTURE_HOURS)
AGE = timedelta(days=MAX_AGE_DAYS - 1)  # the slice may begin later than the event arrives
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_COLUMNS = {column.name: column for column in CLICK_COLUMNS}


class EventError(ValueError):
    """An event breaks the contract: in which field, and what to send instead. It quotes no value."""

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}")
        self.field, self.remedy = field, remedy


@dataclass(frozen=True)
class Arrived:
    """When events arrived (UTC, by the shop's clock), and the shop's currency."""

    at: datetime
    currency: str


def checked(event: Mapping[str, Any], arrived: Arrived) -> Click:
    """The event by the contract's columns, others as they are. Raises ``EventError`` for the first rule that it breaks.

    Columns without a value are left out; ids are canonical; ``event_at`` is a datetime.
    """
    click = {name: value for name, value in event.items() if name not in _COLUMNS}
    for name, column in _COLUMNS.items():
        value = event.get(name)
        if value is not None and value != "":
            value = _CHECKS[column.type](column, value)
            if value is not None:
                click[name] = value
    _require(click, arrived)
    return click


def line_of(click: Click) -> bytes:
    """The click as a line of landing. Raises ``EventError`` where it is too large or no valid text."""
    try:
        line = msgspec.json.encode(click, enc_hook=_encoded, order="deterministic")
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise EventError("", "send valid Unicode text, nested less deeply") from error
    if len(line) > EVENT_BYTES:
        raise EventError("", f"send an event of at most {EVENT_BYTES} bytes")
    return line


def _require(click: Click, arrived: Arrived) -> None:
    """What an event must have, and the bounds of its values."""
    missing = [column.name for column in CLICK_COLUMNS if column.required and column.name not in click]
    if missing:
        raise EventError(missing[0], "is missing")
    for name, breaks, remedy in _RULES:
        if breaks(click, arrived):
            raise EventError(name, remedy.format(currency=arrived.currency))


_Rule = Callable[[Click, Arrived], bool]
_RULES: tuple[tuple[str, _Rule, str], ...] = (
    (
        "event_at",
        lambda click, arrived: click["event_at"] > arrived.at + AHEAD,
        f"lies over {MAX_FUTURE_HOURS} hour in the future; send UTC, or leave it out for now",
    ),
    (
        "event_at",
        lambda click, arrived: click["event_at"] < arrived.at - AGE,
        f"lies over {AGE.days} days back; land old events as history",
    ),
    (
        "visitor_id",
        lambda click, _: not click.keys() & {"visitor_id", "customer_id"},
        "is missing, and customer_id too; send one of the two",
    ),
    ("dwell_seconds", lambda click, _: click.get("dwell_seconds", 0) < 0, "is below 0"),
    ("order_id", lambda click, _: click["event_name"] == "purchase" and "order_id" not in click, "is missing in a purchase"),
    ("amount", lambda click, _: click["event_name"] == "purchase" and "amount" not in click, "is missing in a purchase"),
    (
        "currency",
        lambda click, arrived: click.get("currency", arrived.currency) != arrived.currency,
        "is not the shop's: send amounts in {currency}",
    ),
)


def _text(column: Column, value: Any) -> str | None:
    if column.is_id:
        return _id(column, value)
    if not isinstance(value, str):
        raise EventError(column.name, "send text")
    if len(value) > TEXT_LENGTH or "\0" in value:
        raise EventError(column.name, f"send at most {TEXT_LENGTH} characters, without NUL")
    return value


def _id(column: Column, value: Any) -> str | None:
    if not isinstance(value, str):
        value = f"{_whole(column, value)}" if _is_number(value) else value
    if not isinstance(value, str) or len(value) > ID_LENGTH:
        raise EventError(column.name, f"send a text of at most {ID_LENGTH} characters, or a whole number")
    try:
        return canonical(value, column.name)
    except RowError as error:
        raise EventError(column.name, f"{error}".removeprefix(f"{column.name}: ")) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _time(column: Column, value: Any) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else msgspec.convert(value, datetime)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise EventError(column.name, "send a time such as 2026-05-01T10:15:00Z") from error


def _number(column: Column, value: Any) -> Decimal:
    """A finite number, also as text: some trackers quote theirs."""
    if not _is_number(value) and not (isinstance(value, str) and _NUMBER.fullmatch(value.strip(" "))):
        raise EventError(column.name, "send a number")
    try:
        number = Decimal(str(value).strip(" "))
        if not number.is_finite() or not math.isfinite(float(number)):
            raise EventError(column.name, "send a finite number")
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise EventError(column.name, "send a number") from error
    return number


def _double(column: Column, value: Any) -> float:
    return float(_number(column, value))


def _whole(column: Column, value: Any) -> int:
    number = _number(column, value)
    if abs(number) >= LARGEST_WHOLE or number != number.to_integral_value():
        raise EventError(column.name, "send a whole number")
    return int(number)


def _amount(column: Column, value: Any) -> Decimal:
    number = _number(column, value)
    if abs(number) >= LARGEST_AMOUNT - 1:
        raise EventError(column.name, "send an amount of at most 16 digits before the point")
    return number.quantize(CENT, ROUND_HALF_UP)


def _encoded(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no place in an event")


_CHECKS: Mapping[str, Callable[[Column, Any], Any]] = {
    "VARCHAR": _text,
    "TIMESTAMP": _time,
    "DOUBLE": _double,
    "BIGINT": _whole,
    "DECIMAL(18,2)": _amount,
}
