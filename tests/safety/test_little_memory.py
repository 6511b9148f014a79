"""Files that would fill the memory, and a memory limit that is too small for ordinary files."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.lake.landing.reading import EXPANDS
from customer360.lake.raw.raw_clicks import PART, raw_slice_folder
from customer360.settings import REPOSITORY, Settings
from tests.safety.bad_files import as_jsonl, as_parquet, clicks
from tests.safety.slices import NOON, land, rows_of, run_slice

LONG = 300_000_000  # a gigabyte costs 2.5 s and no more memory
GOOD = {"good.jsonl": as_jsonl(clicks("good", 1_000)), "good.parquet": as_parquet(clicks("rows", 1_000))}


def in_a_child(settings: Settings, limit: str = "4GB", address_space_megabytes: int = 0) -> dict[str, Any]:
    """Make the slice in a process of its own, in its last attempt; return its counts or its error."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.safety.slice_child", str(settings.place.root), str(address_space_megabytes)],
        cwd=REPOSITORY,
        env={**os.environ, "CUSTOMER360_MEMORY_LIMIT": limit},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if address_space_megabytes and ended.returncode != 0:  # the C library may end a process that gets no memory for a thread
        return {"error": ended.stderr}
    assert ended.returncode == 0, ended.stderr[-3000:]
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def set_aside(settings: Settings) -> dict[tuple[str, int], str]:
    path = settings.place.quarantine / "clicks" / "slice_key=2026-05-01-12:00" / PART
    return {(row["source_file"], row["source_line"]): row["reason"] for row in rows_of(path)}


def test_a_line_that_does_not_fit_into_memory_costs_itself_and_little_memory(settings: Settings) -> None:
    folder = land(settings, GOOD)
    with (folder / "long.jsonl").open("wb") as file:
        file.write(as_jsonl(clicks("before", 2)) + b'{"event_id": "')
        file.seek(LONG, os.SEEK_CUR)  # a hole, which reads as NUL bytes and takes no room
        file.write(b'"}\n' + as_jsonl(clicks("after", 2)))
    result = in_a_child(settings, limit="150MB")
    assert result["counts"] == {"files": 3, "lines": 2_005, "good": 2_004, "quarantined": 1, "duplicates": 0}
    assert set_aside(settings) == {("long.jsonl", 3): "longer than 1048576 bytes"}
    assert result["megabytes"] < 250


def rows_of_nothing(path: Path) -> None:
    """A Parquet file of 2 million equal rows in a few kilobytes."""
    table = pa.table({"event_id": pa.array(["x"] * 500_000).dictionary_encode()})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(4):
            writer.write_table(table)


def one_long_value(path: Path) -> None:
    pq.write_table(pa.table({"page_url": ["x" * 80_000_000]}), path, compression="zstd", use_dictionary=False)


def test_bombs_are_set_aside_whole_before_they_go_off(settings: Settings) -> None:
    folder = land(settings, GOOD)
    # Members of a gzip file follow each other: a megabyte that is compressed once makes gigabytes.
    for name, unit in {"braces": b"{}\n", "ends": b"\n", "zeros": bytes(64)}.items():
        member = gzip.compress(unit * (3 * 2**20 // len(unit)), mtime=0)
        (folder / f"{name}.jsonl.gz").write_bytes(member * 150)
    rows_of_nothing(folder / "rows.parquet")
    one_long_value(folder / "value.parquet")
    result = in_a_child(settings, limit="300MB")
    assert result["counts"] == {"files": 7, "lines": 2_005, "good": 2_000, "quarantined": 5, "duplicates": 0}
    names = ("braces.jsonl.gz", "ends.jsonl.gz", "zeros.jsonl.gz", "rows.parquet", "value.parquet")
    assert set_aside(settings) == {(name, 0): f"file {EXPANDS}" for name in names}
    assert result["megabytes"] < 400


def test_many_copies_of_a_line_are_no_bomb(settings: Settings) -> None:
    land(settings, {"copies.jsonl.gz": gzip.compress(as_jsonl(clicks("copy", 1)) * 50_000)})
    assert run_slice(settings).counts.duplicates == 49_999


@pytest.mark.parametrize(("limit", "address_space_megabytes"), [("12MB", 0), ("4GB", 600)], ids=["DuckDB's", "the process's"])
def test_too_little_memory_fails_by_name_sets_no_good_file_aside_and_enough_heals_it(
    settings: Settings, limit: str, address_space_megabytes: int
) -> None:
    land(settings, {"a.jsonl": as_jsonl(clicks("before"))})
    before = run_slice(settings)
    land(settings, {f"{n}.jsonl": as_jsonl(clicks(f"{n}", 8_000)) for n in range(2)})
    land(settings, {"c.parquet": as_parquet(clicks("c", 8_000))})
    result = in_a_child(settings, limit, address_space_megabytes)
    assert "error" in result, f"it was enough: {result}"
    assert "memory" in result["error"].lower() or "bad_alloc" in result["error"]
    assert address_space_megabytes or "0.jsonl: too little memory to read it; give CUSTOMER360_MEMORY_LIMIT" in result["error"]
    assert rows_of(raw_slice_folder(settings.place.raw, NOON) / PART) == before.good
    assert set_aside(settings) == {}
    assert run_slice(settings).counts.good == 12 + 24_000
