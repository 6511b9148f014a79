"""What the retail360 shop lands, against the published facts of its files and of its simulator."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pytest

from customer360.adapters import retail360
from customer360.lake.landing.contracts import CLICK_COLUMNS, MAX_AGE_DAYS, reference_tables
from customer360.lake.landing.listing import list_folder
from customer360.lake.reference.reference import check_files, load_reference
from customer360.lake.reference.reference_history import reference_relation
from customer360.settings import REPOSITORY, Place, Settings, SettingsError, load_shop
from customer360.simulation.retail360_browsing import FASHION, PASSER_BY, TECHNOLOGY, groups_of, session
from tests.support.reference_data import reference_data

SHOP = load_shop(REPOSITORY / "shops" / "retail360" / "shop.yaml")
START = SHOP.slices_start.replace(tzinfo=None)
SMALL_SHARE = 0.01


@dataclass(frozen=True)
class Landed:
    """A landing folder as tables (clicks with the ``slice`` folder of each line, history, reference tables), and its counts."""

    connection: duckdb.DuckDBPyConnection
    counts: dict[str, int]

    def sql(self, query: str) -> list[tuple[object, ...]]:
        return self.connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def source() -> Path:
    return reference_data("customer360")


@pytest.fixture(scope="module")
def landed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Landed]:
    place = Place(root=tmp_path_factory.mktemp("retail360"))
    counts = retail360.write_landing(SHOP, place, source, share=SMALL_SHARE)
    settings = Settings(shop=SHOP, place=place, shop_folder=REPOSITORY / "shops" / "retail360")
    with duckdb.connect() as connection:
        for path, name in {"clicks/*/*/*/*/*": "live", "history/*": "history"}.items():
            connection.execute(f"create table {name} as from read_parquet('{place.landing}/{path}', filename = true)")
        for name in ("customers", "products", "categories", "purchases"):
            assert load_reference(settings, name, SHOP.slices_start).set_aside == 0
            connection.execute(f"create table {name} as {reference_relation(place, reference_tables(SHOP)[name])}")
        connection.execute("alter table live add column slice varchar; update live set slice = split_part(filename, '/', -2)")
        yield Landed(connection, counts)


def test_a_session_of_the_published_world_is_201_000_messages() -> None:
    days = [SHOP.slices_start - timedelta(days=back) for back in range(67)]
    messages = session([str(n) for n in range(6_000)], np.zeros(6_000, dtype=np.int64), days, seed=1, number=1)
    assert len(messages) == 201_000
    assert len(messages.group_by(["customer_id", "browsed_at"]).aggregate([])) == 201_000


@pytest.mark.parametrize(
    ("group", "mean", "deviation"),
    [
        (TECHNOLOGY, (700, None, None), (50, None, None)),
        (FASHION, (None, 1000, 650), (None, 50, 10)),
        (PASSER_BY, (None, None, None), (None, None, None)),
    ],
)
def test_each_group_browses_as_published(
    group: int, mean: tuple[float | None, ...], deviation: tuple[float | None, ...]
) -> None:
    days = [datetime(2017, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(50)]
    groups = np.full(400, group, dtype=np.int64)
    messages = session([str(n) for n in range(400)], groups, days, seed=3, number=1, share=1.0)
    for product, noise, average, spread in zip(("T1", "T2", "T3"), (10, 10, 15), mean, deviation, strict=True):
        seconds = messages[product].to_numpy()
        assert (seconds >= 0).all()
        if average is None:  # noise: the mean of |N(m, 10)| lies a little above m
            assert noise <= seconds.mean() < noise + 2
            assert seconds.max() < 80
        else:
            assert seconds.mean() == pytest.approx(average, rel=0.005)
            assert seconds.std() == pytest.approx(spread, rel=0.05)


def test_sessions_repeat_by_seed_and_differ_by_number() -> None:
    days = [datetime(2017, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(10)]
    first, repeated, second = (
        session(["a", "b", "c"], groups_of([frozenset()] * 3, [False] * 3), days, seed=5, number=n) for n in (1, 1, 2)
    )
    assert first.equals(repeated)
    assert not first.equals(second)


def test_who_buys_browses_what_they_buy() -> None:
    bought = [frozenset({"T1"}), frozenset({"T2"}), frozenset({"T3"}), frozenset(), frozenset()]
    groups = groups_of(bought, [True, True, True, True, False])
    assert list(groups) == [TECHNOLOGY, FASHION, FASHION, FASHION, PASSER_BY]


def test_no_customer_no_purchase_and_no_cent_is_lost(landed: Landed) -> None:
    assert landed.counts["customers"] == 6_000
    assert landed.sql("select count(distinct customer_id) from customers") == [(6_000,)]
    assert landed.sql("select count(*), sum(amount), min(purchased_at), max(purchased_at) from purchases")[0] == (
        9_000,
        Decimal("536000.30"),
        datetime(2017, 1, 10, 6),  # noqa: DTZ001  plain UTC
        datetime(2017, 3, 7, 6),  # noqa: DTZ001
    )
    assert landed.sql("select count(distinct (order_id, product_id)) from purchases") == [(9_000,)]


def test_the_data_name_the_categories_and_not_the_text_beside_them(landed: Landed) -> None:
    assert landed.sql("select product_id, category_id from products order by 1") == [
        ("T1", "technology"),
        ("T2", "apparel"),
        ("T3", "cosmetics"),
    ]
    assert set(SHOP.category_ids) == {"technology", "apparel", "cosmetics", "other"}


def test_the_thousand_who_buy_a_product_linger_on_it(landed: Landed) -> None:
    longest = landed.sql(
        """
        select bought.product_id, seen.product_id, round(avg(dwell_seconds), -1)
        from (select distinct customer_id, product_id from purchases) as bought
        inner join (from live union all by name from history) as seen using (customer_id)
        group by all having avg(dwell_seconds) > 50 order by 1, 2
        """
    )
    assert longest == [("T1", "T1", 700), ("T2", "T2", 1000), ("T2", "T3", 650), ("T3", "T2", 1000), ("T3", "T3", 650)]


def test_every_slice_is_a_new_session_of_all_67_days(landed: Landed) -> None:
    messages = int(6_000 * 67 * SMALL_SHARE)
    slices = landed.sql(
        "select slice, count(*), count(distinct (customer_id, event_at)), count(distinct event_at), max(event_at) "
        "from live group by slice order by slice"
    )
    assert slices == [(name, 3 * messages, messages, 67, START) for name in ("0600", "0615", "0630", "0645")]
    everything = "(from live union all by name from history)"
    assert landed.sql(f"select count(*) = count(distinct event_id) from {everything}") == [(True,)]
    assert landed.sql(f"select count(*) from {everything}") == [(landed.counts["browsing_lines"],)]


def test_the_history_ends_where_the_slices_begin_and_no_event_is_too_old(landed: Landed) -> None:
    ((first, last),) = landed.sql("select min(event_at), max(event_at) from history")
    assert (first, last) == (START - timedelta(days=66), START - timedelta(days=1))
    ((oldest,),) = landed.sql("select min(event_at) from live")
    assert isinstance(oldest, datetime)
    assert START - oldest < timedelta(days=MAX_AGE_DAYS)


def test_the_last_month_ends_up_as_full_as_the_history_showed_the_month_before(landed: Landed) -> None:
    def lines_a_day(days: str) -> list[tuple[object, ...]]:
        return landed.sql(f"select count(*) / count(distinct event_at) from {days}")

    last_month = f"event_at > timestamp '{START - timedelta(days=30)}'"
    ((before,),) = lines_a_day(f"history where not {last_month}")
    ((after,),) = lines_a_day(
        f"(from live union all by name from history) where {last_month} and event_at < timestamp '{START}'"
    )
    assert after == pytest.approx(before, rel=0.05)
    ((in_history,),) = lines_a_day(f"history where {last_month}")
    assert in_history == pytest.approx(float(str(before)) / 5, rel=0.05)


def test_the_files_keep_the_contracts(landed: Landed) -> None:
    clicks = {column.name for column in CLICK_COLUMNS}
    assert {str(row[0]) for row in landed.sql("describe history")} - {"filename"} <= clicks
    filled = " and ".join(f"count({name}) = count(*)" for name in SHOP.attributes)
    assert landed.sql(f"select {filled}, count(distinct is_head_of_household) from customers") == [(True, 2)]


def _replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def _copied(source: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    shutil.copytree(source, folder)
    change(folder)
    return folder


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        (
            "customers",
            _replaced("customer.csv", '\n2,"47"', '\n2,"old"'),
            "customers.csv row 2, column age: old is not a whole",
        ),
        (
            "customers",
            _replaced("customer.csv", '"T"', '"yes, so"'),
            "column is_head_of_household: yes, so is not true or false",
        ),
        ("customers", _replaced("customer.csv", "\n2,", "\n1,"), "customers.csv row 2, column customer_id: repeats the key"),
        (
            "purchases",
            _replaced("purchase.csv", "2017-01-10 06:00:00,45,", "10/01/2017,45,"),
            "purchases.csv row 1, column purch",
        ),
        ("purchases", _replaced("purchase.csv", ",45,T1,16.4", ",45,T1,16.4,EUR"), "has 5 fields, the header has 4"),
        ("purchases", _replaced("purchase.csv", "16.4", "nan"), "row 1, column amount: nan is not an amount of money"),
    ],
)
def test_a_broken_row_costs_itself_and_is_named_with_its_column(
    source: Path, tmp_path: Path, table: str, change: Callable[[Path], None], message: str
) -> None:
    place, copy = Place(root=tmp_path / "data"), _copied(source, tmp_path / "source", change)
    retail360.write_landing(SHOP, place, copy, share=SMALL_SHARE)
    settings = Settings(shop=SHOP, place=place, shop_folder=REPOSITORY / "shops" / "retail360")
    (file,) = list_folder(place.landing / "reference" / table).files
    checked = check_files(settings, table, (file,), 5, SHOP.slices_start)
    assert checked.set_aside == 1
    assert message in str(checked.problems[0])


def test_products_of_other_categories_are_refused_and_nothing_is_written(source: Path, tmp_path: Path) -> None:
    copy = _copied(source, tmp_path / "source", _replaced("product.csv", "Apparel", "Garden"))
    with pytest.raises(SettingsError, match=re.escape("product.csv describes technology, garden, cosmetics; shop.yaml names")):
        retail360.write_landing(SHOP, Place(root=tmp_path / "data"), copy, share=SMALL_SHARE)
    assert not (tmp_path / "data").exists()
