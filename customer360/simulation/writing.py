"""Files as producers leave them: JSON lines without empty fields, gzip, Parquet, CSV; always by rename."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from customer360.lake.atomic import replacing
from customer360.lake.landing.contracts import CLICK_COLUMNS

ISO_UTC = "%Y-%m-%dT%H:%M:%S.%gZ"


def json_lines(table: pa.Table) -> list[bytes]:
    """Each row of a click table as one JSON object; empty fields are left out, times are ISO 8601 with Z."""
    fields = [_json_field(column.name, column.type) for column in CLICK_COLUMNS]
    with duckdb.connect() as connection:
        connection.register("events", table)
        rows = connection.execute(f"SELECT '{{' || concat_ws(',', {', '.join(fields)}) || '}}' AS line FROM events")
        lines = rows.to_arrow_table()["line"]
    return [str(line).encode() for line in lines.to_pylist()]


def _json_field(name: str, kind: str) -> str:
    if kind == "VARCHAR":
        return f"""'"{name}":' || to_json("{name}")::VARCHAR"""
    if kind == "TIMESTAMP":
        return f"""'"{name}":"' || strftime("{name}", '{ISO_UTC}') || '"'"""
    return f"""'"{name}":' || "{name}"::VARCHAR"""


def packed(lines: list[bytes], name: str) -> bytes:
    """The content of a file of lines; compressed where its name ends in ``.gz``, the same bytes every time."""
    content = b"\n".join(lines) + b"\n" if lines else b""
    if not name.endswith(".gz"):
        return content
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=1, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file by rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a CSV file with a header by rename; times as ISO 8601 with Z, empty for missing."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")
