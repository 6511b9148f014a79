"""Published versions in a store: readers go from one complete version to the next, whatever step fails in between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest

from customer360.lake import httpfs, object_store
from customer360.lake.engine import connect
from customer360.lake.object_store import StoreError
from customer360.lake.publishing import store_publishing
from customer360.lake.publishing.copies import last_copied, readers_wait_long
from customer360.lake.publishing.publishing import TableSource, publish
from customer360.lake.publishing.store_publishing import STORE, next_number, upload_current
from customer360.settings import ObjectStorage, Place, Settings
from tests.support.object_store import BUCKET, ObjectStore, storage_yaml
from tests.support.random_shop import small_shop

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
TRAINING = {"training_features": "select range as x from range(70000)"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=tmp_path)


@pytest.fixture
def storage(server: ObjectStore) -> ObjectStorage:
    return ObjectStorage(**storage_yaml(server))


def version(place: Place, number: int, **more: Any) -> datetime:
    """Publish version ``number`` locally, with as many rows; returns when."""
    now = NOON + number * QUARTER
    profiles = f"select cast(range as varchar) as customer_id, timestamp '2026-05-01' as as_of from range({number})"
    tables = {"customer_profiles": profiles, "rfm_segments": "select 'Champion' as segment", **more}
    with connect(place.root / ".tmp") as connection:
        assert publish(place, connection, tables, now, now).version == number
    return now


def seen(storage: ObjectStorage, place: Place) -> int:
    """The rows of ``customer_profiles`` that a reader finds who starts at the pointer."""
    store = object_store.ObjectStore(storage, str(storage.publish))
    with httpfs.reading(store, place.root / ".tmp") as connection:
        (url,) = connection.execute("select database from read_json('s3://acme/published/current.json')").fetchone() or ("",)
        connection.execute(f"attach '{url}' as customer360 (read_only)")
        (rows,) = connection.execute("select count(*) from customer360.customer_profiles").fetchone() or (0,)
        (by_file,) = connection.execute(
            f"select count(*) from '{url.replace('customer360.duckdb', 'parquet/customer_profiles/*.parquet')}'"
        ).fetchone() or (0,)
    assert rows == by_file
    return int(rows)


def folders(server: ObjectStore) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in server.keys("published/versions/"):
        found.setdefault(key.split("/")[2], []).append("/".join(key.split("/")[3:]))
    return found


def times(server: ObjectStore) -> dict[str, datetime]:
    """When each object was last written."""
    written = ((key, server.client.head_object(Bucket=BUCKET, Key=key)) for key in sorted(server.keys()))
    return {key: head["LastModified"] for key, head in written}


def test_nothing_is_uploaded_before_the_first_version(place: Place, storage: ObjectStorage, server: ObjectStore) -> None:
    assert upload_current(place, storage, NOON) is None
    assert server.keys() == []
    assert readers_wait_long(place, STORE, NOON)


def test_a_version_is_uploaded_once_and_what_did_not_change_is_copied_in_the_store(
    place: Place, storage: ObjectStorage, server: ObjectStore
) -> None:
    now = version(place, 1, **TRAINING)
    first = upload_current(place, storage, now)
    assert first is not None
    assert (first.version, first.sent, first.copied) == (1, 4, 0)
    assert folders(server) == {
        "00000001-20260501T121500Z": [
            "customer360.duckdb",
            "parquet/customer_profiles/part.parquet",
            "parquet/rfm_segments/part.parquet",
            "parquet/training_features/part.parquet",
            "version.json",
        ]
    }
    assert seen(storage, place) == 1
    before = times(server)
    again = upload_current(place, storage, now + QUARTER)
    assert again is not None
    assert (again.sent, again.sent_bytes, again.copied, again.url) == (0, 0, 0, first.url)
    assert before == times(server)

    second = upload_current(place, storage, version(place, 2))
    assert second is not None
    assert (second.version, second.sent, second.copied) == (2, 2, 2)  # the database and the profiles; training set, segments
    copied = "parquet/training_features/part.parquet"
    old, new = (server.get(f"published/versions/{name}/{copied}") for name in sorted(folders(server)))
    assert old == new
    assert len(old) > 1000
    assert seen(storage, place) == 2
    remembered = last_copied(place, STORE)
    assert remembered is not None
    assert (remembered.version, remembered.url) == (2, second.url)


def test_an_upload_that_breaks_off_leaves_readers_where_they_are_and_is_gone_after_the_next(
    place: Place, storage: ObjectStorage, server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_current(place, storage, version(place, 1))
    plain = object_store.ObjectStore.put
    for number, allowed in ((2, 0), (3, 1), (4, 2), (5, 3)):  # the last time all but the pointer is there
        left = iter(range(allowed))

        def put(store: object_store.ObjectStore, key: str, content: bytes | Path, left: Any = left) -> None:
            if next(left, None) is None:
                raise StoreError("the cable was pulled")
            plain(store, key, content)

        now = version(place, number)
        with monkeypatch.context() as patch:
            patch.setattr(object_store.ObjectStore, "put", put)
            with pytest.raises(StoreError, match="the cable was pulled"):
                upload_current(place, storage, now)
        assert seen(storage, place) == 1
    halves = [name for name, keys in folders(server).items() if "version.json" not in keys]
    assert len(halves) == 2  # 3 and 4: nothing of 2 was sent, and of 5 only the pointer is missing
    upload_current(place, storage, version(place, 6))
    assert seen(storage, place) == 6
    assert not set(halves) & set(folders(server))
    assert all("version.json" in keys for keys in folders(server).values())


def test_an_upload_goes_on_with_what_is_there(
    place: Place, storage: ObjectStorage, server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = version(place, 1)
    with monkeypatch.context() as patch:
        patch.setattr(store_publishing, "_send_database", lambda *_: (_ for _ in ()).throw(StoreError("the process died here")))
        with pytest.raises(StoreError, match="the process died here"):
            upload_current(place, storage, now)
    begun = server.client.create_multipart_upload(Bucket=BUCKET, Key="published/versions/00000001-20260501T121500Z/half")
    part = {"Bucket": BUCKET, "Key": begun["Key"], "UploadId": begun["UploadId"], "PartNumber": 1}
    server.client.upload_part(**part, Body=b"x")
    again = upload_current(place, storage, now)
    assert again is not None
    assert (again.sent, again.copied) == (1, 0)  # the database, which did not get there
    assert seen(storage, place) == 1
    assert server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_readers_are_never_sent_to_a_version_that_cannot_be_read_back(
    place: Place, storage: ObjectStorage, server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_current(place, storage, version(place, 1))
    plain = object_store.ObjectStore.put

    def put(store: object_store.ObjectStore, key: str, content: bytes | Path, damaged: str = "") -> None:
        plain(store, key, fewer if key.endswith(damaged) else content)

    fewer = place.root / "fewer.parquet"
    with connect(place.root / ".tmp") as connection:
        connection.execute(f"copy (select 1 as id) to '{fewer}' (format parquet)")
    for number, damaged, message in (
        (2, "customer_profiles/part.parquet", "the number of rows differs in customer_profiles"),
        (3, "customer360.duckdb", "not a valid DuckDB database file"),
    ):
        now = version(place, number)
        with monkeypatch.context() as patch:
            patch.setattr(object_store.ObjectStore, "put", partialmethod(put, damaged=damaged))
            with pytest.raises(StoreError, match=f"version {number} was uploaded, but cannot be read back: .*{message}"):
                upload_current(place, storage, now)
        assert seen(storage, place) == 1
    upload_current(place, storage, now)  # the damaged object is sent again
    assert seen(storage, place) == 3


def test_a_table_of_several_files_is_read_back_whole_and_a_day_that_lacks_rows_is_noticed(
    place: Place, storage: ObjectStorage, server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = {f"2026-05-0{day}.parquet": place.root / f"scores-{day}.parquet" for day in (1, 2, 3)}
    with connect(place.root / ".tmp") as connection:
        for number, path in enumerate(days.values(), 1):
            connection.execute(f"copy (select range as id from range({number * 10})) to '{path}' (format parquet)")
    upload = upload_current(place, storage, version(place, 1, customer_scores_daily=TableSource(files=days)))
    assert upload is not None
    (names,) = folders(server).values()
    assert [name for name in names if "scores" in name] == [f"parquet/customer_scores_daily/{day}" for day in days]
    assert seen(storage, place) == 1

    plain = object_store.ObjectStore.copy
    fewer = days["2026-05-01.parquet"]

    def copy(store: object_store.ObjectStore, source: str, target: str) -> None:
        if target.endswith("2026-05-03.parquet"):
            store.put(target, fewer)
        else:
            plain(store, source, target)

    now = version(place, 2)
    with monkeypatch.context() as patch:
        patch.setattr(object_store.ObjectStore, "copy", copy)
        with pytest.raises(StoreError, match="the number of rows differs in customer_scores_daily"):
            upload_current(place, storage, now)
    assert seen(storage, place) == 1
    upload_current(place, storage, now)
    assert seen(storage, place) == 2


def test_the_last_three_versions_and_those_of_the_last_hour_stay(
    place: Place, storage: ObjectStorage, server: ObjectStore
) -> None:
    for number in range(1, 8):
        now = version(place, number)
        upload_current(place, storage, now)
    assert [int(name[:8]) for name in sorted(folders(server))] == [3, 4, 5, 6, 7]  # 3 was published an hour ago
    now += timedelta(hours=3)
    upload = upload_current(place, storage, now)
    assert upload is not None
    assert (upload.sent, upload.removed_versions) == (0, 2)
    assert [int(name[:8]) for name in sorted(folders(server))] == [5, 6, 7]
    server.put("published/versions/notes of somebody/readme.txt", "not ours")
    upload_current(place, storage, now)
    assert server.get("published/versions/notes of somebody/readme.txt") == b"not ours"


def test_a_place_that_was_built_anew_publishes_over_its_predecessor(
    place: Place, storage: ObjectStorage, server: ObjectStore, tmp_path: Path
) -> None:
    for number in range(1, 4):
        upload_current(place, storage, version(place, number))
    anew = Place(root=tmp_path / "anew")
    version(anew, 1)
    upload_current(anew, storage, NOON + timedelta(days=1))
    assert seen(storage, place) == 1
    assert json.loads(server.get("published/current.json"))["version"] == 1


def test_a_restored_place_goes_on_above_what_the_stores_readers_have(
    place: Place, storage: ObjectStorage, server: ObjectStore, tmp_path: Path
) -> None:
    for number in range(1, 4):
        upload_current(place, storage, version(place, number))
    shop = small_shop(object_storage=storage_yaml(server))
    assert next_number(Settings(shop=shop, place=place, shop_folder=tmp_path)) == 1  # its own versions say
    restored = Settings(shop=shop, place=Place(root=tmp_path / "restored"), shop_folder=tmp_path)
    assert next_number(restored) == 4
    with connect(restored.place.root / ".tmp") as connection:
        made = publish(restored.place, connection, {"a": "select 1 as n"}, NOON, NOON, least=next_number(restored))
    assert made.version == 4


def test_a_lost_store_keeps_the_note_of_what_readers_have(place: Place, storage: ObjectStorage, server: ObjectStore) -> None:
    now = version(place, 1)
    upload_current(place, storage, now)
    version(place, 2)
    lost = ObjectStorage(**storage_yaml(server, endpoint="http://127.0.0.1:1"))
    with pytest.raises(StoreError, match=r"s3://acme/published at http://127\.0\.0\.1:1: .*the store does not answer"):
        upload_current(place, lost, now)
    remembered = last_copied(place, STORE)
    assert remembered is not None
    assert remembered.version == 1
    assert not readers_wait_long(place, STORE, now + timedelta(minutes=60))
    assert readers_wait_long(place, STORE, now + timedelta(minutes=61))
