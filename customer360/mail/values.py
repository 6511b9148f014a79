"""Values of variables: what of a customer's data may be written in a message, and what counts as none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from customer360.mail.message import EVERY_LANGUAGE, Message, Variable, VariableType
from customer360.mail.templates import Absent, MissingVariable, Product

LONGEST_TEXT = 200
# What systems write where they have nothing.
EMPTY = frozenset({"", "-", "--", ".", "?", "n/a", "nan", "nat", "none", "null", "<na>", "undefined", "unknown"})
# Controls, line ends, and marks that reverse the direction of what follows.
_UNPRINTABLE = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_ADDRESS = re.compile(r"://|www\.|[a-z0-9-]\.(com|net|org|info|io|ru|cn|xyz|top|shop|site|online|link|click)\b", re.IGNORECASE)


def cleaned(value: Any, variable: Variable) -> Any:
    """A value as messages write it; None where it is none.

    A text loses control characters and line ends. None are: what systems write where they have nothing, such as ``null``; a
    customer's text that holds a web address, since mail programs make a link of it and people register names for that.
    """
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    found = _CLEANERS[variable.type](value)
    is_foreign = isinstance(found, str) and variable.source.startswith("customer.") and _ADDRESS.search(found)
    return None if is_foreign else found


def printable_line(value: Any) -> str:
    """A value as a text of one line, without control characters."""
    return _UNPRINTABLE.sub(" ", str(value)).strip()


def _text(value: Any) -> str | None:
    text = printable_line(value)
    return None if text.lower() in EMPTY or len(text) > LONGEST_TEXT else text


def _number(value: Any) -> float | int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if not math.isfinite(number) else int(number) if number.is_integer() else number


def _money(value: Any) -> Decimal | None:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _date(value: Any) -> date | None:
    if isinstance(value, datetime):  # a pandas Timestamp too
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None


def _boolean(value: Any) -> bool | None:
    return bool(value) if isinstance(value, bool | np.bool_) else None


def _products(value: Any) -> tuple[Product, ...]:
    return tuple(value) if isinstance(value, list | tuple) else ()


_CLEANERS = {
    VariableType.TEXT: _text,
    VariableType.NUMBER: _number,
    VariableType.MONEY: _money,
    VariableType.DATE: _date,
    VariableType.BOOLEAN: _boolean,
    VariableType.PRODUCTS: _products,
}


def filled(message: Message, language: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every variable's value for one customer, by name. Raises ``MissingVariable`` for one that must have one."""
    return {name: _filled(name, variable, language, values.get(name)) for name, variable in message.variables.items()}


def _filled(name: str, variable: Variable, language: str, value: Any) -> Any:
    found = cleaned(value, variable)
    if variable.type is VariableType.PRODUCTS:
        if len(found or ()) < variable.least:
            raise MissingVariable(name)
        return (found or ())[: variable.most]
    if found is not None:
        return found
    if variable.default is not None:
        return variable.default.get(language) or variable.default[EVERY_LANGUAGE]
    if variable.optional:
        return Absent(name)
    raise MissingVariable(name)


def fillable(message: Message, frame: pd.DataFrame) -> pd.Series[Any]:
    """Why each customer cannot get the message, None where they can. ``frame``: a row each with a column for each variable."""
    reasons = pd.Series(None, index=frame.index, dtype=object)
    for name, variable in message.variables.items():
        if variable.default is not None or variable.optional:
            continue
        lacks = (
            _is_short(frame[name], variable.least)
            if variable.type is VariableType.PRODUCTS
            else _is_none(frame[name], variable)
        )
        reasons = reasons.mask(reasons.isna() & lacks, reason_without(name))
    return reasons


def reason_without(name: str) -> str:
    """Why a customer who lacks the value of a variable does not get the message, as plans and results say it."""
    return f"no value for {name} of the message"


def _is_short(lists: pd.Series[Any], least: int) -> pd.Series[bool]:
    return lists.map(lambda value: len(value) if isinstance(value, list | tuple) else 0) < least


def _is_none(values: pd.Series[Any], variable: Variable) -> pd.Series[bool]:
    """Whether each value is none: judged once for each that differs."""
    known = {value: cleaned(value, variable) is None for value in _distinct(values)}
    return (
        values.map(lambda value: known.get(value, True), na_action="ignore").astype("boolean").fillna(value=True).astype(bool)
    )


def _distinct(values: pd.Series[Any]) -> Iterable[Any]:
    return filter(partial(pd.notna), values.unique())
