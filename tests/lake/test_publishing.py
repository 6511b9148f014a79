"""Publishing: readers see one whole version at any moment, and never a half one."""

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
import pytest

from customer360.lake.atomic import exclusive
from customer360.lake.publishing import publishing
from customer360.lake.publishing.publishing import publish, remove_old_versions, republish
from customer360.lake.publishing.version import current_folder, current_publication, open_version, reader
from customer360.settings import REPOSITORY, Settings

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
            database = [connection.execute(f"{RANGE} main.{table}").fetchone() for table in ("a", "b")]
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
    return dict.fromkeys(("a", "b"), f"select {number} as version, i from range(5000) as t (i)")


def published(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with reader(settings.place) as connection:
        return connection.execute(query).fetchall()


def put(settings: Settings, tables: dict[str, str], now: datetime = NOW, only: dict[str, str] | None = None) -> int:
    with duckdb.connect() as connection:
        return publish(settings.place, connection, tables, NOW, now, parquet_only=only).version


def put_everywhere(settings: Settings, number: int) -> int:
    """Publish the number in two tables of the database and in one of Parquet only."""
    tables = version_tables(number)
    return put(settings, tables, only={"wide": tables["a"]})


def test_a_reader_in_another_process_sees_no_error_and_no_torn_version_through_20_publishes(settings: Settings) -> None:
    put_everywhere(settings, 0)
    command = [sys.executable, "-c", READER, str(settings.place.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in range(1, 21):
            put_everywhere(settings, number)
        (settings.place.root / "stop").touch()
        result = json.loads(process.stdout.read())
    assert result["errors"] == []
    assert result["reads"] >= 5
    assert len(result["seen"]) >= 3
    assert published(settings, "select distinct version from b") == [(20,)]


def test_a_version_published_while_another_is_opened_is_not_mixed_into_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_everywhere(settings, 1)
    read_text, waiting = Path.read_text, [2]

    def publish_first(self: Path, *arguments: Any, **named: Any) -> str:
        if self.name == "version.json" and waiting:
            put_everywhere(settings, waiting.pop())
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
    with pytest.raises(FileNotFoundError, match="nothing is published"), reader(settings.place):
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
    with reader(settings.place) as connection:
        put(settings, version_tables(2))
        assert connection.execute("select distinct version from a").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error):
            connection.execute("insert into a values (3, 3)")
    assert published(settings, "select distinct version from a") == [(2,)]


def test_republishing_replaces_some_tables_and_keeps_the_others(settings: Settings) -> None:
    put(settings, {**version_tables(1), "slice_log": "select 1 as slice"})
    made = republish(settings.place, {"b": "select count(*) as rows from a", "plan": "select 9 as n"}, NOW)
    assert (made.version, made.as_of) == (2, NOW)
    assert made.rows == {"a": 5000, "b": 1, "plan": 1, "slice_log": 1}
    assert published(settings, "select * from b") == [(5000,)]


def test_a_republication_does_not_go_back_on_what_is_published_while_it_waits(settings: Settings) -> None:
    put(settings, version_tables(1))
    with ThreadPoolExecutor(1) as pool:
        with exclusive(settings.place.published / ".lock"):  # a slice publishes
            waiting = pool.submit(republish, settings.place, {"plan": "select 9 as n"}, NOW)
            time.sleep(0.3)
            assert not waiting.done()
            with duckdb.connect() as connection:
                newer = version_tables(2)
                publishing._publish(settings.place, connection, newer, None, NOW, parquet_only={}, linked={})
        assert waiting.result(timeout=30).version == 3
    assert published(settings, "select distinct version from a") == [(2,)]
    assert published(settings, "from plan") == [(9,)]


@pytest.mark.parametrize("broken", ["_write_tables", "_write_document", "_flush", "_swap"])
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


def test_the_current_version_is_never_removed(settings: Settings) -> None:
    for number in range(1, 6):
        put(settings, {"a": f"select {number} as version"})
    link = current_folder(settings.place)
    link.unlink()
    link.symlink_to(Path("versions") / "00000001")  # rolled back by hand
    assert remove_old_versions(settings.place, datetime.now(UTC) + timedelta(days=1)) == ["00000002"]
    assert published(settings, "select version from a") == [(1,)]
    assert put(settings, {"a": "select 6 as version"}) == 6


def test_tables_of_parquet_only_are_taken_over_without_being_written_again(settings: Settings) -> None:
    with duckdb.connect() as connection:
        publish(
            settings.place,
            connection,
            {"small": "select 1 as n"},
            NOW,
            NOW,
            parquet_only={"wide": "select 7 as m from range(3)"},
        )
        first = (current_folder(settings.place) / "parquet" / "wide" / "part.parquet").stat().st_ino
        publish(settings.place, connection, {"small": "select 2 as n"}, NOW, NOW)
    republish(settings.place, {"small": "select n + 1 as n from small"}, NOW)
    with reader(settings.place) as connection:
        assert connection.execute("select n, (select sum(m) from wide) from small").fetchall() == [(3, 21)]
    publication = current_publication(settings.place)
    assert publication is not None
    assert (publication.rows, publication.parquet_only) == ({"small": 1}, {"wide": 3})
    assert (current_folder(settings.place) / "parquet" / "wide" / "part.parquet").stat().st_ino == first
    for number in (1, 2):
        shutil.rmtree(settings.place.published / "versions" / f"{number:08d}")
    with reader(settings.place) as connection:
        assert connection.execute("select count(*) from wide").fetchone() == (3,)


def test_files_that_never_change_are_linked_and_a_version_has_those_that_it_was_given(settings: Settings) -> None:
    kept = settings.place.root / "kept"
    kept.mkdir(parents=True)
    with duckdb.connect() as connection:
        for day in (1, 2):
            connection.execute(f"copy (select {day} as day from range({day})) to '{kept}/{day}.parquet'")
        first, both = {"1.parquet": kept / "1.parquet"}, {f"{day}.parquet": kept / f"{day}.parquet" for day in (1, 2)}
        publish(settings.place, connection, {"small": "select 1 as n"}, NOW, NOW, linked={"days": first})
        assert published(settings, "select day from days") == [(1,)]
        made = publish(settings.place, connection, {"small": "select 2 as n"}, NOW, NOW, linked={"days": both})
    assert (made.rows, made.parquet_only) == ({"small": 1}, {"days": 3})
    republish(settings.place, {"small": "select 3 as n"}, NOW)
    folder = current_folder(settings.place) / "parquet" / "days"
    assert [(folder / name).stat().st_ino for name in both] == [path.stat().st_ino for path in both.values()]
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
        publish(settings.place, connection, {}, NOW, NOW, linked={"days": {"1.parquet": source}})
    source.unlink()
    assert published(settings, "select day from days") == [(5,)]
