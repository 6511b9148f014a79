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
from customer360.adapters.source import SourceError
from customer360.lake.landing.contracts import CLICK_COLUMNS, MAX_AGE_DAYS, reference_tables
from customer360.settings import REPOSITORY, Place, load_shop
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
    reference = {f"reference/{name}/*.csv": name for name in ("customers", "products", "categories", "purchases")}
    with duckdb.connect() as connection:
        for path, name in {"clicks/*/*/*/*/*": "live", "history/*": "history", **reference}.items():
            read = "read_csv" if path.endswith(".csv") else "read_parquet"
            options = "all_varchar = true" if path.endswith(".csv") else "filename = true"
            connection.execute(f"create table {name} as from {read}('{place.landing}/{path}', {options})")
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
    assert landed.sql("select count(*), sum(amount::decimal(18, 2)), min(purchased_at), max(purchased_at) from purchases")[
        0
    ] == (
        9_000,
        Decimal("536000.30"),
        "2017-01-10T06:00:00Z",
        "2017-03-07T06:00:00Z",
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
    for name in ("customers", "products", "categories", "purchases"):
        contract = reference_tables(SHOP)[name]
        columns = {str(row[0]) for row in landed.sql(f"describe {name}")}
        assert {column.name for column in contract.columns if column.required} <= columns
        assert columns <= {column.name for column in contract.columns}
    assert set(SHOP.attributes) <= {str(row[0]) for row in landed.sql("describe customers")}


def _replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replaced("customer.csv", '\n2,"47"', '\n2,"old"'), "customer.csv, row 2, column age: 'old' is not a whole number"),
        (_replaced("customer.csv", '"T"', '"yes"'), "column is_head_of_household: 'yes' is not T or F"),
        (_replaced("customer.csv", "\n2,", "\n1,"), "customer.csv, row 2 repeats customer_id"),
        (_replaced("purchase.csv", "2017-01-10 06:00:00,45,", "10/01/2017,45,"), "purchase.csv, row 1, column purchased_at"),
        (_replaced("purchase.csv", ",45,T1,", ",45000,T1,"), "column customer_id: '45000' is not a customer of customer.csv"),
        (_replaced("purchase.csv", ",45,T1,16.4", ",45,T1,16.4,EUR"), "purchase.csv, row 1 has 5 columns, not the 4"),
        (_replaced("purchase.csv", "16.4", "nan"), "column amount: 'nan' is not an amount of money"),
        (_replaced("product.csv", "T1,", "T9,"), "product.csv, row 1, column product_id: 'T9' is not one of T1, T2, T3"),
        (_replaced("product.csv", "Apparel", "Garden"), "product.csv describes technology, garden, cosmetics; shop.yaml names"),
        (lambda folder: (folder / "purchase.csv").unlink(), "lacks purchase.csv; FROM=<folder>"),
    ],
)
def test_a_broken_source_is_named_with_row_and_column_and_nothing_is_written(
    source: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    copy, place = tmp_path / "source", Place(root=tmp_path / "data")
    copy.mkdir()
    for name in retail360.SOURCE_FILES:
        shutil.copyfile(source / name, copy / name)
    change(copy)
    with pytest.raises(SourceError, match=re.escape(message)):
        retail360.write_landing(SHOP, place, copy, share=SMALL_SHARE)
    assert not place.root.exists()
