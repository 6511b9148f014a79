"""Retention removes what is old and nothing else; a second run removes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from customer360.lake.operations.retention import remove_old
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import current_folder, current_publication, open_version
from customer360.lake.slices import slice_folder, slice_key
from customer360.settings import Place, Settings

SHOP_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OLDEST = datetime(2025, 3, 27, 12, tzinfo=UTC)  # 400 days before
NOTHING = {
    "landing_slices": 0,
    "raw_slices": 0,
    "quarantined_slices": 0,
    "rejected_rows": 0,
    "offer_decisions": 0,
    "history_days": 0,
    "delivery_days": 0,
    "score_snapshots": 0,
    "published_versions": 0,
    "dbt_targets": 0,
    "run_logs": 0,
    "spilled_files": 0,
    "temporary_files": 0,
}
QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)

# Item -> a path of this age below a place; the shop's clock, or the wall clock.
BY_SHOP: dict[str, tuple[Callable[[Place, datetime], Path], datetime, timedelta]] = {
    "landing_slices": (lambda place, at: slice_folder(place.landing / "clicks", at), OLDEST, QUARTER),
    "raw_slices": (lambda place, at: place.raw / "clicks" / f"slice_key={slice_key(at)}", OLDEST, QUARTER),
    "quarantined_slices": (lambda place, at: place.quarantine / "clicks" / f"slice_key={slice_key(at)}", OLDEST, QUARTER),
    "offer_decisions": (lambda place, at: place.raw / "offer_decisions" / f"slice_key={slice_key(at)}", OLDEST, QUARTER),
    "history_days": (lambda place, at: place.raw / "click_history" / f"day_key={at:%Y-%m-%d}", OLDEST, DAY),
    "delivery_days": (lambda place, at: place.mail / "deliveries" / f"day_key={at:%Y-%m-%d}", OLDEST, DAY),
    "score_snapshots": (
        lambda place, at: place.root / "scores_daily" / f"day_key={at:%Y-%m-%d}",
        datetime(2026, 1, 31, 12, tzinfo=UTC),  # 90 days before
        DAY,
    ),
}
RUN = "3f2c8a52-0d1e-4c55-9a0e-2f6a1d6b7c11"
BY_WALL_CLOCK: dict[str, tuple[str, timedelta]] = {
    "dbt_targets": (f"dbt/{RUN}/manifest.json", timedelta(days=1)),
    "rejected_rows": ("quarantine/adapters/weblog-0a1b.jsonl", timedelta(days=30)),
    "run_logs": (f"dagster/storage/{RUN}/compute_logs", timedelta(days=30)),
    "spilled_files": (".tmp/duckdb_temp_storage-0.tmp", timedelta(days=1)),
    "temporary_files": ("raw/clicks/slice_key=2026-05-01-11:45/.tmp-0a1b.parquet", timedelta(days=1)),
}


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x", encoding="utf-8")
    return path


def age(path: Path, at: datetime) -> None:
    os.utime(path, (at.timestamp(), at.timestamp()), follow_symlinks=False)


def published(settings: Settings, versions: int) -> None:
    with duckdb.connect() as connection:
        for number in range(1, versions + 1):
            publish(settings.place, connection, {"a": f"select {number} as version"}, SHOP_NOW, SHOP_NOW)


def version(settings: Settings) -> int:
    with open_version(settings.place) as version:
        (number,) = version.connection.execute("select version from a").fetchone() or (0,)
    return int(number)


def remove_twice(settings: Settings, now: datetime) -> dict[str, int]:
    """What the first run removes beyond nothing; the second one must find no more."""
    removed = remove_old(settings, now, SHOP_NOW)
    assert remove_old(settings, now, SHOP_NOW) == NOTHING
    assert removed.keys() == NOTHING.keys()
    return {name: count for name, count in removed.items() if count}


def test_an_empty_place_has_nothing_to_remove(settings: Settings) -> None:
    assert remove_twice(settings, datetime.now(UTC)) == {}


@pytest.mark.parametrize("item", BY_SHOP)
def test_data_go_when_they_are_too_old_by_the_clock_of_the_shop(settings: Settings, item: str) -> None:
    path_at, oldest, step = BY_SHOP[item]
    kept = [put(path_at(settings.place, at) / "part.parquet") for at in (oldest, oldest + step, SHOP_NOW)]
    gone = [put(path_at(settings.place, at) / "part.parquet") for at in (oldest - step, oldest - 50 * DAY)]
    for path in kept:
        age(path, SHOP_NOW - 1000 * DAY)  # when a file was written does not matter
    assert remove_twice(settings, datetime.now(UTC)) == {item: 2}
    assert all(path.exists() for path in kept)
    assert not any(path.parent.exists() for path in gone)


@pytest.mark.parametrize("item", BY_WALL_CLOCK)
def test_leftovers_go_when_they_are_too_old_by_the_wall_clock(settings: Settings, item: str) -> None:
    name, keep = BY_WALL_CLOCK[item]
    now = datetime(2030, 1, 1, tzinfo=UTC)
    file = put(settings.place.root / name)
    old = file if file.name.startswith((".tmp-", "duckdb", "weblog-")) else file.parent
    young = put(old.with_name(old.name[:-1] + "0"))
    unlike = put(old.with_name("kept"))
    age(old, now - keep - timedelta(seconds=1))
    age(young, now - keep)
    age(unlike, now if item in {"spilled_files", "rejected_rows"} else now - 1000 * DAY)
    assert remove_twice(settings, now) == {item: 1}
    assert (old.exists(), young.exists(), unlike.exists()) == (False, True, True)


def test_a_temporary_folder_goes_whole_and_counts_once(settings: Settings) -> None:
    now = datetime.now(UTC)
    folder = settings.place.published / "versions" / ".tmp-0a1b"
    inside = put(folder / "parquet" / ".tmp-2c3d")
    for path in (inside, folder):
        age(path, now - 2 * DAY)
    assert remove_twice(settings, now) == {"temporary_files": 1}
    assert not folder.exists()


@pytest.mark.parametrize("target", ["versions/00000001", "versions/00000099"])
def test_a_temporary_link_goes_and_what_it_points_at_stays(settings: Settings, target: str) -> None:
    published(settings, 1)
    now = datetime.now(UTC)
    link = settings.place.published / ".tmp-0a1b"
    link.symlink_to(target)  # a publish that died before its rename; the second version has gone since
    age(link, now - 2 * DAY)
    assert remove_twice(settings, now) == {"temporary_files": 1}
    assert not link.is_symlink()
    assert version(settings) == 1


def test_a_file_that_vanishes_meanwhile_is_no_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = settings.place.root / "dbt" / RUN
    real = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [ghost] if self == ghost.parent else real(self, pattern))
    assert remove_twice(settings, datetime.now(UTC)) == {}


def test_old_versions_go_and_the_current_one_never(settings: Settings) -> None:
    published(settings, 5)
    link = current_folder(settings.place)
    link.unlink()
    link.symlink_to("versions/00000001")  # rolled back by hand
    now = datetime.now(UTC) + 365 * DAY
    assert remove_old(settings, datetime.now(UTC), SHOP_NOW)["published_versions"] == 0
    assert remove_twice(settings, now) == {"published_versions": 1}
    assert version(settings) == 1
    assert sorted(path.name for path in link.parent.joinpath("versions").iterdir()) == [f"{n:08d}" for n in (1, 3, 4, 5)]


def test_the_current_version_stays_where_the_place_is_reached_through_a_link(settings: Settings, tmp_path: Path) -> None:
    real = tmp_path / "disk"
    real.mkdir()
    (tmp_path / "data").symlink_to(real)
    linked = settings.model_copy(update={"place": Place(root=tmp_path / "data")})
    published(linked, 5)
    link = current_folder(linked.place)
    link.unlink()
    link.symlink_to("versions/00000001")
    assert remove_twice(linked, datetime.now(UTC) + 365 * DAY) == {"published_versions": 1}
    publication = current_publication(linked.place)
    assert publication is not None
    assert (publication.version, version(linked)) == (1, 1)


def test_one_run_removes_of_every_kind(settings: Settings) -> None:
    now = datetime.now(UTC) + 365 * DAY
    for path_at, oldest, step in BY_SHOP.values():
        put(path_at(settings.place, oldest - step) / "part.parquet")
    for name, _ in BY_WALL_CLOCK.values():
        put(settings.place.root / name)
    published(settings, 4)
    assert remove_twice(settings, now) == dict.fromkeys(NOTHING, 1)
    assert version(settings) == 4
