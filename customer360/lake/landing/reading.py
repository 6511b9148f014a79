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
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from customer360.lake.landing.listing import LandedFile

CHUNK_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024
KEPT_BYTES = 64 * 1024
CSV_BATCH = 20_000
NEWLINE = 10

FIELDS: dict[str, pa.DataType] = {
    "file_no": pa.int32(),
    "line": pa.int64(),
    "text": pa.string(),
    "problem": pa.string(),
}
LINES = pa.schema(FIELDS)

TOO_LONG = f"longer than {MAX_LINE_BYTES} bytes"
NOT_UTF8 = "not valid UTF-8"
OTHER_UNICODE = "is UTF-16 or UTF-32, by its byte order mark; only UTF-8 is read"
# An event has an id and a time of its own, which take some bytes however well they are compressed; clicks compress to a tenth.
MANY_LINES = 100_000
MANY_BYTES = 64 * 1024 * 1024
MOST_TIMES = 200
LEAST_BYTES = 4
EXPANDS = f"expands out of all measure: under {LEAST_BYTES} bytes a line, or over {MOST_TIMES} times its size"
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32's other mark begins with UTF-16's


class EncodingError(ValueError):
    """A file that begins with the byte order mark of another encoding."""


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
    broken: dict[int, str] = field(default_factory=dict)

    def reader(self) -> pa.RecordBatchReader:
        """A reader that DuckDB can scan once."""
        return pa.RecordBatchReader.from_batches(LINES, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for number, file in zip(self.numbers, self.files, strict=True):
            try:
                yield from (
                    _csv_batches(file, number) if file.name.endswith((".csv", ".csv.gz")) else _line_batches(file, number)
                )
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                self.broken[number] = f"gzip is damaged or cut short: {error}"
            except csv.Error as error:
                self.broken[number] = f"not readable as CSV: {error}"
            except (ExpandsError, EncodingError) as error:
                self.broken[number] = str(error)


def _line_batches(file: LandedFile, number: int) -> Iterator[pa.RecordBatch]:
    first = 1
    expanded = 0
    carry = b""
    is_compressed = file.name.endswith(".gz")
    with gzip.open(file.path, "rb") if is_compressed else file.path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            if not expanded:
                chunk = _without_mark(chunk)
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


def _without_mark(start: bytes) -> bytes:
    """The start of a file without UTF-8's byte order mark. Raises ``EncodingError`` at the mark of another encoding."""
    if start.startswith(MARKS):
        raise EncodingError(OTHER_UNICODE)
    return start.removeprefix(codecs.BOM_UTF8)


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


def _csv_batches(file: LandedFile, number: int) -> Iterator[pa.RecordBatch]:
    csv.field_size_limit(MAX_LINE_BYTES)
    with gzip.open(file.path, "rb") if file.name.endswith(".gz") else file.path.open("rb") as opened:
        _without_mark(opened.peek(len(codecs.BOM_UTF32_BE)))
        stream = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="replace", newline="")
        records = csv.reader(stream, strict=True)
        header = next(records, None)
        if header is None:
            return
        rows: list[tuple[int, str, str | None]] = []
        for record in records:
            if record:
                rows.append((records.line_num, *_csv_record(header, record)))
            if len(rows) >= CSV_BATCH:
                yield _csv_batch(number, rows)
                rows = []
        if rows:
            yield _csv_batch(number, rows)


def _csv_record(header: list[str], record: list[str]) -> tuple[str, str | None]:
    if len(record) != len(header):
        return ",".join(record), f"has {len(record)} fields, the header has {len(header)}"
    text = json.dumps(dict(zip(header, record, strict=True)), ensure_ascii=False)
    return text, NOT_UTF8 if "�" in text else None


def _csv_batch(number: int, rows: list[tuple[int, str, str | None]]) -> pa.RecordBatch:
    lines, texts, problems = zip(*rows, strict=True)
    return pa.record_batch(
        [
            pa.array([number] * len(rows), type=pa.int32()),
            pa.array(lines, type=pa.int64()),
            pa.array(texts, type=pa.string()),
            pa.array(problems, type=pa.string()),
        ],
        schema=LINES,
    )
