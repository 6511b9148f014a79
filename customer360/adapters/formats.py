"""Foreign files row by row: how a file of each format is opened and numbered, and which adapter its rows go through."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from customer360.adapters import ga4, snowplow, weblog
from customer360.adapters.rows import Click, EventIds, RowError, Skip
from customer360.settings import Settings

FORMATS = ("weblog", "ga4", "snowplow")
COMPRESSED = ".gz"
TOO_MANY = "fields without a column"
LONGEST_FIELD = 16 * 1024 * 1024

Bytes = gzip.GzipFile | io.BufferedReader
Row = str | dict[str, Any]
Rows = Iterator[tuple[int, Row]]

# A row of a file: its line number from 1, its text, and its clicks or the reason for none.
Outcome = tuple[int, Row, list[Click] | Skip | RowError]


class ConversionError(ValueError):
    """A file cannot be converted. The message names it and says what to do; nothing was written for it."""


def outcomes(name: str, settings: Settings, environment: dict[str, str], source: Path) -> Generator[Outcome]:
    """Every row of a file of the format ``name`` with its clicks, or the reason why it has none. Empty lines are no rows.

    Raises ``ConversionError`` where the file as a whole cannot be read, ``SettingsError`` where settings of the format are.
    """
    rows, clicks = _snowplow(source) if name == "snowplow" else (_lines, _adapter(name, settings, environment))
    with reading(source) as stream:
        for number, row in rows(stream):
            try:
                yield number, row, clicks(row)
            except RowError as error:
                yield number, row, error


@contextmanager
def reading(source: Path) -> Iterator[Bytes]:
    """The bytes of a file, compressed or not. Raises ``ConversionError`` where it is damaged, also while it is read."""
    if source.is_dir():
        raise ConversionError(f"{source} is a folder; name its files, as in {source}/*")
    try:
        with source.open("rb") as stream:
            yield gzip.GzipFile(fileobj=stream) if source.suffix == COMPRESSED else stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ConversionError(f"{source}: gzip is damaged or cut short: {error}. Fetch the file again.") from error
    except csv.Error as error:
        raise ConversionError(f"{source}: not readable as CSV: {error}") from error


def _adapter(name: str, settings: Settings, environment: dict[str, str]) -> Callable[[Any], list[Click] | Skip]:
    ids = EventIds()
    if name == "weblog":
        rules = weblog.load_weblog(settings.shop_folder)
        key = weblog.visitor_key(rules, environment)
        return lambda line: weblog.clicks(line, rules, key, ids)
    return lambda line: ga4.clicks(line, ids)


def _snowplow(source: Path) -> tuple[Callable[[Bytes], Rows], Callable[[Any], list[Click] | Skip]]:
    """The layout of rows in a file of Snowplow's, by its name."""
    name = source.name.removesuffix(COMPRESSED)
    if name.endswith(".csv"):
        return _csv_rows, lambda row: snowplow.clicks(_whole(row))
    if name.endswith(".tsv"):
        return _lines, lambda line: snowplow.clicks(snowplow.from_enriched(line))
    if name.endswith((".jsonl", ".ndjson", ".json")):
        return _lines, lambda line: snowplow.clicks(snowplow.from_json(line))
    raise ConversionError(f"{source} is of no known type: .tsv (the enriched stream), .csv or .jsonl, also with {COMPRESSED}")


def _lines(stream: Bytes) -> Rows:
    """Lines end with a newline alone. Bytes that are no UTF-8 are shown as escapes, so that a line stays a line."""
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="backslashreplace", newline="\n") as text:
        for number, ended in enumerate(text, 1):
            line = ended.rstrip("\r\n")
            if line:
                yield number, line


def _csv_rows(stream: Bytes) -> Rows:
    """Rows by column name, numbered by their last line."""
    csv.field_size_limit(LONGEST_FIELD)
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="backslashreplace", newline="") as text:
        records = csv.DictReader(text, strict=True, restkey=TOO_MANY)
        for row in records:
            yield records.line_num, row


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    if TOO_MANY in row or None in row.values():
        raise RowError("has another number of fields than the header")
    return row
