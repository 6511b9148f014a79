"""Landing in a store has the results of landing in a folder, with bounded requests, and loses nothing in an outage."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customer360.lake import object_store
from customer360.lake.disk import DiskFullError
from customer360.lake.landing import store_landing
from customer360.lake.landing.location import FolderLanding, find_landing
from customer360.lake.landing.store_landing import StoreLanding
from customer360.lake.object_store import ObjectGoneError, StoreError
from customer360.lake.operations.replay import replay
from customer360.lake.operations.retention import remove_old
from customer360.lake.operations.slice_requests import Cursor
from customer360.lake.raw.quarantine import Selection, quarantined_lines
from customer360.lake.raw.raw_clicks import PART, raw_slice_folder, write_raw_slice
from customer360.lake.reference.reference import load_reference
from customer360.lake.slices import slice_folder, slice_key
from customer360.settings import ObjectStorage, Place, Settings
from tests.support.object_store import BUCKET, ObjectStore, storage_yaml, upload
from tests.support.random_shop import small_shop

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
SLICE = timedelta(minutes=15)
FOLDER = "landing/clicks/2026/05/01/0800"
GOOD = '{{"event_id": "{}", "event_name": "page_view", "event_at": "2026-05-01T08:01:00Z", "customer_id": "C1"}}\n'


@pytest.fixture
def settings(server: ObjectStore, tmp_path: Path) -> Settings:
    return with_store(server, tmp_path)


def with_store(server: ObjectStore, root: Path, **changes: Any) -> Settings:
    shop = small_shop(object_storage=storage_yaml(server, **changes))
    return Settings(shop=shop, place=Place(root=root), shop_folder=root)


def landing(settings: Settings) -> StoreLanding:
    found = find_landing(settings)
    assert isinstance(found, StoreLanding)
    return found


def test_a_slice_of_the_store_gives_the_same_rows_and_quarantine_as_the_same_files_in_a_folder(
    server: ObjectStore, settings: Settings, tmp_path: Path
) -> None:
    local = settings.model_copy(
        update={"place": Place(root=tmp_path / "local"), "shop": settings.shop.model_copy(update={"object_storage": None})}
    )
    folder = slice_folder(local.place.landing / "clicks", START)
    folder.mkdir(parents=True)
    (folder / "b web.jsonl").write_text(GOOD.format(1) + GOOD.format(2) + "{broken\n", encoding="utf-8")
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(GOOD.format(2).encode()))
    (folder / "orders.txt").write_text("nobody reads this", encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.jsonl").write_text(GOOD.format(3), encoding="utf-8")
    (folder / "_hidden.jsonl").write_text(GOOD.format(4), encoding="utf-8")
    (folder / "half.jsonl.tmp").write_text(GOOD.format(5), encoding="utf-8")
    upload(server, local.place.landing)
    server.put(f"{FOLDER}/", b"")  # an empty object that some consoles make for a folder
    counts = write_raw_slice(settings, START)
    assert counts == write_raw_slice(local, START)
    assert (counts.files, counts.good, counts.quarantined, counts.duplicates) == (4, 2, 3, 1)
    quarantined = [
        [(entry.file, entry.line, entry.reason, entry.text) for entry in quarantined_lines(place, Selection())]
        for place in (settings.place, local.place)
    ]
    assert quarantined[0] == quarantined[1]
    assert {file for file, *_ in quarantined[0]} == {"b web.jsonl", "orders.txt", "sub"}
    assert list((settings.place.root / ".tmp").glob(".tmp-*")) == []
    assert not settings.place.landing.exists()


def test_an_object_of_the_same_size_put_again_within_a_second_changes_the_fingerprint(
    server: ObjectStore, settings: Settings
) -> None:
    server.put(f"{FOLDER}/web.jsonl", GOOD.format(1))
    first = landing(settings).slice(START)
    server.put(f"{FOLDER}/web.jsonl", GOOD.format(2))
    second = landing(settings).slice(START)
    server.put(f"{FOLDER}/web.jsonl", GOOD.format(1))
    assert first.files[0].size == second.files[0].size
    assert first.fingerprint != second.fingerprint
    assert landing(settings).slice(START).fingerprint == first.fingerprint  # the same content is no change
    assert landing(settings).slice(START + SLICE).fingerprint == "empty"


def test_an_upload_in_parts_is_seen_only_when_it_is_complete(server: ObjectStore, settings: Settings) -> None:
    begun = server.client.create_multipart_upload(Bucket=BUCKET, Key=f"{FOLDER}/web.jsonl")
    upload_id = {"Bucket": BUCKET, "Key": f"{FOLDER}/web.jsonl", "UploadId": begun["UploadId"]}
    sent = server.client.upload_part(**upload_id, PartNumber=1, Body=GOOD.format(1).encode())
    assert landing(settings).slice(START).files == ()
    assert write_raw_slice(settings, START).lines == 0
    parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
    server.client.complete_multipart_upload(**upload_id, MultipartUpload=parts)
    assert write_raw_slice(settings, START).good == 1


def test_a_lost_store_fails_the_slice_and_neither_the_old_slice_nor_a_file_is_touched(
    server: ObjectStore, settings: Settings, tmp_path: Path
) -> None:
    server.put(f"{FOLDER}/web.jsonl", GOOD.format(1))
    assert write_raw_slice(settings, START).good == 1
    part = raw_slice_folder(settings.place.raw, START) / PART
    before = part.read_bytes()
    lost = with_store(server, tmp_path, endpoint="http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"s3://acme/landing at http://127\.0\.0\.1:1: cannot be listed: the store does not"):
        write_raw_slice(lost, START, isolate=True)
    assert part.read_bytes() == before
    assert list(quarantined_lines(settings.place, Selection())) == []


def test_an_object_that_changes_while_it_is_fetched_is_read_as_it_is_then(
    server: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(f"{FOLDER}/web.jsonl", GOOD.format(1))
    changes = iter(range(2, 10))
    plain = object_store.ObjectStore.fetch

    def fetch(store: object_store.ObjectStore, wanted: object_store.StoredObject, target: Path) -> None:
        if (number := next(changes)) < most:
            server.put(f"{FOLDER}/web.jsonl", GOOD.format(number) * number)
        plain(store, wanted, target)

    monkeypatch.setattr(object_store.ObjectStore, "fetch", fetch)
    most = 4
    with landing(settings).open_slice(START) as listing:
        assert listing.files[0].path.read_text(encoding="utf-8") == GOOD.format(3) * 3
        assert listing.fingerprint == landing(settings).slice(START).fingerprint
    most = 99
    with pytest.raises(ObjectGoneError, match="has changed while it was read"), landing(settings).open_slice(START):
        pass


def test_a_slice_that_the_disk_cannot_take_is_not_fetched(
    server: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(f"{FOLDER}/web.jsonl", GOOD.format(1))
    monkeypatch.setattr(store_landing, "ROOM_LEFT", 10**18)
    with pytest.raises(DiskFullError, match=r"no room to read s3://acme/landing/clicks/2026/05/01/0800/: its objects have"):
        write_raw_slice(settings, START)


def test_reference_tables_come_from_the_store_and_a_lost_store_leaves_the_last_good_version(
    server: ObjectStore, settings: Settings, tmp_path: Path
) -> None:
    server.put("landing/reference/customers/a.csv", "customer_id\nC1\nC2\n")
    server.put("landing/reference/customers/more/b.csv", "customer_id\nC3\n")
    loaded = load_reference(settings, "customers", START)
    assert (loaded.rows, loaded.files, loaded.not_read) == (3, 2, "")
    lost = with_store(server, tmp_path, endpoint="http://127.0.0.1:1")
    again = load_reference(lost, "customers", START + SLICE)
    assert (again.rows, again.opened, again.closed) == (3, 0, 0)
    assert "the store does not answer" in again.not_read
    with pytest.raises(StoreError, match="the store does not answer"):
        load_reference(lost, "products", START)
    server.put("landing/reference/customers/a.csv", 'customer_id\n"C1\n')
    with pytest.raises(ValueError, match=r"s3://acme/landing/reference/customers/a\.csv"):
        load_reference(settings, "customers", START)


def test_a_line_that_keeps_the_contract_now_is_sent_back_into_the_store_once(server: ObjectStore, settings: Settings) -> None:
    bought = GOOD.format(1).replace('"page_view"', '"purchase", "order_id": "O1", "amount": 5, "currency": "USD"')
    server.put(f"{FOLDER}/web.jsonl", bought)
    assert write_raw_slice(settings, START).quarantined == 1
    in_dollars = settings.model_copy(update={"shop": settings.shop.model_copy(update={"currency": "USD"})})
    (sent,) = replay(in_dollars, Selection(), START + SLICE).written
    assert sent[1] == 1
    assert server.get(f"landing/{sent[0]}").decode() == bought
    again = replay(in_dollars, Selection(replayed_too=True), START + SLICE)
    assert (again.written, again.unchanged) == ([], [sent[0]])
    assert len(server.keys(FOLDER)) == 2
    assert not settings.place.landing.exists()


@pytest.mark.parametrize(("deletes", "left"), [(True, ["0800"]), (False, ["0000", "0800"])])
def test_old_slices_leave_the_store_unless_the_bucket_sees_to_it(
    server: ObjectStore, tmp_path: Path, deletes: bool, left: list[str]
) -> None:
    server.put("landing/clicks/2025/03/01/0000/web.jsonl", GOOD.format(1))
    server.put("landing/clicks/2026/05/01/0800/web.jsonl", GOOD.format(1))
    settings = with_store(server, tmp_path, delete_old_landing=deletes)
    decisions = [
        slice_folder(settings.place.landing / "offer_decisions", at) for at in (START, START - 500 * timedelta(days=1))
    ]
    for folder in decisions:  # they land in the local folder
        folder.mkdir(parents=True)
    removed = remove_old(settings, START, START)
    assert removed["landing_slices"] == int(deletes) + 1
    assert [folder.exists() for folder in decisions] == [True, False]
    assert [key.split("/")[-2] for key in server.keys("landing/")] == left


def keys_of(look: store_landing.Look) -> list[str]:
    return [f"{start:%d-%H%M}" for start in sorted(look.listed)]


def test_one_look_lists_the_last_day_and_a_piece_of_the_rest_with_bounded_requests(
    server: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(1, 6):
        for hour in (0, 6, 12, 18):
            for name in ("a", "b"):
                server.put(f"landing/clicks/2026/05/{day:02}/{hour:02}00/{name}.jsonl", b"{}")
    monkeypatch.setattr(object_store, "PAGE", 6)
    found = landing(settings)
    asked: list[str] = []
    events = found.store.client.meta.events
    events.register("before-send.s3", lambda request, **_: asked.append(request.url), unique_id="count")
    cursor = Cursor(high="2026-05-05-18:00")
    last = datetime(2026, 5, 5, 18, tzinfo=UTC)
    seen = set()
    for _ in range(6):
        asked.clear()
        look = found.look(cursor.high, cursor.scanned, last)
        assert len(asked) <= 2 + store_landing.OLD_PAGES
        assert {"04-1800", "05-0000", "05-0600", "05-1200", "05-1800"} <= set(keys_of(look))
        assert all(len(listing.files) == 2 for listing in look.listed.values())
        assert look.until == last
        seen |= set(keys_of(look))
        cursor = Cursor(high=cursor.high, scanned=look.scanned)
    events.unregister("before-send.s3", unique_id="count")
    assert seen == {f"{day:02}-{hour:02}00" for day in range(1, 6) for hour in (0, 6, 12, 18)}
    assert look.fingerprint(datetime(2026, 5, 5, 3, tzinfo=UTC)) == "empty"


def test_much_to_catch_up_is_listed_in_pieces_and_no_slice_is_taken_for_empty(
    server: ObjectStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = [START + number * SLICE for number in range(40)]
    for start in starts:
        server.put(f"landing/clicks/{start:%Y/%m/%d/%H%M}/web.jsonl", slice_key(start))
    for number in range(7):  # more than a look's pages in one slice
        server.put(f"landing/clicks/{starts[3]:%Y/%m/%d/%H%M}/{number}.jsonl", b"{}")
    monkeypatch.setattr(object_store, "PAGE", 3)
    monkeypatch.setattr(store_landing, "NEW_PAGES", 2)
    found = landing(settings)
    cursor, last, looks = Cursor(), starts[-1], 0
    done: dict[datetime, str] = {}
    while cursor.high != slice_key(last):
        look = found.look(cursor.high, cursor.scanned, last)
        assert look.until is not None
        for start in starts:
            if (not cursor.high or slice_key(start) > cursor.high) and start <= look.until:
                done[start] = look.fingerprint(start)
        cursor, looks = Cursor(high=slice_key(look.until), scanned=look.scanned), looks + 1
        assert looks < 40
    assert looks > 5
    assert done == {start: found.slice(start).fingerprint for start in starts}


def test_a_replayed_shop_stands_at_its_newest_slice_with_complete_objects(server: ObjectStore, settings: Settings) -> None:
    assert landing(settings).newest() is None
    for key in ("2025/12/31/2345/a.jsonl", "2026/05/01/0815/a.jsonl", "2026/05/01/0830/_a.jsonl", "2026/06/notes/x/a.jsonl"):
        server.put(f"landing/clicks/{key}", b"{}")
    assert landing(settings).newest() == START + SLICE
    assert [start for start, listing in landing(settings).slices() if listing.files] == [
        datetime(2025, 12, 31, 23, 45, tzinfo=UTC),
        START + SLICE,
    ]


def test_landing_is_a_folder_unless_shop_yaml_names_a_store_for_it(server: ObjectStore, tmp_path: Path) -> None:
    for storage in (None, ObjectStorage(**storage_yaml(server, landing=None))):
        shop = small_shop(object_storage=storage)
        assert isinstance(find_landing(Settings(shop=shop, place=Place(root=tmp_path), shop_folder=tmp_path)), FolderLanding)
