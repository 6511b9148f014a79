"""A disk that fills at any step: a clear failure, the last version stays complete, and the next run with room succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from customer360.lake.disk import DiskFullError
from customer360.lake.engine import connect
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import current_folder, current_publication, open_version
from customer360.lake.raw.history import write_history
from customer360.lake.raw.raw_clicks import PART, quarantine_folder, raw_slice_folder
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import history_file
from customer360.settings import Settings
from tests.safety.bad_files import as_csv, as_jsonl, as_parquet, clicks
from tests.safety.slices import NOON, land, rows_of, run_slice, settings_at
from tests.safety.small_disk import SmallDisk, small_disk

NOW = datetime(2026, 5, 1, 13, tzinfo=UTC)
TOLD = r"no room to write below /.*: [\d,.]+ MB free of [\d,.]+ MB, unfinished files gone.*docs/runbook\.md, 'Disk full'"
LEAVING = (0, 4_096, 200_000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", megabytes=8) as mounted:
        yield mounted


def incompressible(stem: str, count: int) -> list[dict[str, object]]:
    chance = Random(stem)
    return [{**line, "page_url": chance.randbytes(40).hex()} for line in clicks(stem, count)]


def files(turn: str) -> dict[str, bytes]:
    """A slice whose raw file, of about 400 KB, does not fit into what is left."""
    lines = incompressible(turn, 6_000)
    broken = as_jsonl([{**line, "event_at": "never"} for line in incompressible(f"bad {turn}", 300)])
    return {"a.jsonl": as_jsonl(lines[:2_000]), "b.csv": as_csv(lines[2_000:4_000]), "bad.jsonl": broken} | {
        "c.parquet": as_parquet(lines[4_000:])
    }


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["source_file"], row["source_line"]))


def everything_below(root: Path) -> set[Path]:
    """All files but those of the slice at noon, and locks, which stay empty."""
    skipped = {"1200", ".locks"}
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.parent.name not in skipped}


@pytest.mark.parametrize("isolate", [False, True], ids=["at first", "at last"])
def test_a_slice_that_finds_no_room_fails_clearly_keeps_the_old_one_and_is_whole_with_room_again(
    disk: SmallDisk, tmp_path: Path, isolate: bool
) -> None:
    settings, elsewhere = settings_at(disk.root), settings_at(tmp_path / "clean")
    land(settings, {"a.jsonl": as_jsonl(clicks("before"))})
    before = run_slice(settings)
    assert before.counts.good == 12
    land(settings, files("after"))
    kept = everything_below(disk.root)
    for leaving in LEAVING:
        disk.fill(leaving)
        with pytest.raises(DiskFullError, match=TOLD):
            run_slice(settings, isolate=isolate)
        assert rows_of(raw_slice_folder(settings.place.raw, NOON) / PART) == before.good
        assert rows_of(quarantine_folder(settings.place.quarantine, NOON) / PART) == []
        assert everything_below(disk.root) == kept, "half a file was left"
        disk.free()
    land(elsewhere, files("after"))
    clean, again = run_slice(elsewhere), run_slice(settings)
    assert (again.counts, in_order(again.good), again.bad) == (clean.counts, in_order(clean.good), clean.bad)
    assert again.counts.quarantined == 300


def test_history_and_reference_tables_that_find_no_room_fail_clearly_and_load_with_room_again(disk: SmallDisk) -> None:
    settings = settings_at(disk.root)
    history, customers = settings.place.landing / "history", settings.place.landing / "reference" / "customers"
    for folder in (history, customers):
        folder.mkdir(parents=True)
    lines = [{**line, "event_at": "2026-04-01T12:00:00Z"} for line in incompressible("h", 6_000)]
    (history / "a.jsonl").write_bytes(as_jsonl(lines))
    (customers / "a.csv").write_bytes(as_csv([{"customer_id": line["page_url"]} for line in lines]))
    kept = everything_below(disk.root)
    for leaving in LEAVING[:2]:
        disk.fill(leaving)
        with pytest.raises(DiskFullError, match=TOLD):
            write_history(settings)
        with pytest.raises(DiskFullError, match=TOLD):
            load_reference(settings, "customers", NOW)
        assert everything_below(disk.root) == kept, "half a file was left"
        disk.free()
    assert write_history(settings).counts.good == 6_000
    assert load_reference(settings, "customers", NOW).rows == 6_000
    assert len(rows_of(history_file(settings.place, "customers"))) == 6_000


def rows_published(settings: Settings) -> list[int]:
    with open_version(settings.place) as version:
        database = version.connection.execute("select count(*), count(distinct noise) from traffic").fetchone()
    parquet = rows_of(current_folder(settings.place) / "parquet" / "traffic" / "part.parquet")
    assert database is not None
    return [*database, len(parquet)]


def publish_rows(settings: Settings, rows: int) -> int:
    noise = f"select range as n, md5(range::varchar) as noise from range({rows})"
    with connect(settings.place.root / ".tmp") as connection:
        return publish(settings.place, connection, {"traffic": noise, "other": noise}, NOON, NOW).version


@pytest.mark.parametrize("leaving", [0, 8_192, 65_536, 400_000, 900_000, 1_400_000])
def test_a_publication_that_finds_no_room_fails_clearly_and_readers_keep_the_last_version(
    disk: SmallDisk, leaving: int
) -> None:
    settings = settings_at(disk.root)
    publish_rows(settings, 500)
    versions = settings.place.published / "versions"
    document = (current_folder(settings.place) / "version.json").read_bytes()
    disk.fill(leaving)
    with pytest.raises(DiskFullError, match=TOLD):
        publish_rows(settings, 20_000)
    assert rows_published(settings) == [500, 500, 500]
    assert (current_folder(settings.place) / "version.json").read_bytes() == document
    assert [path.name for path in versions.iterdir()] == ["00000001"]
    assert current_folder(settings.place).readlink() == Path("versions/00000001")
    disk.free()
    assert publish_rows(settings, 20_000) == 2
    assert rows_published(settings) == [20_000] * 3
    current = current_publication(settings.place)
    assert current is not None
    assert current.rows == {"traffic": 20_000, "other": 20_000}


def test_a_query_that_spills_onto_a_full_disk_fails_clearly(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same message whether the disk or the limit on spilled data is full: DuckDB says "out of memory" then."""
    monkeypatch.setenv("CUSTOMER360_MEMORY_LIMIT", "150MB")
    settings = settings_at(disk.root)
    large = {f"{n}.jsonl": as_jsonl(incompressible(f"large{n}", 6_000)) * 30 for n in range(1)}
    land(settings_at(disk.mount.parent / "elsewhere"), large)
    (disk.root / "landing").symlink_to(disk.mount.parent / "elsewhere" / "landing")
    with pytest.raises(DiskFullError, match=TOLD):
        run_slice(settings, isolate=True)
    assert list(disk.root.rglob("*.parquet")) == []
    monkeypatch.delenv("CUSTOMER360_MEMORY_LIMIT")
    assert run_slice(settings).counts.lines == 180_000
