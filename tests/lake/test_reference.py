"""Reference tables: what a broken file says, and which version of a row was in force when."""

from __future__ import annotations

import gzip
import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import history_file, reference_relation, versions_file
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.settings import Attribute, AttributeType, Place, Settings
from tests.support.random_shop import small_shop

FIRST = datetime(2026, 5, 1, tzinfo=UTC)
BEGINNING = datetime.fromisoformat("1970-01-01")
ATTRIBUTES = {
    "age": Attribute(type=AttributeType.INTEGER),
    "income": Attribute(type=AttributeType.DOUBLE),
    "city": Attribute(),
    "born_on": Attribute(type=AttributeType.DATE),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shop = small_shop(attributes={name: spec.model_dump() for name, spec in ATTRIBUTES.items()})
    return Settings(shop=shop, place=Place(root=tmp_path), shop_folder=tmp_path)


def at(day: int) -> datetime:
    return FIRST + timedelta(days=day)


def land(settings: Settings, table: str, files: dict[str, bytes | str]) -> None:
    folder = settings.place.landing / "reference" / table
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def versions(settings: Settings, table: str, columns: str) -> list[tuple[Any, ...]]:
    contract = reference_tables(settings.shop)[table]
    with duckdb.connect() as connection:
        return connection.execute(
            f"select {columns} from ({reference_relation(settings.place, contract)}) order by all"
        ).fetchall()


def as_of(settings: Settings, table: str, moment: datetime, columns: str) -> list[tuple[Any, ...]]:
    when = moment.replace(tzinfo=None)
    valid = [
        (start, end, row)
        for start, end, *row in versions(settings, table, f"valid_from, valid_to, {columns}")
        if start <= when and (end is None or end > when)
    ]
    return sorted(tuple(row) for *_, row in valid)


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_all_file_types_say_the_same(settings: Settings) -> None:
    row = {"customer_id": "007", "age": 30, "income": 1.5, "city": 'x, "y"', "born_on": "1996-05-01", "consent_email": True}
    sink = io.BytesIO()
    pq.write_table(pa.table({key: [value] for key, value in row.items()}), sink)
    files = {
        "a.csv": 'customer_id,age,income,city,born_on,consent_email\n007,30,1.5,"x, ""y""",1996-05-01,true\n',
        "[a].jsonl": jsonl(row),
        "a.jsonl.gz": gzip.compress(jsonl(row).encode()),
        "a*.parquet": sink.getvalue(),
    }
    for number, (name, data) in enumerate(files.items()):
        land(settings, "customers", {name: data})
        load = load_reference(settings, "customers", at(number))
        assert (load.rows, load.opened) == (1, 0 if number else 1)
    assert versions(settings, "customers", "* exclude (time_zone, valid_from, valid_to)") == [
        ("007", True, 30, 1.5, 'x, "y"', date(1996, 5, 1))
    ]


def test_text_stays_as_it_is_written(settings: Settings) -> None:
    ids = ["2026-05-01", "01:00", "1e5", "0012", "A1", "true", "null", "2026-05-01T00:00:00+02:00", "[1]"]
    land(
        settings,
        "customers",
        {"a.jsonl": jsonl(*({"customer_id": one, "city": one} for one in ids), {"customer_id": 5, "city": None})},
    )
    assert load_reference(settings, "customers", FIRST).rows == len(ids) + 1
    assert versions(settings, "customers", "customer_id") == [(one,) for one in sorted([*ids, "5"])]


def test_no_line_of_a_csv_is_taken_for_a_comment_or_a_preamble(settings: Settings) -> None:
    land(settings, "customers", {"a.csv": "customer_id,city\n#1,x\n#2,y\n3,# z\n"})
    assert load_reference(settings, "customers", FIRST).rows == 3


def test_mixed_and_missing_values_are_read_for_what_they_are(settings: Settings) -> None:
    line = {
        "order_id": "o",
        "product_id": "p",
        "customer_id": "c",
        "purchased_at": "2026-05-01T02:00:00+02:00",
        "amount": "1.5",
    }
    rows = [{**line, "line_no": ""}, {**line, "line_no": 1, "amount": 2}, {**line, "line_no": "2", "product_id": 7}]
    land(settings, "purchases", {"a.jsonl": jsonl(*rows)})
    load_reference(settings, "purchases", FIRST)
    moment = datetime.fromisoformat("2026-05-01")
    assert versions(settings, "purchases", "product_id, line_no, purchased_at, amount") == [
        ("7", 2, moment, Decimal("1.50")),
        ("p", 1, moment, Decimal("2.00")),
        ("p", None, moment, Decimal("1.50")),
    ]


def test_versions_close_and_open_and_the_first_is_valid_from_the_beginning(settings: Settings) -> None:
    loads = []
    for day, rows in enumerate(
        (
            [{"customer_id": "a", "age": 1}, {"customer_id": "b", "age": 1}],
            [{"customer_id": "a", "age": 2}, {"customer_id": "b", "age": 1}, {"customer_id": "c"}],
            [{"customer_id": "a", "age": 2}, {"customer_id": "c"}],
            [{"customer_id": "a", "age": 1}, {"customer_id": "b", "age": 1}, {"customer_id": "c"}],
        )
    ):
        land(settings, "customers", {"a.jsonl": jsonl(*rows)})
        loads.append(load_reference(settings, "customers", at(day)))
        assert load_reference(settings, "customers", at(day) + timedelta(hours=1)) == loads[-1].__class__(
            **{**vars(loads[-1]), "opened": 0, "closed": 0}
        )
    assert [(load.rows, load.opened, load.closed) for load in loads] == [(2, 2, 0), (3, 2, 1), (2, 0, 1), (3, 2, 1)]
    states = [as_of(settings, "customers", at(day), "customer_id, age") for day in (-9999, 0, 1, 2, 3)]
    assert states == [
        [("a", 1), ("b", 1)],
        [("a", 1), ("b", 1)],
        [("a", 2), ("b", 1), ("c", None)],
        [("a", 2), ("c", None)],
        [("a", 1), ("b", 1), ("c", None)],
    ]
    recorded = [json.loads(line) for line in versions_file(settings.place, "customers").read_text().splitlines()]
    assert [record["version"] for record in recorded] == [load.version for load in loads]
    assert len({load.version for load in loads}) == 4
    assert [record["valid_from"] for record in recorded] == ["beginning", *(at(day).isoformat() for day in (1, 2, 3))]


def test_the_order_of_rows_and_files_makes_no_version(settings: Settings) -> None:
    rows = [{"customer_id": str(number), "age": number} for number in range(20)]
    land(settings, "customers", {"a.jsonl": jsonl(*rows)})
    first = load_reference(settings, "customers", FIRST)
    land(settings, "customers", {"b.jsonl": jsonl(*rows[7:]), "a.jsonl": jsonl(*reversed(rows[:7]))})
    again = load_reference(settings, "customers", at(1))
    assert (again.version, again.opened, again.closed, again.files) == (first.version, 0, 0, 2)


def test_a_clock_that_goes_back_gives_no_moment_two_versions(settings: Settings) -> None:
    for moment, age in ((at(0), 1), (at(5), 2), (at(3), 3)):
        land(settings, "customers", {"a.jsonl": jsonl({"customer_id": "a", "age": age})})
        load_reference(settings, "customers", moment)
    assert [len(as_of(settings, "customers", at(day), "age")) for day in range(8)] == [1] * 8
    assert as_of(settings, "customers", at(6), "age") == [(3,)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.csv": "customer_id,age\na,1\nb,old\nc,2\n"}, ["a.csv", "row 2, column age", "'old' is not of type BIGINT"]),
        ({"a.csv": "customer_id,age\na,1.5\n"}, ["row 1, column age", "'1.5' is not of type BIGINT"]),
        ({"a.jsonl": jsonl({"customer_id": "a", "income": "NaN"})}, ["row 1, column income", "not of type DOUBLE"]),
        ({"a.csv": "customer_id,born_on\na,1.5.96\n"}, ["row 1, column born_on", "not of type DATE"]),
        ({"a.csv": "customer_id,consent_email\na,perhaps\n"}, ["row 1, column consent_email", "not of type BOOLEAN"]),
        ({"a.csv": 'customer_id,age\na,1\n"",2\n'}, ["row 2, column customer_id", "is empty but required"]),
        ({"a.csv": "id,age\na,1\n"}, ["a.csv lacks the required column customer_id", "it has id, age"]),
        (
            {"a.csv": "customer_id,age\na,1\n", "b.csv": "customer_id,age\na,2\n"},
            ["appear more than once", "a: a.csv row 1, b.csv row 1"],
        ),
        ({"a.jsonl": '{"customer_id": "a"}\n{"customer_id"\n'}, ["a.jsonl cannot be read"]),
        ({"a.parquet": b"PAR1"}, ["a.parquet cannot be read"]),
        ({"a.jsonl.gz": b"no gzip"}, ["a.jsonl.gz cannot be read"]),
        ({"a.csv": 'customer_id,age\n"a,1\n'}, ["a.csv cannot be read"]),
        ({"a.csv": "customer_id,age\na,1,2\n"}, ["a.csv cannot be read"]),
        ({"a.xlsx": b"PK"}, ["a.xlsx is of no known type"]),
    ],
)
def test_a_broken_file_names_itself_and_leaves_the_last_good_version_in_force(
    settings: Settings, files: dict[str, bytes | str], said: list[str]
) -> None:
    land(settings, "customers", {"good.csv": "customer_id,age\na,1\n"})
    load_reference(settings, "customers", FIRST)
    before = history_file(settings.place, "customers").read_bytes()
    land(settings, "customers", files)
    with pytest.raises(BrokenReferenceError) as refused:
        load_reference(settings, "customers", at(1))
    for words in ["customers", *said]:
        assert words in str(refused.value)
    assert history_file(settings.place, "customers").read_bytes() == before


def test_a_line_without_a_number_is_line_0_of_its_order(settings: Settings) -> None:
    line = {"order_id": "o", "product_id": "p", "customer_id": "c", "purchased_at": "2026-05-01", "amount": 1}
    land(settings, "purchases", {"a.jsonl": jsonl({**line, "line_no": 0}, line)})
    with pytest.raises(BrokenReferenceError, match="o / p / 0"):
        load_reference(settings, "purchases", FIRST)


def test_a_table_that_never_had_files_is_empty_and_typed_and_its_first_rows_are_valid_from_the_beginning(
    settings: Settings,
) -> None:
    assert versions(settings, "offers", "*") == []
    assert load_reference(settings, "offers", FIRST).rows == 0
    assert versions(settings, "offers", "*") == []
    land(settings, "offers", {"a.csv": "offer_id,name\nO1,Offer\n"})
    load_reference(settings, "offers", at(1))
    assert versions(settings, "offers", "offer_id, valid_from, valid_to") == [("O1", datetime(1970, 1, 1), None)]  # noqa: DTZ001  as DuckDB has it


def test_files_that_vanish_do_not_empty_a_table_but_a_file_without_rows_does(settings: Settings) -> None:
    land(settings, "offers", {"a.csv": "offer_id,name\nO1,Offer\n"})
    load_reference(settings, "offers", FIRST)
    land(settings, "offers", {})
    with pytest.raises(BrokenReferenceError, match="has no files any more"):
        load_reference(settings, "offers", at(1))
    assert versions(settings, "offers", "offer_id, valid_to") == [("O1", None)]
    land(settings, "offers", {"a.csv": "offer_id,name\n"})
    assert load_reference(settings, "offers", at(2)).closed == 1


def test_columns_that_nobody_reads_are_named(settings: Settings) -> None:
    land(settings, "customers", {"a.csv": "customer_id,shoe_size\na,44\n"})
    assert load_reference(settings, "customers", FIRST).ignored_columns == ["shoe_size"]


def test_a_new_attribute_is_empty_in_old_versions(settings: Settings, tmp_path: Path) -> None:
    old = settings.model_copy(update={"shop": small_shop()})
    land(old, "customers", {"a.csv": "customer_id,age\na,1\n"})
    load_reference(old, "customers", FIRST)
    load_reference(settings, "customers", at(1))
    assert versions(settings, "customers", "valid_from, age") == [(BEGINNING, None), (at(1).replace(tzinfo=None), 1)]


def test_loads_of_a_table_at_one_time_give_one_version(settings: Settings) -> None:
    land(settings, "products", {"a.csv": "product_id,category_id\nP1,books\n"})
    with ThreadPoolExecutor(4) as pool:
        loads = list(pool.map(lambda hour: load_reference(settings, "products", FIRST + timedelta(hours=hour)), range(4)))
    assert sorted(load.opened for load in loads) == [0, 0, 0, 1]
    assert len(versions_file(settings.place, "products").read_text(encoding="utf-8").splitlines()) == 1
