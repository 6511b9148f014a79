"""Settings of files whose form differs from the contract's: delimiters, encodings, dates, and columns made of others."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from customer360.settings.fields import Strict, TimeZone

WHITESPACE = "whitespace"


class ColumnRule(Strict):
    """How a column that a file does not have is made of those that it has; exactly one of the fields.

    ``multiply``: the product of two columns of numbers. ``join``: their texts with ``-`` between. ``value``: the same text in
    every row. ``number_within``: 1, 2, ... in the order of the file among the rows that are equal in these columns. ``fill``: a
    column that is empty in all but the first of the rows that are equal in the columns ``within``.
    """

    multiply: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    join: Annotated[list[str], Field(min_length=1)] | None = None
    value: str | None = None
    number_within: Annotated[list[str], Field(min_length=1)] | None = None
    fill: str | None = None
    within: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _single(self) -> Self:
        if len(self.model_fields_set - {"within"}) != 1 or (self.fill is None) != (self.within is None):
            raise ValueError(
                "give a column's name, or exactly one of multiply, join, value, number_within, and fill with within"
            )
        return self

    @property
    def names(self) -> list[str]:
        """The columns of the file that are read."""
        filled = [self.fill, *(self.within or [])] if self.fill is not None else []
        return filled or self.multiply or self.join or self.number_within or []


class SourceOptions(Strict):
    """How the files of one table, of the history or of clicks are written, where that differs from the contract's form.

    ``delimiter``, ``quote``, ``escape``, ``encoding``, ``skip_lines``, ``header``, ``decimal`` and ``thousands`` are of CSV
    alone. ``skip_lines`` are titles above the header; ``header`` names the columns of files without one. ``date_format`` is
    strptime's, ISO 8601 is read beside it. ``time_zone`` is that of times without an offset. ``float_ids``: 17850.0 is 17850.
    ``distinct``: the rows are those of another table; the last row of a key counts, and rows without a key are left out.
    """

    delimiter: str = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    escape: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str = "utf-8"
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    header: list[str] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    date_format: str | list[str] | None = None
    time_zone: TimeZone | None = None
    float_ids: bool = False
    distinct: bool = False
    columns: dict[str, str | ColumnRule] = {}

    @field_validator("delimiter")
    @classmethod
    def _known_delimiter(cls, value: str) -> str:
        value = {"tab": "\t", "\\t": "\t"}.get(value, value)
        if value != WHITESPACE and (len(value) != 1 or value in '\r\n"'):
            raise ValueError(f"write one character such as ';', or tab, or {WHITESPACE} for any number of blanks")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            name = codecs.lookup(value).name
            "".encode(name)
        except LookupError:
            raise ValueError(f"{value!r} is no encoding; write utf-8, utf-16, windows-1252, iso-8859-15, ...") from None
        return "utf-8" if name == "utf-8-sig" else name

    @field_validator("date_format")
    @classmethod
    def _day_is_complete(cls, value: str | list[str] | None) -> str | list[str] | None:
        for form in [value] if isinstance(value, str) else value or []:
            parts = ("%d", "%-d"), ("%m", "%-m", "%b", "%B"), ("%Y", "%y")
            if not all(any(part in form for part in alternatives) for alternatives in parts):
                raise ValueError(f"{form!r} needs day (%d), month (%m or %b) and year (%Y or %y), as in %d.%m.%Y %H:%M")
        return value

    @model_validator(mode="after")
    def _signs_differ(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        return self

    @property
    def date_formats(self) -> list[str]:
        """The formats that are tried in turn."""
        return [self.date_format] if isinstance(self.date_format, str) else self.date_format or []
