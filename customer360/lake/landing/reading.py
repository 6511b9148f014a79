"""Text files as one stream of numbered lines.

An unusable line is part of the stream, with its problem. A file that cannot be read to its end is reported in ``broken``, and
the stream continues with the next file.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from customer360.errors import OperatorError
from customer360.lake.atomic import TEMPORARY_PREFIX
from customer360.lake.engine import file_literal, literal
from customer360.lake.landing.listing import LandedFile
from customer360.settings import WHITESPACE, SourceOptions

DEFAULT = SourceOptions()
CHUNK_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024
KEPT_BYTES = 64 * 1024
CSV_BATCH = 20_000
NEWLINE = 10

FIELDS: dict[str, pa.DataType] = {"file_no": pa.int32(), "line": pa.int64(), "text": pa.string(), "problem": pa.string()}
LINES = pa.schema(FIELDS)

TOO_LONG = f"longer than {MAX_LINE_BYTES} bytes"
NOT_UTF8 = "not valid UTF-8"
OTHER_UNICODE = "is UTF-16 or UTF-32, by its byte order mark; write UTF-8, or for CSV set `encoding: utf-16` in shop.yaml"
SAVE_AS = "save each sheet as CSV (in Excel: File, Save As, CSV UTF-8) and land that"
OTHER_CONTENT = {  # first bytes of files that are no text, whatever their name
    b"PK\x03\x04": f"is an Excel workbook (.xlsx) or a ZIP archive, whatever its name: {SAVE_AS}, or unpack the archive",
    b"\xd0\xcf\x11\xe0": f"is an Excel workbook (.xls), whatever its name: {SAVE_AS}",
    b"PAR1": "is a Parquet file: give it a name that ends in .parquet",
    b"%PDF": "is a PDF: export the data as CSV instead",
    b"{\\rtf": "is a text document (RTF): export the data as CSV instead",
    b"SQLite format 3": "is an SQLite database: export its table as CSV",
}
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
MARKUP = re.compile(rb"\s*<(!doctype|\?xml|html|table|workbook)", re.IGNORECASE)
# An event has an id and a time of its own, which take some bytes however well they are compressed; clicks compress to a tenth.
MANY_LINES = 100_000
MANY_BYTES = 64 * 1024 * 1024
MOST_TIMES = 200
LEAST_BYTES = 4
EXPANDS = f"expands out of all measure: under {LEAST_BYTES} bytes a line, or over {MOST_TIMES} times its size"
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32's other mark begins with UTF-16's


class ContentError(OperatorError, ValueError):
    """A file that begins with the byte order mark of another encoding, or that is no text."""


class ExpandsError(ValueError):
    """A compressed file that expands far beyond what click data do: a decompression bomb."""


def refuse_expansion(size: int, lines: int, expanded: int) -> None:
    """Raise ``ExpandsError`` for too many ``lines`` or ``expanded`` bytes out of a file of ``size`` bytes; small files pass."""
    if lines > max(MANY_LINES, size // LEAST_BYTES) or expanded > max(MANY_BYTES, MOST_TIMES * size):
        raise ExpandsError(EXPANDS)


@dataclass
class LineStream:
    """Lines of several files as Arrow batches of (file_no, line from 1, text, problem); ``broken`` fills while it is read."""

    files: Sequence[LandedFile]
    numbers: Sequence[int]
    options: SourceOptions = DEFAULT
    broken: dict[int, str] = field(default_factory=dict)

    def reader(self) -> pa.RecordBatchReader:
        """A reader that DuckDB can scan once."""
        return pa.RecordBatchReader.from_batches(LINES, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for number, file in zip(self.numbers, self.files, strict=True):
            try:
                yield from (_csv_batches(file, number, self.options) if is_csv(file) else _line_batches(file, number))
            except csv.Error as error:
                self.broken[number] = f"not readable as CSV: {csv_fault(error)}"
            except (ExpandsError, ContentError) as error:
                self.broken[number] = str(error)


def _line_batches(file: LandedFile, number: int) -> Iterator[pa.RecordBatch]:
    first = 1
    expanded = 0
    carry = b""
    is_compressed = file.name.endswith(".gz")
    with open_bytes(file.path) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            if not expanded:
                refuse_content(chunk, "utf-8")
                chunk = chunk.removeprefix(codecs.BOM_UTF8)
            expanded += len(chunk)
            if is_compressed:
                refuse_expansion(file.size, first + chunk.count(b"\n"), expanded)
            data = carry + chunk
            end = data.rfind(b"\n") + 1
            carry = data[end : end + MAX_LINE_BYTES + 1]  # one byte above the limit suffices to refuse a line
            if end:
                batch = _batch(number, first, data[:end])
                yield batch
                first += batch.num_rows
    if carry:
        yield _batch(number, first, carry + b"\n")


def refuse_content(start: bytes, encoding: str) -> None:
    """Raise ``ContentError`` where a file that begins so is no text, or begins with the mark of another encoding."""
    found = next((reason for mark, reason in OTHER_CONTENT.items() if start.startswith(mark)), None)
    packed = next((name for mark, name in COMPRESSED.items() if start.startswith(mark)), None)
    if packed:
        found = f"is compressed ({packed}), whatever its name: " + ("name it .gz" if packed == "gzip" else "unpack it")
    elif MARKUP.match(start):
        found = f"is a page or a workbook in HTML or XML, whatever its name: open it in Excel or LibreOffice and {SAVE_AS}"
    elif start.startswith(MARKS) and encoding == "utf-8":
        found = OTHER_UNICODE
    if found:
        raise ContentError(found)


def refuse_blank(start: bytes) -> None:
    """Raise ``ContentError`` where a file that begins so says nothing, not even a header."""
    if not start.strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"):
        raise ContentError("is empty; land it with its header")


def is_csv(file: LandedFile) -> bool:
    """True for the names of CSV files."""
    return file.name.endswith((".csv", ".csv.gz"))


def csv_fault(error: csv.Error) -> str:
    """What is wrong with a CSV file, in place of the csv module's own words."""
    text = str(error)
    if "unexpected end of data" in text:
        return "a quoted value is never closed"
    if "expected after" in text:
        return 'a quote ends within a value, as in "5" disc"'
    return (
        f"a value is longer than {MAX_LINE_BYTES} bytes; an opening quote may lack its end" if "field larger" in text else text
    )


def _batch(number: int, first: int, data: bytes) -> pa.RecordBatch:
    """Lines of ``data``, which ends in a newline. The texts point into ``data``: nothing is copied unless a line is bad."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == NEWLINE).astype(np.int32)
    count = len(ends)
    offsets = np.concatenate([np.zeros(1, dtype=np.int32), ends + 1])
    texts = pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)])
    problems = pa.nulls(count, pa.string())
    if np.diff(offsets).max() > MAX_LINE_BYTES + 1 or not _is_utf8(texts):
        decoded = [_decode(line) for line in data[:-1].split(b"\n")]
        texts = pa.array([text for text, _ in decoded], type=pa.string())
        problems = pa.array([problem for _, problem in decoded], type=pa.string())
    numbers = pa.array(np.full(count, number, dtype=np.int32))
    lines = pa.array(np.arange(first, first + count, dtype=np.int64))
    return pa.record_batch([numbers, lines, texts, problems], schema=LINES)


def _is_utf8(texts: pa.Array[Any]) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decode(line: bytes) -> tuple[str, str | None]:
    if len(line) > MAX_LINE_BYTES:
        return line[:KEPT_BYTES].decode("utf-8", "replace"), TOO_LONG
    try:
        return line.decode("utf-8"), None
    except UnicodeDecodeError:
        return line.decode("utf-8", "replace"), NOT_UTF8


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, decompressed where its name ends in ``.gz``. Raises ``ContentError`` where that is damaged."""
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as opened:
            yield opened
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ContentError(f"gzip is damaged or cut short: {error}") from error


@contextmanager
def open_text(file: LandedFile, options: SourceOptions) -> Iterator[TextIO]:
    """The text of a CSV file from its header on, with line ends as they are. Raises ``ContentError`` for other content."""
    with open_bytes(file.path) as opened:
        refuse_content(opened.peek(64)[:4096], options.encoding)
        encoding = "utf-8-sig" if options.encoding == "utf-8" else options.encoding
        stream = io.TextIOWrapper(opened, encoding=encoding, errors="replace", newline="")
        for _ in range(options.skip_lines):
            stream.readline()
        yield stream


def text_lines(stream: Iterable[str], options: SourceOptions) -> Iterator[str]:
    """Lines of which runs of blanks become one tab where they are the delimiter."""
    for line in stream:
        yield "\t".join(line.split()) + "\n" if options.delimiter == WHITESPACE else line


def csv_dialect(options: SourceOptions) -> dict[str, Any]:
    """Arguments of ``csv.reader``."""
    return {
        "delimiter": "\t" if options.delimiter == WHITESPACE else options.delimiter,
        "quotechar": options.quote or None,
        "quoting": csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
        "escapechar": options.escape,
        "doublequote": options.escape is None,
        "strict": True,
    }


@contextmanager
def csv_relation(file: LandedFile, options: SourceOptions, scratch: Path) -> Iterator[tuple[list[str], str]]:
    """The columns of a CSV file, and SQL that reads it as text, an empty value as NULL; it fails where one row is at fault.

    Another encoding, and blanks as delimiters, are written anew below ``scratch`` for as long as the block lasts. Raises
    ``ContentError`` for other content and ``csv.Error`` where the header cannot be read.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    dialect = csv_dialect(options)
    with open_bytes(file.path) as opened:
        refuse_blank(opened.read(CHUNK_BYTES))
    with open_text(file, options) as stream, TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=scratch) as folder:
        path, skipped = file.path, options.skip_lines
        if options.encoding != "utf-8" or options.delimiter == WHITESPACE:
            path, skipped = Path(folder) / "text.csv", 0
            with path.open("w", encoding="utf-8", newline="") as text:
                text.writelines(text_lines(stream, options))
            stream.close()
            with path.open(encoding="utf-8", newline="") as text:
                header = options.header or next(csv.reader(text, **dialect), [])
        else:
            header = options.header or next(csv.reader(stream, **dialect), [])
        names = _names(header)
        types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
        yield (
            names,
            f"read_csv({file_literal(path)}, auto_detect = false, columns = {{{types}}}, "
            f"header = {'false' if options.header else 'true'}, skip = {skipped}, comment = '', "
            f"delim = {literal(dialect['delimiter'])}, quote = {literal(options.quote)}, "
            f"escape = {literal(options.escape or options.quote)})",
        )


def _csv_batches(file: LandedFile, number: int, options: SourceOptions) -> Iterator[pa.RecordBatch]:
    csv.field_size_limit(MAX_LINE_BYTES)
    with open_text(file, options) as stream:
        records = csv.reader(text_lines(stream, options), **csv_dialect(options))
        header = _names(options.header or next(records, []))
        if not header:
            return
        rows: list[tuple[int, str, str | None]] = []
        for record in records:
            if record:
                rows.append((records.line_num + options.skip_lines, *_csv_record(header, record, options.encoding)))
            if len(rows) >= CSV_BATCH:
                yield _csv_batch(number, rows)
                rows = []
        if rows:
            yield _csv_batch(number, rows)


def _names(header: Sequence[str]) -> list[str]:
    """The names of the columns, without blanks around them; an empty one is numbered.

    Raises ``ContentError`` where two columns have one name: nobody can say which of them is meant.
    """
    names = [name.strip() or f"unnamed {number}" for number, name in enumerate(header, 1)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ContentError(f"has the column {', '.join(repeated)} more than once; rename or delete one of them")
    return names


def _csv_record(header: list[str], record: list[str], encoding: str) -> tuple[str, str | None]:
    while len(record) > len(header) and not record[-1]:  # delimiters at the end of the line
        record.pop()
    if len(record) != len(header):
        return ",".join(record), f"has {len(record)} fields, the header has {len(header)}"
    text = json.dumps(dict(zip(header, record, strict=True)), ensure_ascii=False)
    return text, (NOT_UTF8 if encoding == "utf-8" else f"not valid {encoding}") if "\ufffd" in text else None


def _csv_batch(number: int, rows: list[tuple[int, str, str | None]]) -> pa.RecordBatch:
    columns: list[Any] = [[number] * len(rows), *zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=LINES)
