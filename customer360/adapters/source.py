"""Files of a published data set in a folder that the user names: the required files, and their rows, checked."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd


class SourceError(ValueError):
    """The folder lacks a file, or a file breaks its format. The message names file, row and column, and the remedy."""


@dataclass(frozen=True)
class Field:
    """A column of a file: a parser of its text (``ValueError`` where it is invalid), and a description of valid text."""

    name: str
    expected: str
    parse: Callable[[str], Any]


def require_files(folder: Path, names: Iterable[str]) -> None:
    """Raise ``SourceError`` unless ``folder`` holds all of these files."""
    wanted = list(names)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        problem = f"lacks {', '.join(missing)}" if folder.is_dir() else "is not a folder"
        raise SourceError(f"{folder} {problem}; FROM=<folder> is to name one that holds {', '.join(wanted)}")


def read_rows(path: Path, fields: Sequence[Field], key: Sequence[str]) -> pd.DataFrame:
    """The rows of a CSV file without header. Raises ``SourceError`` on the first row that breaks a field or repeats a key."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            for values in reader:
                where = f"{path}, row {reader.line_num}"
                row = _row(values, fields, where)
                identity = tuple(row[name] for name in key)
                if identity in rows:
                    raise SourceError(f"{where} repeats {', '.join(key)} of an earlier row; remove one of the two")
                rows[identity] = row
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceError(f"{path}, row {reader.line_num + 1}: {error}; fetch the file again") from error
    return pd.DataFrame(list(rows.values()), columns=[field.name for field in fields])


def _row(values: list[str], fields: Sequence[Field], where: str) -> dict[str, Any]:
    if len(values) != len(fields):
        names = ", ".join(field.name for field in fields)
        raise SourceError(f"{where} has {len(values)} columns, not the {len(fields)} without a header: {names}; correct it")
    row = {}
    for field, value in zip(fields, values, strict=True):
        try:
            row[field.name] = field.parse(value)
        except ValueError as error:
            raise SourceError(f"{where}, column {field.name}: {value!r} is not {field.expected}; correct it") from error
    return row


def one_of(known: Collection[str]) -> Callable[[str], str]:
    """A parser that accepts only the texts in ``known``."""

    def parse(value: str) -> str:
        if value not in known:
            raise ValueError(value)
        return value

    return parse


def given(value: str) -> str:
    """Text that is not blank."""
    if not value.strip():
        raise ValueError(value)
    return value


def whole_number(value: str) -> int:
    """A whole number from 0 on."""
    if not value.isdecimal():
        raise ValueError(value)
    return int(value)


def money(value: str) -> Decimal:
    """An amount in full cents."""
    try:
        amount = Decimal(value)
        if not amount.is_finite() or amount != round(amount, 2):
            raise ValueError(value)
    except InvalidOperation as error:
        raise ValueError(value) from error
    return amount


def utc_time(value: str) -> datetime:
    """A time, which is UTC where it names no zone."""
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
