"""Exports of other tools as rows by day: Google Analytics 4, the shop's books, a mail provider.

Tools write the same table in many ways. Read are UTF-8, UTF-16 and Windows-1252; commas, semicolons, tabs and bars between
columns; comments above the table, as GA4 writes them; totals among the rows; decimal commas and points, with and without
thousands; dates as 20260501, 2026-05-01, 01.05.2026, 05/13/2026 and May 1, 2026.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import inf, isinf

import pandas as pd

from customer360.errors import OperatorError

MOST_BYTES = 10 * 1024 * 1024
DELIMITERS = ",;\t|"
TOTALS = re.compile(r"(grand |sub)?totals?|gesamt(summe|ergebnis)?|summe|insgesamt|all days", re.IGNORECASE)
MISSING = {"", "-", "–", "—", "n/a", "na", "null", "none", "nan", "(notset)"}  # noqa: RUF001  dashes as tools write them
DATE = "date"
DATE_NAMES = ("date", "day", "datum", "tag", "order date", "send date", "versanddatum")
# Of each kind of export: our name of a column -> the names that tools and people give it, the preferred one first.
COLUMNS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "ga4": {
        "sessions": ("sessions", "sitzungen"),
        "visitors": ("total users", "users", "active users", "nutzer insgesamt", "nutzer", "aktive nutzer"),
        "orders": ("purchases", "ecommerce purchases", "transactions", "käufe", "e-commerce-käufe", "transaktionen"),
        "revenue": ("purchase revenue", "total revenue", "revenue", "kaufumsatz", "gesamtumsatz", "umsatz"),
    },
    "books": {
        "orders": ("orders", "order count", "number of orders", "bestellungen", "anzahl bestellungen", "aufträge"),
        "revenue": ("revenue", "net sales", "total sales", "sales", "turnover", "nettoumsatz", "umsatz"),
    },
    "mail": {
        "sent": ("sent", "emails sent", "recipients", "versendet", "empfänger"),
        "opened": ("unique opens", "opened", "opens", "geöffnet", "öffnungen"),
        "clicked": ("unique clicks", "clicked", "clicks", "geklickt", "klicks"),
        "bounced": ("bounced", "bounces", "total bounces", "rückläufer"),
    },
}
DATE_FORMATS = ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y")
DAY_FIRST, MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"


class ExportError(OperatorError):
    """An export cannot be read. The message names the file, the line, the column and what to do."""


@dataclass(frozen=True)
class Export:
    """One row per day, in order: ``date`` (``datetime.date``) and the columns of the kind that the file has, as floats.

    NaN where the tool says nothing. ``notes`` say in words what was left out or added up.
    """

    kind: str
    days: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def measures(self) -> list[str]:
        """The columns that the file has, without the date."""
        return [name for name in self.days.columns if name != DATE]


@dataclass(frozen=True)
class _Table:
    """The rows of a file with their line numbers, and where each of our columns is in them."""

    name: str
    header: list[str]
    places: dict[str, int]
    rows: list[tuple[int, list[str]]]

    def error(self, line: int, column: str, problem: str) -> ExportError:
        return ExportError(f"{self.name}: line {line}, column {self.header[self.places[column]]}: {problem}")


def read_export(kind: str, name: str, content: bytes) -> Export:
    """The days of an export; ``kind`` is one of ``COLUMNS``, ``name`` is the file's, for messages.

    Rows of one day, as of several channels, are added up. Raises ``ExportError``.
    """
    table = _table(kind, name, _text(name, content))
    notes = []
    is_total = [_is_total(row[table.places[DATE]]) for _, row in table.rows]
    rows = [row for row, total in zip(table.rows, is_total, strict=True) if not total]
    if any(is_total):
        lines = ", ".join(str(line) for (line, _), total in zip(table.rows, is_total, strict=True) if total)
        notes.append(f"Totals are left out: line {lines}.")
    if not rows:
        raise ExportError(f"{name} has no days below its header; export it with one row per day")
    table = _Table(table.name, table.header, table.places, rows)
    days = pd.DataFrame({DATE: _dates(table)} | {column: _numbers(table, column) for column in table.places if column != DATE})
    if days[DATE].duplicated().any():
        days = days.groupby(DATE, as_index=False).sum(min_count=1)
        notes.append("Rows of the same day were added up; people who are in several of them count in each.")
    left_out = [column for index, column in enumerate(table.header) if column and index not in table.places.values()]
    if left_out:
        notes.append(f"Columns that are not compared: {', '.join(left_out)}.")
    return Export(kind, days.sort_values(DATE, ignore_index=True), tuple(notes))


def _text(name: str, content: bytes) -> str:
    if len(content) > MOST_BYTES:
        raise ExportError(f"{name} is larger than {MOST_BYTES // 1024**2} MiB; export one row per day, and fewer days")
    if content.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        raise ExportError(f"{name} is a spreadsheet or an archive; save it as CSV")
    encodings = ["utf-16"] if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ExportError(f"{name} is not text in UTF-8, UTF-16 or Windows-1252; save it as CSV in UTF-8")


def _table(kind: str, name: str, text: str) -> _Table:
    """The first table of the text that has a day and a measure; tools write several, with comments or blank lines between."""
    if kind not in COLUMNS:
        raise ExportError(f"{kind} is no kind of export; choose one of {', '.join(COLUMNS)}")
    seen: list[str] = []
    for start, block in _blocks(text):
        for delimiter in sorted(DELIMITERS, key=block[0].count, reverse=True):
            lines = _records(name, start, block, delimiter)
            header = lines[0][1]
            places = _places(kind, header)
            if DATE in places and len(places) > 1:
                return _checked(_Table(name, header, places, [(line, row) for line, row in lines[1:] if any(row)]))
        seen.append(block[0][:200])
    wanted = "; ".join(f"{column}: {', '.join(names)}" for column, names in COLUMNS[kind].items())
    found = f"its first table begins with: {seen[0]}" if seen else "it is empty"
    raise ExportError(
        f"{name} has no table with a day and a figure to compare ({found}). "
        f"Name a column for the day ({', '.join(DATE_NAMES)}) and one or more of these: {wanted}"
    )


def _records(name: str, start: int, block: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    records = csv.reader(io.StringIO("\n".join(block)), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return [(start + records.line_num - 1, [cell.strip() for cell in record]) for record in records]
    except csv.Error as error:
        last = start + records.line_num - 1
        raise ExportError(f"{name}: line {last}: {error}; close the quote that begins in a line before it") from error


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines without comments and blank lines between them, with the number of their first line."""
    block: list[str] = []
    start = 1
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            start = start if block else number
            block.append(line)
        elif block:
            yield start, block
            block = []


def _places(kind: str, header: Sequence[str]) -> dict[str, int]:
    names = [re.sub(r"[\s_]+", " ", cell).strip().casefold() for cell in header]
    wanted = {DATE: DATE_NAMES, **COLUMNS[kind]}
    found = {column: next((names.index(name) for name in known if name in names), None) for column, known in wanted.items()}
    return {column: place for column, place in found.items() if place is not None}


def _checked(table: _Table) -> _Table:
    for line, row in table.rows:
        if len(row) != len(table.header):
            raise ExportError(
                f"{table.name}: line {line} has {len(row)} columns, the header {len(table.header)}. Put values that contain "
                "the delimiter, as 1,234.00, in quotes, or choose another delimiter in the export"
            )
    return table


def _is_total(cell: str) -> bool:
    """A row of totals: its day is empty, as GA4 has it, or says so."""
    return cell == "" or TOTALS.fullmatch(cell.rstrip(":").strip()) is not None


def _dates(table: _Table) -> list[date]:
    cells = [(line, row[table.places[DATE]]) for line, row in table.rows]
    slashed = [_slashed(cell) for _, cell in cells]
    first, second = (max((parts[place] for parts in slashed if parts), default=0) for place in (0, 1))
    if any(slashed) and first <= 12 and second <= 12 and any(parts and parts[0] != parts[1] for parts in slashed):
        line, cell = next(entry for entry, parts in zip(cells, slashed, strict=True) if parts and parts[0] != parts[1])
        raise table.error(line, DATE, f"'{cell}' may be day/month or month/day; export dates as 2026-05-01 or 20260501")
    formats = (*DATE_FORMATS, DAY_FIRST if first > 12 else MONTH_FIRST)
    return [_date(table, line, cell, formats) for line, cell in cells]


def _slashed(cell: str) -> tuple[int, int] | None:
    match = re.match(r"(\d{1,2})/(\d{1,2})/\d{4}\b", cell)
    return (int(match[1]), int(match[2])) if match else None


def _date(table: _Table, line: int, cell: str, formats: Sequence[str]) -> date:
    text = re.sub(r"[T ]\d{1,2}:\d{2}.*$", "", cell)
    for form in formats:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007  a day of the tool's own zone
        except ValueError:
            continue
    raise table.error(line, DATE, f"'{cell}' is no date; export dates as 2026-05-01 or 20260501")


def _numbers(table: _Table, column: str) -> list[float]:
    """The column's cells. The cells that leave no doubt say what a point or comma means; without one it parts thousands."""
    cells = [(line, _bare(row[table.places[column]])) for line, row in table.rows]
    marks = {mark for _, cell in cells if (mark := _decimal_mark(cell))}
    if len(marks) > 1:
        line, cell = next((line, cell) for line, cell in cells if _decimal_mark(cell) == ",")
        raise table.error(line, column, f"'{cell}' has a decimal comma, other lines a decimal point; export all in one way")
    mark = "".join(marks)
    numbers = []
    for line, cell in cells:
        digits = "".join("." if sign == mark else sign for sign in cell if sign not in ",." or sign == mark)
        try:
            numbers.append(float("nan" if cell.casefold() in MISSING else digits))
        except ValueError:
            numbers.append(inf)
        if isinf(numbers[-1]):
            raise table.error(line, column, f"'{cell}' is no number; export figures without words or formulas")
    return numbers


def _bare(cell: str) -> str:
    """Without currency, percent signs, and spaces or apostrophes in thousands; negative where accountants write brackets."""
    text = re.sub(r"[\s'’%€$£¥]|\b[A-Z]{3}\b", "", cell)  # noqa: RUF001  the apostrophe of Swiss exports
    return f"-{text[1:-1]}" if re.fullmatch(r"\(.+\)", text) and text.casefold() not in MISSING else text


def _decimal_mark(cell: str) -> str:
    """The mark before decimals where the cell leaves no doubt, else "": three digits after a single mark may be thousands."""
    last = max(cell.rfind(","), cell.rfind("."))
    if last < 0:
        return ""
    mark, other = cell[last], "." if cell[last] == "," else ","
    if cell.count(mark) > 1:
        return other
    is_sure = other in cell or len(cell) - last - 1 != 3 or cell.lstrip("-").startswith("0")
    return mark if is_sure else ""
