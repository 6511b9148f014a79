"""Rows are kept as long as the files of the tables that a query names are the same, and a query of too many rows is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import duckdb
import pytest

from customer360.kept import Kept
from customer360.services.desk.kept_rows import kept_rows
from customer360.services.desk.snapshots import Snapshots
from tests.desk.in_django import Desk
from tests.services.api_server import write_shop
from tests.services.served_shop import ServedShop

LOST = "select count(*) as customers from customer_profiles where segment = 'Lost'"


@pytest.fixture
def shop(tmp_path: Path) -> ServedShop:
    shop = ServedShop(tmp_path, customers={"C1": {"segment": "Lost"}})
    write_shop(shop.settings)
    shop.publish()
    return shop


def test_rows_are_read_again_when_their_table_is_published_anew_and_only_then(shop: ServedShop) -> None:
    snapshots = Snapshots(shop.settings)
    with snapshots.opened() as snapshot:
        first = kept_rows(snapshot, LOST)
        assert kept_rows(snapshot, LOST) is first
    shop.customers["C2"] = {"segment": "Lost"}
    shop.publish()
    with snapshots.opened() as snapshot:
        assert (first["customers"].item(), kept_rows(snapshot, LOST)["customers"].item()) == (1, 2)


def test_another_parameter_is_another_query(shop: ServedShop) -> None:
    query = "select $number::integer + count(*) as found from customer_profiles"
    with Snapshots(shop.settings).opened() as snapshot:
        assert [kept_rows(snapshot, query, {"number": number})["found"].item() for number in (1, 2, 1)] == [2, 3, 2]


def test_a_query_that_fails_is_asked_again(shop: ServedShop) -> None:
    with Snapshots(shop.settings).opened() as snapshot:
        for _ in range(2):
            with pytest.raises(duckdb.CatalogException):
                kept_rows(snapshot, "from nothing_of_this_name")


def test_who_asks_meanwhile_waits_for_the_first() -> None:
    kept, made, may_end = Kept[int](2), list[int](), Event()

    def make() -> int:
        made.append(1)
        assert may_end.wait(60)
        return 7

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(kept.of, "key", make) for _ in range(4)]
        may_end.set()
        assert [task.result(60) for task in asked] == [7] * 4
    assert made == [1]
    assert kept.of("key", lambda: 8) == 7
    assert [kept.of(key, lambda: 9) for key in ("b", "c")] == [9, 9]
    assert kept.of("key", lambda: 8) == 8  # the two that were used last stay


def test_a_table_of_too_many_rows_is_no_download(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("customer360.services.desk.kept_rows.MOST_ROWS", 1)
    answer = desk.client("viewer").get("/models/?csv=losses")
    assert (answer.status_code, "Choose a shorter period" in answer.content.decode()) == (413, True)
    assert "Choose a shorter period" in desk.client("viewer").get("/models/").content.decode()
