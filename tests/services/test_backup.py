"""A whole place is backed up while it changes, and restored: equal, or refused with nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from customer360.lake.engine import connect
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import open_version
from customer360.mail.queue import open_queue
from customer360.place_format import FORMAT, PlaceError
from customer360.services.backup import Backup, BackupError, back_up, restore
from customer360.settings import Place, Settings
from orchestration.cli import main
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server
from tests.support.random_shop import small_shop

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def write(file: Path, text: str) -> None:
    """By rename, as the product does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_name(f".tmp-{file.name}").write_text(text, encoding="utf-8")
    file.with_name(f".tmp-{file.name}").rename(file)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A place with files of each kind, two databases in SQLite and a published version."""
    place, shop_folder = Place(root=tmp_path / "data"), tmp_path / "shop"
    shop_folder.mkdir()
    (shop_folder / "shop.yaml").write_text("title: a shop\n", encoding="utf-8")
    kept = ["raw/clicks/slice_key=1/part.parquet", "landing/clicks/2026/05/01/10-00/a.jsonl", "models/affinity/champion"]
    kept += ["models/affinity/v1/model.cbm", "campaigns/ledger/00000001.parquet", "plans/p/plan.parquet", "serving/keys.json"]
    kept += ["serving/spool/clicks/w1.jsonl", "mail/keys/links", "alerts.json", "quarantine/x.jsonl"]
    left_out = [
        "warehouse.duckdb",
        "dbt/manifest.json",
        "nightly/x.parquet",
        "serving/store/data.mdb",
        ".tmp/x",
        "logs/serve.log",
    ]
    for number, name in enumerate([*kept, *left_out, "landing/.tmp-half"]):
        write(place.root / name, f"{name} {number}")
        os.utime(place.root / name, ns=(10**18 + number, 1_700_000_000_123_456_789 + number))
    with connect(tmp_path / ".spill") as connection:
        publish(place, connection, {"traffic": "select range as x from range(10)"}, NOON, NOON)
    desk = place.desk / "desk.sqlite3"
    desk.parent.mkdir()
    with closing(sqlite3.connect(desk)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table audit (text text)")
        database.execute("insert into audit values ('first')")
        database.commit()
    assert open_queue(place).is_open()
    return Settings(shop=small_shop(), shop_folder=shop_folder, place=place)


def backed_up(settings: Settings, now: datetime = NOON, **environment: str) -> Backup:
    return back_up(settings, settings.place.root.parent / "backups", settings.place.root / "dagster", now, environment)


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of each file that is no database."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and ".sqlite3" not in path.name]
    return {path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_restored_place_equals_the_one_that_was_backed_up(settings: Settings, tmp_path: Path) -> None:
    made = backed_up(settings)
    assert (made.linked, made.databases) == (0, [])
    restored = Place(root=tmp_path / "restored")
    restore(made.folder, restored, {})
    left_out = ("warehouse.duckdb", "dbt/", "nightly/", "serving/store/", ".tmp/", "logs/", "landing/.tmp", "published/.lock")
    before = {name: file for name, file in contents(settings.place.root).items() if not name.startswith(left_out)}
    after = contents(restored.root)
    assert json.loads(after.pop("last_version.json")[0])["is_restored"]
    del before["last_version.json"]
    assert after == before
    assert (made.folder / "shop" / "shop.yaml").read_text(encoding="utf-8") == "title: a shop\n"
    with closing(sqlite3.connect(restored.desk / "desk.sqlite3")) as database:
        assert database.execute("select text from audit").fetchall() == [("first",)]
    with open_version(restored) as version:
        assert version.connection.execute("select count(*) from traffic").fetchone() == (10,)
    with connect(tmp_path / ".spill") as connection:  # ten minutes later, in which others may have been published
        later = publish(restored, connection, {"traffic": "select 1 as x"}, NOON, NOON + timedelta(minutes=10))
        assert later.version == 602
        assert publish(restored, connection, {"traffic": "select 2 as x"}, NOON, NOON + QUARTER).version == 603


def test_the_mail_queue_is_closed_after_a_restore_even_where_files_get_the_same_numbers(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backed_up(settings)
    # A file system that gives a new file the number of a deleted one would make the copy look like the original.
    monkeypatch.setattr("customer360.mail.queue.messages.identity", lambda *_: known)
    database = settings.place.mail / "mail.sqlite3"
    with closing(sqlite3.connect(database)) as opened:
        (known,) = opened.execute("select value from facts where name = 'identity'").fetchone()
    assert open_queue(settings.place).is_open()
    restored = Place(root=tmp_path / "restored")
    restore(made.folder, restored, {})
    assert not open_queue(restored).is_open()
    open_queue(restored).open()
    assert open_queue(settings.place).is_open()


def test_the_next_backup_links_what_did_not_change_and_holds_what_did(settings: Settings, tmp_path: Path) -> None:
    first = backed_up(settings)
    write(settings.place.root / "alerts.json", "changed")
    second = backed_up(settings, NOON + QUARTER)
    assert second.linked > 10
    same, changed = "data/models/affinity/v1/model.cbm", "data/alerts.json"
    assert (first.folder / same).samefile(second.folder / same)
    assert (
        (first.folder / changed).read_text(encoding="utf-8")
        != "changed"
        == (second.folder / changed).read_text(encoding="utf-8")
    )
    shutil.rmtree(first.folder)
    restore(second.folder, Place(root=tmp_path / "restored"), {})
    with pytest.raises(BackupError, match="exists already"):
        backed_up(settings, NOON + QUARTER)


def test_backups_of_a_place_that_changes_hold_together(settings: Settings, tmp_path: Path) -> None:
    """The spool gives its lines away to landing, raw follows, then a version; and the ledger follows the mail queue."""
    place, stop = settings.place, threading.Event()
    numbers, taken = iter(range(1, 10_000)), list[str]()
    spooled = settings.place.root / "serving" / "spool" / "clicks"

    def work() -> None:
        with connect(tmp_path / ".spill") as connection, closing(sqlite3.connect(place.mail / "mail.sqlite3")) as queue:
            while not stop.is_set():
                number = next(numbers)
                write(spooled / f"{number}.jsonl", f"{number}")
                target = place.landing / "clicks" / f"{number}.jsonl"
                target.parent.mkdir(exist_ok=True)
                shutil.copy(spooled / f"{number}.jsonl", target)
                (spooled / f"{number}.jsonl").unlink()
                taken.append(str(number))
                write(place.raw / "clicks" / f"{number}.parquet", f"{number}")
                publish(place, connection, {"traffic": f"select {number} as x from range({number + 1})"}, NOON, NOON)
                queue.execute("insert into sent values (?)", [number])
                queue.commit()
                write(place.campaigns / "ledger" / f"{number}.parquet", f"{number}")

    with closing(sqlite3.connect(place.mail / "mail.sqlite3")) as database:
        database.execute("create table sent (number integer)")
    worker = threading.Thread(target=work)
    worker.start()
    try:
        made = list[tuple[set[str], Backup]]()
        while len(made) < 4 or len(taken) < 5:
            made.append((set(taken), backed_up(settings, NOON + len(made) * QUARTER)))
    finally:
        stop.set()
        worker.join()
    reached = set()
    for number, (taken_before, backup) in enumerate(made):
        restored = Place(root=tmp_path / f"restored-{number}")
        restore(backup.folder, restored, {})

        def of(folder: Path) -> set[str]:
            return {path.stem for path in folder.glob("*") if path.is_file() and path.stem.isdigit() and path.stem[0] != "0"}

        raw, landed = of(restored.raw / "clicks"), of(restored.landing / "clicks")
        assert raw <= landed
        assert landed | of(restored.root / "serving" / "spool" / "clicks") >= taken_before
        with closing(sqlite3.connect(restored.mail / "mail.sqlite3")) as queue:
            assert queue.execute("pragma integrity_check").fetchall() == [("ok",)]
            sent = {str(n) for (n,) in queue.execute("select number from sent")}
        assert of(restored.campaigns / "ledger") <= sent
        with open_version(restored) as version:
            assert version.connection.execute("select count(*), max(x) + 1 from traffic").fetchone() is not None
            (rows,) = version.connection.execute("select count(*) from traffic").fetchone() or (0,)
            assert rows == version.publication.rows["traffic"]
            reached.add(version.publication.version)
    assert len(reached) > 1


def test_what_cannot_be_restored_is_refused_and_nothing_is_made(settings: Settings, tmp_path: Path) -> None:
    made = backed_up(settings).folder
    target = Place(root=tmp_path / "restored")

    def refused(source: Path, words: str) -> None:
        with pytest.raises((BackupError, PlaceError), match=words):
            restore(source, target, {})
        assert not target.root.exists()

    with pytest.raises(BackupError, match="is not empty"):
        restore(made, settings.place, {})
    refused(made.parent, rf"has no backup\.json; name one of its folders, such as .*{made.name}")
    with pytest.raises(BackupError, match="lies in the place itself"):
        back_up(settings, settings.place.root / "backups", tmp_path, NOON, {})
    manifest = json.loads((made / "backup.json").read_text(encoding="utf-8"))
    (made / "backup.json").write_text(json.dumps(manifest | {"format": FORMAT + 1, "version": "9.9"}), encoding="utf-8")
    refused(made, "is of release 9.9")
    (made / "backup.json").write_text(json.dumps(manifest | {"databases": ["desk"]}), encoding="utf-8")
    refused(made, "set CUSTOMER360_DESK_DATABASE_URL to an empty database")
    (made / "backup.json").write_text(json.dumps(manifest), encoding="utf-8")
    (made / "data" / "alerts.json").write_text("cut", encoding="utf-8")
    refused(made, "is damaged: data/alerts.json and 0 other files")


def test_an_interrupted_backup_is_none_and_is_cleared_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("customer360.services.backup.os.sync", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            backed_up(settings)
    backups = settings.place.root.parent / "backups"
    assert [path.name for path in backups.iterdir()] == [".tmp-20260501T120000Z"]
    made = backed_up(settings)
    assert list(backups.iterdir()) == [made.folder]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def test_databases_in_postgres_come_along_and_the_published_schema_does_not(
    settings: Settings, server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def url(database: str) -> str:
        return f"postgresql+psycopg://shop:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/{database}"

    server.sql("create database desk; create database mail; create database desk2; create database mail2")
    server.sql(
        "\\c desk\ncreate table audit as select 'anna' as who; create schema customer360; create table customer360.t (x int)"
    )
    assert open_queue(settings.place, url("mail")).is_open()
    shop = small_shop(publish_to={"postgres": {"dsn": "BI"}})
    given = {"CUSTOMER360_DESK_DATABASE_URL": url("desk"), "CUSTOMER360_MAIL_QUEUE_URL": url("mail")}
    made = backed_up(settings.model_copy(update={"shop": shop}), **given)
    assert made.databases == ["desk", "mail"]
    place = Place(root=tmp_path / "restored")
    with pytest.raises(BackupError, match=r"the database desk .* is not empty") as failed:
        restore(made.folder, place, given)
    assert PASSWORD not in str(failed.value)
    wrong = url("nowhere")
    with pytest.raises(BackupError, match="cannot be reached") as failed:
        restore(made.folder, place, given | {"CUSTOMER360_DESK_DATABASE_URL": wrong})
    assert not place.root.exists()
    restore(made.folder, place, {"CUSTOMER360_DESK_DATABASE_URL": url("desk2"), "CUSTOMER360_MAIL_QUEUE_URL": url("mail2")})
    assert (
        server.sql("\\c desk2\nselect who from audit; select count(*) from pg_namespace where nspname = 'customer360'")
        == "anna\n0"
    )
    assert not open_queue(place, url("mail2")).is_open()
    assert open_queue(settings.place, url("mail")).is_open()


def test_the_commands(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(settings.place.root)
    assert main(["backup", str(tmp_path / "backups"), "--data-dir", data, "--shop", "synthetic"]) == 0
    folder, _, words = capsys.readouterr().out.partition(": ")
    assert "files" in words
    assert main(["restore", folder, "--data-dir", str(tmp_path / "restored")]) == 0
    assert "customer360 email reconcile" in capsys.readouterr().out
    assert (tmp_path / "restored" / "models" / "affinity" / "champion").exists()
    assert main(["restore", folder, "--data-dir", str(tmp_path / "restored")]) == 2
    assert "is not empty" in capsys.readouterr().err
