"""What a listing of the landing folders sees, and the arithmetic of slices."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer360.lake.landing.listing import NO_FILES, list_folder, list_slice, slice_folders
from customer360.lake.slices import event_slice_minutes, floor_to_slice, folder_start, slice_folder, slice_key, slice_start
from customer360.settings import Settings

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_a_listing_holds_complete_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv", ".c.jsonl", "_d.jsonl", "e.jsonl.tmp", "f.xlsx"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "g.jsonl").write_text("x")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "h.jsonl").write_text("x")
    assert [file.name for file in list_folder(tmp_path).files] == ["a.csv", "b.jsonl", "f.xlsx"]
    assert [file.name for file in list_folder(tmp_path, recursive=True).files] == ["a.csv", "b.jsonl", "f.xlsx", "sub/g.jsonl"]


def test_the_fingerprint_changes_when_a_file_appears_disappears_or_is_replaced(settings: Settings) -> None:
    folder = slice_folder(settings.place.landing / "clicks", NOON)

    def fingerprint() -> str:
        return list_slice(settings.place.landing, NOON).fingerprint

    assert fingerprint() == NO_FILES
    folder.mkdir(parents=True)
    assert fingerprint() == NO_FILES
    seen = [fingerprint()]
    for step in (
        lambda: (folder / "a.jsonl").write_text("1"),
        lambda: (folder / "b.jsonl").write_text("1"),
        lambda: (folder / "b.jsonl").write_text("22"),
        lambda: (folder / "b.jsonl").rename(folder / "c.jsonl"),
        lambda: os.utime(folder / "c.jsonl", ns=(0, 1)),
        (folder / "a.jsonl").unlink,
    ):
        step()
        assert fingerprint() == fingerprint()
        seen.append(fingerprint())
    assert len(set(seen)) == len(seen)
    (folder / ".d.jsonl").write_text("being written")
    assert fingerprint() == seen[-1]


def test_only_slice_folders_are_listed_in_time_order(settings: Settings) -> None:
    clicks = settings.place.landing / "clicks"
    for name in ("2026/05/01/1200", "2026/05/01/0915", "2025/12/31/2345", "2026/13/01/0000", "2026/05/01/9999", "2026/05/01/x"):
        (clicks / name).mkdir(parents=True)
    (clicks / "readme.txt").write_text("x")
    assert [slice_key(start) for start, _ in slice_folders(settings.place.landing)] == [
        "2025-12-31-23:45",
        "2026-05-01-09:15",
        "2026-05-01-12:00",
    ]


def test_landing_may_not_exist_yet(settings: Settings) -> None:
    assert list(slice_folders(settings.place.landing)) == []


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.sampled_from([1, 5, 15, 60, 720, 1440]))  # noqa: DTZ001  hypothesis takes naive bounds
def test_keys_folders_and_starts_say_the_same(moment: datetime, minutes: int) -> None:
    width = timedelta(minutes=minutes)
    start = floor_to_slice(moment.replace(tzinfo=UTC), width)
    assert start <= moment.replace(tzinfo=UTC) < start + width
    assert slice_start(slice_key(start)) == start
    assert folder_start(slice_folder(Path(), start).as_posix()) == start


def test_something_that_is_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="does not match format"):
        slice_start("2026-05-01")


@pytest.mark.parametrize(("slice_minutes", "grain"), [(1, 1), (5, 5), (10, 5), (12, 3), (15, 15), (60, 15), (1440, 15)])
def test_every_slice_end_and_a_quarter_of_an_hour_before_it_fall_on_the_event_grain(slice_minutes: int, grain: int) -> None:
    assert event_slice_minutes(slice_minutes) == grain
    assert slice_minutes % grain == 0
    assert 15 % grain == 0
