"""One published version per request, however many are published meanwhile, and no connection that nobody uses."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from customer360.lake.publishing.version import is_in_use
from customer360.services.desk.snapshots import NothingPublishedError, Snapshots
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop


@pytest.fixture
def shop(tmp_path: Path) -> ServedShop:
    shop = ServedShop(tmp_path, customers={"C1": {"segment": "Lost"}})
    write_shop(shop.settings)
    return shop


def test_a_request_reads_one_version_while_the_next_is_published(shop: ServedShop) -> None:
    shop.publish()
    snapshots = Snapshots(shop.settings)
    with snapshots.opened() as first:
        shop.customers["C1"]["segment"] = "Champion"
        shop.publish()
        with snapshots.opened() as second:
            answers = [snapshot.read("select segment from customer_profiles")["segment"].item() for snapshot in (first, second)]
        assert answers == ["Lost", "Champion"]
        assert first.as_of < second.as_of
        assert is_in_use(first.version.folder)
    assert not is_in_use(first.version.folder)


def test_requests_share_a_connection_and_see_nothing_of_each_other(shop: ServedShop) -> None:
    shop.publish()
    snapshots = Snapshots(shop.settings)
    with snapshots.opened() as first, snapshots.opened() as second:
        first.connection.execute("create temporary table chosen as select 'C1' as customer_id")
        assert second.read("select count(*) as found from duckdb_tables() where table_name = 'chosen'")["found"].item() == 0
        assert {snapshot.read("select current_setting('TimeZone') as zone")["zone"].item() for snapshot in (first, second)} == {
            "UTC"
        }
    assert len(snapshots._kept) == 1


def test_the_connection_of_an_old_version_is_closed_with_its_last_request(shop: ServedShop) -> None:
    shop.publish()
    snapshots = Snapshots(shop.settings)
    with snapshots.opened() as first:
        (kept,) = snapshots._kept.values()
        shop.publish()
        with snapshots.opened():
            pass
        assert first.read("select 1 as one")["one"].item() == 1
    assert kept not in snapshots._kept.values()
    with pytest.raises(Exception, match="closed"):
        kept.connection.execute("select 1")


def test_nothing_is_kept_where_nothing_is_published(shop: ServedShop) -> None:
    snapshots = Snapshots(shop.settings)
    with pytest.raises(NothingPublishedError), snapshots.opened():
        pass
    assert snapshots._kept == {}


def test_threads_read_whole_versions_while_others_are_published(shop: ServedShop) -> None:
    shop.tables["marker"] = "select 0 as number"
    shop.publish()
    snapshots, mixed, seen, is_over = Snapshots(shop.settings), [], set(), threading.Event()

    def read() -> None:
        is_last = False
        while not is_last:
            is_last = is_over.is_set()
            with snapshots.opened() as snapshot:
                first, again = (snapshot.read("select number from marker")["number"].item() for _ in range(2))
                seen.add(first)
                if not first == again == snapshot.version.publication.version - 1:
                    mixed.append((first, again, snapshot.version.publication.version))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 6):
        shop.tables["marker"] = f"select {number} as number"
        shop.publish()
    is_over.set()
    for reader in readers:
        reader.join()
    assert (mixed, 5 in seen) == ([], True)
    assert len(snapshots._kept) == 1
