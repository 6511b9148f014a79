"""Publishing: readers see one complete version at any moment."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from customer360.lake.atomic import exclusive
from customer360.lake.publishing import publishing
from customer360.lake.publishing.publishing import TableSource, publish, remove_old_versions, renew_moved_views
from customer360.lake.publishing.version import current_folder, current_publication, open_version
from customer360.settings import REPOSITORY, Place, Settings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
READER = """
import json, sys
from pathlib import Path
import duckdb
from customer360.lake.publishing.version import DATABASE, open_version
from customer360.settings import Place

TABLES = ("a", "b", "wide")
RANGE = "select min(version), max(version), count(*) from"
place = Place(root=Path(sys.argv[1]))
seen, errors, reads = set(), [], 0
print("ready", flush=True)
while not (place.root / "stop").exists():
    try:
        with open_version(place) as version:  # as this project reads
            own = [version.connection.execute(f"{RANGE} {table}").fetchone() for table in TABLES]
            number = version.publication.version - 1
        folder = (place.published / "current").resolve()  # as BI tools read
        parquet = [duckdb.sql(f"{RANGE} '{folder}/parquet/{table}/*.parquet'").fetchone() for table in TABLES]
        with duckdb.connect(str(folder / DATABASE), read_only=True) as connection:
            database = [connection.execute(f"{RANGE} main.{table}").fetchone() for table in TABLES]
    except Exception as error:
        errors.append(repr(error))
        continue
    reads += 1
    seen.add(number)
    if own != [(number, number, 5000)] * 3 or len({*parquet, *database}) != 1:
        errors.append(f"torn: {number} {own} {parquet} {database}")
print(json.dumps({"reads": reads, "seen": sorted(seen), "errors": errors[:3]}), flush=True)
"""


def version_tables(number: int) -> dict[str, str]:
    return dict.fromkeys(("a", "b", "wide"), f"select {number} as version, i from range(5000) as t (i)")


def published(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with open_version(settings.place) as version:
        return version.connection.execute(query).fetchall()


def put(settings: Settings, tables: dict[str, str], now: datetime = NOW, **more: Any) -> int:
    with duckdb.connect() as connection:
        return publish(settings.place, connection, tables, NOW, now, **more).version


@pytest.mark.full
def test_a_reader_in_another_process_sees_no_error_and_no_torn_version_through_20_publishes(settings: Settings) -> None:
    put(settings, version_tables(0))
    command = [sys.executable, "-c", READER, str(settings.place.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in range(1, 21):
            put(settings, version_tables(number))
        (settings.place.root / "stop").touch()
        result = json.loads(process.stdout.read())
    assert result["errors"] == []
    assert result["reads"] >= 5
    assert len(result["seen"]) >= 3
    assert published(settings, "select distinct version from b") == [(20,)]


def test_a_version_published_while_another_is_opened_is_not_mixed_into_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settings, version_tables(1))
    read_text, waiting = Path.read_text, [2]

    def publish_first(self: Path, *arguments: Any, **named: Any) -> str:
        if self.name == "version.json" and waiting:
            put(settings, version_tables(waiting.pop()))
        return read_text(self, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", publish_first)
    with open_version(settings.place) as version:
        tables = [
            version.connection.execute(f"select distinct version from {table}").fetchall() for table in ("a", "b", "wide")
        ]
    assert not waiting
    assert tables == [[(1,)], [(1,)], [(1,)]]
    assert (version.publication.version, version.folder.name) == (1, "00000001")
    assert published(settings, "select distinct version from wide") == [(2,)]


def test_a_publication_is_a_database_and_parquet_folders_under_stable_names(settings: Settings) -> None:
    with pytest.raises(FileNotFoundError, match="nothing is published"), open_version(settings.place):
        pass
    assert current_publication(settings.place) is None
    tables = {
        "customers": "select 'c' as customer_id, timestamp '2026-05-01' as seen_at",
        "Odd name": "select 1 as n where false",
    }
    put(settings, tables)
    folder = current_folder(settings.place)
    assert folder.is_symlink()
    assert not os.path.isabs(os.readlink(folder))  # noqa: PTH115, PTH117  the place may be moved or mounted elsewhere
    assert published(settings, "select * from main.customers") == [("c", datetime.fromisoformat("2026-05-01"))]
    with duckdb.connect(str(folder / "customer360.duckdb"), read_only=True) as connection:
        assert connection.execute('select count(*) from "Odd name"').fetchone() == (0,)
        assert connection.execute(f"from '{folder}/parquet/customers/*.parquet'").fetchall() == published(
            settings, "from customers"
        )
    publication = current_publication(settings.place)
    assert publication is not None
    assert (publication.version, publication.as_of, publication.published_at) == (1, NOW, NOW)
    assert publication.rows == {"customers": 1, "Odd name": 0}


def test_a_reader_keeps_its_version_while_others_are_published(settings: Settings) -> None:
    put(settings, version_tables(1))
    with open_version(settings.place) as version:
        put(settings, version_tables(2))
        assert version.connection.execute("select distinct version from a").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error):
            version.connection.execute("insert into a values (3, 3)")
    assert published(settings, "select distinct version from a") == [(2,)]


def inodes(settings: Settings, version: int, table: str) -> set[int]:
    folder = settings.place.published / "versions" / f"{version:08d}" / "parquet" / table
    return {path.stat().st_ino for path in folder.iterdir()}


def test_tables_that_are_not_given_are_taken_over_without_being_written_again(settings: Settings) -> None:
    put(settings, {"a": "select 1 as n", "wide": "select 7 as m from range(3)"})
    with duckdb.connect() as connection:
        made = publish(settings.place, connection, {"a": "select 2 as n", "plan": "select 9 as n"}, None, NOW)
    assert (made.version, made.as_of) == (2, NOW)
    assert made.rows == {"a": 1, "plan": 1, "wide": 3}
    assert inodes(settings, 1, "wide") == inodes(settings, 2, "wide")
    assert inodes(settings, 1, "a") != inodes(settings, 2, "a")
    shutil.rmtree(settings.place.published / "versions" / "00000001")
    assert published(settings, "select a.n, plan.n, (select sum(m) from wide) from a, plan") == [(2, 9, 21)]


def test_a_table_is_written_again_only_when_its_content_version_changes(settings: Settings) -> None:
    for version, content, number in ((1, "x", 1), (2, "x", 2), (3, "y", 3), (4, None, 4), (5, "y", 5)):
        assert put(settings, {"a": TableSource(f"select {number} as n", content=content), "b": "select 1 as n"}) == version
    # version 2 has the content of 1; 4 has none, so that nothing is known of it, and 5 is written too
    assert [inodes(settings, number, "a") == inodes(settings, number + 1, "a") for number in (1, 2, 3, 4)] == [
        True,
        *[False] * 3,
    ]
    assert published(settings, "from a") == [(5,)]


def test_a_table_that_is_dropped_is_gone_and_stays_in_the_version_before(settings: Settings) -> None:
    put(settings, version_tables(1))
    put(settings, {"a": "select 2 as version"}, dropped=["wide"])
    with pytest.raises(duckdb.Error):
        published(settings, "from wide")
    assert published(settings, "select count(*) from b") == [(5000,)]
    assert (settings.place.published / "versions" / "00000001" / "parquet" / "wide").exists()


def test_what_waits_for_another_publisher_does_not_go_back_on_what_that_one_publishes(settings: Settings) -> None:
    put(settings, version_tables(1))
    lock = settings.place.published / ".lock"
    with ThreadPoolExecutor(2) as pool:
        with exclusive(lock):
            slower = pool.submit(put, settings, {"plan": "select 9 as n"})
            quicker = pool.submit(put, settings, version_tables(2))
            time.sleep(0.3)
            assert not slower.done()
        assert {slower.result(timeout=60), quicker.result(timeout=60)} == {2, 3}
    assert published(settings, "select distinct version from a") == [(2,)]
    assert published(settings, "from plan") == [(9,)]


@pytest.mark.parametrize("broken", ["fsync_path", "_write_document", "write_database", "_swap"])
def test_a_publish_that_dies_leaves_the_last_version_and_the_next_one_works(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    put(settings, version_tables(1))

    def die(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, broken, die)
        with pytest.raises(OSError, match="disk full"):
            put(settings, version_tables(2))
    assert published(settings, "select distinct version from a") == [(1,)]
    assert put(settings, version_tables(3)) in (2, 3)
    assert published(settings, "select distinct version from a") == [(3,)]
    assert not [path.name for path in (settings.place.published / "versions").iterdir() if path.name.startswith(".tmp-")]


def test_a_table_whose_query_fails_publishes_nothing(settings: Settings) -> None:
    put(settings, version_tables(1))
    with duckdb.connect() as connection:
        with pytest.raises(duckdb.Error):
            publish(settings.place, connection, {**version_tables(2), "z": "select nonsense"}, NOW, NOW)
        assert publish(settings.place, connection, version_tables(3), NOW, NOW).version == 2  # the same connection goes on
    assert published(settings, "select distinct version from a") == [(3,)]


def test_three_versions_and_the_last_hour_are_kept(settings: Settings) -> None:
    for number in range(1, 7):
        put(settings, {"a": f"select {number} as version"})
    versions = settings.place.published / "versions"
    now = datetime.now(UTC)
    for age_minutes, number in ((200, 1), (90, 2), (59, 3), (300, 5)):
        then = (now - timedelta(minutes=age_minutes)).timestamp()
        os.utime(versions / f"{number:08d}", (then, then))
    assert remove_old_versions(settings.place, now) == ["00000001", "00000002"]
    assert sorted(path.name for path in versions.iterdir()) == [f"{number:08d}" for number in (3, 4, 5, 6)]


def test_a_version_that_is_read_is_not_removed(settings: Settings) -> None:
    put(settings, version_tables(0))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with open_version(settings.place) as version:
        for number in range(1, 5):
            put(settings, version_tables(number))
        assert remove_old_versions(settings.place, tomorrow) == ["00000002"]
        assert version.connection.execute("select distinct version from a").fetchall() == [(0,)]
    assert remove_old_versions(settings.place, tomorrow) == ["00000001"]


def test_the_current_version_is_never_removed(settings: Settings) -> None:
    for number in range(1, 6):
        put(settings, {"a": f"select {number} as version"})
    link = current_folder(settings.place)
    link.unlink()
    link.symlink_to(Path("versions") / "00000001")  # rolled back by hand
    assert remove_old_versions(settings.place, datetime.now(UTC) + timedelta(days=1)) == ["00000002"]
    assert published(settings, "select version from a") == [(1,)]
    assert put(settings, {"a": "select 6 as version"}) == 6


def test_files_that_never_change_are_linked_and_a_version_has_those_that_it_was_given(settings: Settings) -> None:
    kept = settings.place.root / "kept"
    kept.mkdir(parents=True)
    days = {f"{day}.parquet": kept / f"{day}.parquet" for day in (1, 2)}
    with duckdb.connect() as connection:
        for day, path in enumerate(days.values(), 1):
            connection.execute(f"copy (select {day} as day from range({day})) to '{path}'")
    put(settings, {"small": "select 1 as n", "days": TableSource(files={"1.parquet": days["1.parquet"]})})
    assert published(settings, "select day from days") == [(1,)]
    put(settings, {"small": "select 2 as n", "days": TableSource(files=days)})
    publication = current_publication(settings.place)
    assert publication is not None
    assert publication.rows == {"small": 1, "days": 3}
    put(settings, {"small": "select 3 as n"})
    assert inodes(settings, 3, "days") == {path.stat().st_ino for path in days.values()}
    shutil.rmtree(kept)
    assert published(settings, "select day, (select n from small) from days order by day") == [(1, 3), (2, 3), (2, 3)]


def test_a_file_on_another_disk_is_copied(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, f"{self} and {target} are on two disks")

    monkeypatch.setattr(Path, "hardlink_to", other_disk)
    source = settings.place.root / "1.parquet"
    source.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 5 as day) to '{source}'")
    put(settings, {"days": TableSource(files={"1.parquet": source})})
    source.unlink()
    assert published(settings, "select day from days") == [(5,)]


DESCRIPTIONS = {"a": {"": "It's a table.", "n": "A number", "gone": "No column has this name"}, "b": {"": "Published later."}}


def comments(folder: Path, table: str) -> tuple[str | None, dict[str, str | None]]:
    with duckdb.connect(str(folder / "customer360.duckdb"), read_only=True) as connection:
        texts = connection.execute("select comment from duckdb_views() where view_name = ?", [table]).fetchall()
        columns = connection.execute("select column_name, comment from duckdb_columns() where table_name = ?", [table])
        return texts[0][0], dict(columns.fetchall())


def test_descriptions_are_comments_in_the_database_and_metadata_of_the_file_also_in_later_versions(settings: Settings) -> None:
    put(settings, {"a": "select 1 as n, 2 as m", "plain": "select 1 as n"}, descriptions=DESCRIPTIONS)
    put(settings, {"plain": "select 2 as n"})
    folder = current_folder(settings.place)
    assert comments(folder, "a") == ("It's a table.", {"n": "A number", "m": None})
    assert comments(folder, "plain") == (None, {"n": None})
    metadata = pq.read_metadata(folder / "parquet" / "a" / "part.parquet").metadata
    assert metadata[b"description"].decode() == "It's a table."
    assert json.loads(metadata[b"columns"])["n"] == "A number"
    put(settings, {"b": "select 1 as n"})  # as files of the place are, without descriptions of their own
    assert comments(current_folder(settings.place), "b")[0] == "Published later."


def test_every_table_is_a_view_of_the_same_types_from_any_working_directory(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = "12.50::decimal(18, 2) as money, date '2026-05-01' as day, timestamp '2026-05-01 10:00' as moment, 'x' as text"
    put(settings, {"a": f"select {columns}, true as flag, 1::bigint as n, 1::integer as i, 0.5::double as share"})
    monkeypatch.chdir(tmp_path)
    with duckdb.connect(str(current_folder(settings.place) / "customer360.duckdb"), read_only=True) as connection:
        kinds = [kind for _, kind, *_ in connection.execute("describe main.a").fetchall()]
    assert kinds == ["DECIMAL(18,2)", "DATE", "TIMESTAMP", "VARCHAR", "BOOLEAN", "BIGINT", "INTEGER", "DOUBLE"]


def test_a_moved_place_is_read_at_once_and_its_database_from_the_next_publication_on(
    settings: Settings, tmp_path: Path
) -> None:
    place = Place(root=tmp_path / "here")
    with duckdb.connect() as connection:
        publish(place, connection, {"a": "select 1 as n", "b": "select 1 as n"}, NOW, NOW)
        moved = Place(root=place.root.rename(tmp_path / "there"))
        with open_version(moved) as version:
            assert version.connection.execute("from a").fetchall() == [(1,)]
        publish(moved, connection, {"b": "select 2 as n"}, NOW, NOW)
    with duckdb.connect(str(current_folder(moved) / "customer360.duckdb"), read_only=True) as connection:
        assert connection.execute("select a.n, b.n from a, b").fetchall() == [(1, 2)]


@pytest.mark.parametrize("name", ["there", "it's [there]"])
def test_views_of_a_moved_place_are_renewed_once(tmp_path: Path, name: str) -> None:
    place = Place(root=tmp_path / "here")
    assert not renew_moved_views(place)
    with duckdb.connect() as connection:
        publish(place, connection, {"a": "select 1 as n"}, NOW, NOW, descriptions={"a": {"": "A table", "n": "A number"}})
    assert not renew_moved_views(place)
    moved = Place(root=place.root.rename(tmp_path / name))
    assert renew_moved_views(moved)
    assert not renew_moved_views(moved)
    with duckdb.connect(str(current_folder(moved) / "customer360.duckdb"), read_only=True) as connection:
        assert connection.execute("from a").fetchall() == [(1,)]
        assert connection.execute("select comment from duckdb_columns() where table_name = 'a'").fetchone() == ("A number",)


def old_version(settings: Settings) -> None:
    """A version as releases before 0.2 published it: tables in the database and as Parquet, two of Parquet only."""
    folder = settings.place.published / "versions" / "00000007"
    with duckdb.connect() as connection:
        folder.mkdir(parents=True)
        connection.execute(f"attach '{folder}/customer360.duckdb' as old (storage_version 'v1.0.0')")
        for name in ("traffic", "slice_log", "training_features", "customer_scores_daily"):
            (folder / "parquet" / name).mkdir(parents=True)
            connection.execute(f"copy (select '{name}' as name) to '{folder}/parquet/{name}/part.parquet'")
        connection.execute(
            "create table old.traffic as select 'traffic' as name; create table old.slice_log as from old.traffic"
        )
    document = {"version": 7, "as_of": NOW.isoformat(), "published_at": NOW.isoformat()}
    rows = {"rows": {"traffic": 1, "slice_log": 1}, "parquet_only": {"training_features": 1, "customer_scores_daily": 1}}
    (folder / "version.json").write_text(json.dumps({**document, **rows}))
    (settings.place.published / "current").symlink_to(Path("versions") / "00000007")


def test_a_version_of_the_release_before_is_opened_and_taken_over_whole(settings: Settings) -> None:
    old_version(settings)
    names = ("traffic", "slice_log", "training_features", "customer_scores_daily")
    assert [published(settings, f"from {name}") for name in names] == [[(name,)] for name in names]
    assert put(settings, {"traffic": "select 'new' as name"}) == 8
    expected = [("new",), *((name,) for name in names[1:])]
    assert [published(settings, f"from {name}")[0] for name in names] == expected
    with duckdb.connect(str(current_folder(settings.place) / "customer360.duckdb"), read_only=True) as connection:
        assert [connection.execute(f"from main.{name}").fetchone() for name in names] == expected


def test_a_place_restored_without_its_versions_goes_on_above_all_that_were_published_since_the_backup(
    settings: Settings,
) -> None:
    for _ in range(3):
        put(settings, version_tables(1))
    backup = (settings.place.root / "last_version.json").read_bytes()
    put(settings, version_tables(1), NOW + timedelta(seconds=20))  # 4, which the backup does not know
    shutil.rmtree(settings.place.published)
    (settings.place.root / "last_version.json").write_bytes(backup)
    assert put(settings, version_tables(2), NOW + timedelta(minutes=1)) == 3 + 1 + 60
    assert put(settings, version_tables(3), NOW + timedelta(minutes=2)) == 65


PROFILES = """select unnest(['c1', 'c2']) as customer_id, timestamp '2026-05-01 10:00' as as_of, unnest([{}]) as score"""
PLAN = """
    select 'k' as campaign_id, 'k-1' as plan_version, unnest(['c1', 'c2']) as customer_id, date '2026-05-03' as contact_date,
        'email' as channel, 'day' as daypart, unnest(['contact', '{}']) as decision
"""


def next_contacts(settings: Settings) -> list[tuple[Any, ...]]:
    return published(settings, "select customer_id, score, next_contact_on, next_contact_channel from customer_profiles")


def test_the_next_contact_follows_the_plan_and_profiles_are_written_only_where_one_differs(settings: Settings) -> None:
    day = datetime(2026, 5, 3).date()  # noqa: DTZ001
    put(settings, {"customer_profiles": PROFILES.format("1, 2")})
    assert next_contacts(settings) == [("c1", 1, None, None), ("c2", 2, None, None)]
    put(settings, {"campaign_plan": PLAN.format("holdout")})
    assert next_contacts(settings) == [("c1", 1, day, "email"), ("c2", 2, None, None)]
    put(settings, {"campaign_plan": PLAN.format("left out")})
    assert inodes(settings, 2, "customer_profiles") == inodes(settings, 3, "customer_profiles")
    put(settings, {"customer_profiles": PROFILES.format("3, 4")})  # a slice, which does not give the plan again
    assert next_contacts(settings) == [("c1", 3, day, "email"), ("c2", 4, None, None)]
    with duckdb.connect(str(current_folder(settings.place) / "customer360.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(next_contact_on) from customer_profiles").fetchone() == (1,)
