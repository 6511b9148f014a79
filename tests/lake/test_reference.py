"""Reference tables: errors of broken files, and the validity of the versions of a row."""

from __future__ import annotations

import gzip
import io
import json
import os
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
from customer360.lake.landing.values import NO_ID_AMBIGUOUS
from customer360.lake.raw.quarantine import quarantined_lines
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import first_loaded_at, history_file, reference_relation, versions_file
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
    assert versions(settings, "customers", "* exclude (time_zone, known_since, valid_from, valid_to)") == [
        ("007", True, 30, 1.5, 'x, "y"', date(1996, 5, 1))
    ]


def test_text_stays_as_it_is_written(settings: Settings) -> None:
    ids = ["2026-05-01", "01:00", "1e5", "0012", "A1", "true", "2026-05-01T00:00:00+02:00", "[1]"]
    rows = [{"customer_id": text, "city": text} for text in ids]
    land(settings, "customers", {"a.jsonl": jsonl(*rows, {"customer_id": 5, "city": "null"})})
    assert load_reference(settings, "customers", FIRST).rows == len(ids) + 1
    assert versions(settings, "customers", "customer_id") == [(text,) for text in sorted([*ids, "5"])]


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
    ("files", "message"),
    [
        ({"a.csv": "id,age\na,1\n"}, ["a.csv lacks the required column customer_id", "it has id, age"]),
        ({"a.jsonl": '{"customer_id"\n'}, ["a.jsonl cannot be read: line 1 is not valid JSON"]),
        ({"a.parquet": b"PAR1"}, ["a.parquet cannot be read"]),
        ({"a.jsonl.gz": b"no gzip"}, ["a.jsonl.gz cannot be read"]),
        ({"a.csv": 'customer_id,age\n"a,1\n'}, ["a.csv cannot be read"]),
        ({"a.csv": "customer_id,age\na,1,2\n"}, ["a.csv cannot be read: line 2 has 3 fields, the header has 2"]),
        ({"a.xlsx": b"PK"}, ["a.xlsx is of no known type"]),
        (
            {"a.csv": "customer_id,age\na,1\nb,old\nc,older\n"},
            ["2 of 3 rows break the contract", "a.csv row 2, column age: old is not a whole number", "Mend the file"],
        ),
        ({"a.parquet": pa.table({"customer_id": [b"a"]})}, ["a.parquet cannot be read by the contract", "type BLOB"]),
        (
            {"a.parquet": pa.table({"customer_id": ["a"], "age": [True]})},
            ["column age is of type BOOLEAN; write a whole number"],
        ),
    ],
)
def test_a_file_that_cannot_be_read_names_itself_and_leaves_the_last_good_version_in_force(
    settings: Settings, files: dict[str, Any], message: list[str]
) -> None:
    land(settings, "customers", {"good.csv": "customer_id,age\na,1\nb,2\n"})
    load_reference(settings, "customers", FIRST)
    before = history_file(settings.place, "customers").read_bytes()
    land(settings, "customers", {name: parquet(data) if isinstance(data, pa.Table) else data for name, data in files.items()})
    with pytest.raises(BrokenReferenceError) as refused:
        load_reference(settings, "customers", at(1))
    for part in ["customers", *message]:
        assert part in str(refused.value)
    assert history_file(settings.place, "customers").read_bytes() == before


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("files", "row", "column", "reason"),
    [
        ({"a.csv": "customer_id,age\na,1\nb,old\nc,2\n"}, 2, "age", "old is not a whole number"),
        ({"a.csv": "customer_id,age\na,1\nc,2\nb,1.5\n"}, 3, "age", "1.5 is not a whole number"),
        ({"a.jsonl": '{"customer_id": "a"}\n{"customer_id"\n{"customer_id": "c"}\n'}, 2, "", "is not valid JSON"),
        ({"a.csv": "customer_id,age\na,1\nb,1,2\nc,2\n"}, 2, "", "has 3 fields, the header has 2"),
        ({"a.csv.gz": gzip.compress(b"customer_id,age\na,1\nb,1,2\nc,2\n")}, 2, "", "has 3 fields, the header has 2"),
        ({"a.csv": 'customer_id,age\na,1\n"",2\nc,2\n'}, 2, "customer_id", "is empty but required"),
        ({"a.csv": "customer_id,age\na,1\n(not set),2\nc,2\n"}, 2, "customer_id", "(not set) is a placeholder, no id"),
        ({"a.csv": "customer_id,age\na,1\n1001.0,2\nc,2\n"}, 2, "customer_id", f"1001.0 {NO_ID_AMBIGUOUS}"),
        ({"a.csv": "customer_id,time_zone\na,\nb,PST\nc,europe/berlin\n"}, 2, "time_zone", "PST is not an IANA time zone"),
        ({"a.csv": "customer_id,born_on\na,\nb,1.5.96\nc,1996-05-01\n"}, 2, "born_on", "1.5.96 is not a date (YYYY-MM-DD)"),
        ({"a.csv": "customer_id,born_on\na,\nb,infinity\nc,9999-12-31\n"}, 2, "born_on", "infinity is not a date"),
        ({"a.csv": "customer_id,consent_email\na,true\nb,perhaps\nc,no\n"}, 2, "consent_email", "perhaps is not true or false"),
        (
            {"a.jsonl": '{"customer_id":"a"}\n{"customer_id":"b","income":NaN}\n{"customer_id":"c"}'},
            2,
            "income",
            "NaN is not a fin",
        ),
        ({"a.csv": "customer_id,age\na,1\nc,1\n", "b.csv": "customer_id,age\na,2\n"}, 1, "customer_id", "repeats the key"),
        ({"a.csv": "customer_id,age\na,1\na ,2\nc,1\n"}, 2, "customer_id", "repeats the key (customer_id) of a.csv row 1"),
        (
            {"a.parquet": pa.table({"customer_id": ["a", "b", "c"], "income": [1.0, float("-inf"), 2.0]})},
            *(2, "income", "-inf is not a finite number"),
        ),
        (
            {"a.parquet": pa.table({"customer_id": ["a", "b", "c"], "born_on": pa.array([None, 2**31 - 1, 1], pa.date32())})},
            *(2, "born_on", "infinity is not a date"),
        ),
    ],
)
def test_a_broken_row_is_set_aside_with_file_row_column_and_reason_and_the_others_are_loaded(
    settings: Settings, files: dict[str, Any], row: int, column: str, reason: str
) -> None:
    land(settings, "customers", {name: parquet(data) if isinstance(data, pa.Table) else data for name, data in files.items()})
    load = load_reference(settings, "customers", FIRST)
    assert (load.rows, load.set_aside) == (2, 1)
    assert versions(settings, "customers", "customer_id") == [("a",), ("c",)]
    (entry,) = quarantined_lines(settings.place)
    assert (entry.slice, entry.file, entry.line, entry.column) == ("reference/customers", list(files)[-1], row, column)
    assert entry.reason.startswith(reason)
    land(settings, "customers", {"a.csv": "customer_id\na\nc\n"})
    assert load_reference(settings, "customers", at(1)).set_aside == 0
    assert quarantined_lines(settings.place) == []


def test_files_of_a_first_load_whose_rows_are_mostly_broken_are_taken_every_night(settings: Settings) -> None:
    land(settings, "customers", {"a.csv": "customer_id,age\na,1\nb,old\nc,older\n"})
    for night in range(3):
        load = load_reference(settings, "customers", at(night))
        assert (load.rows, load.set_aside) == (1, 2)
    land(settings, "customers", {"a.csv": "customer_id,age\na,none\nb,old\nc,older\n"})
    with pytest.raises(BrokenReferenceError, match="3 of 3 rows break the contract"):
        load_reference(settings, "customers", at(3))


@pytest.mark.parametrize(
    "moment", ["infinity", "-infinity", "12026-05-01", "0044-03-15", "1969-12-31", "2200-01-01", "2026-05-01 BST"]
)
def test_a_moment_outside_all_time_costs_its_row_alone(settings: Settings, moment: str) -> None:
    lines = [f"o{number},p,c,{time},1" for number, time in enumerate(("2026-05-01", moment))]
    land(settings, "purchases", {"a.csv": "\n".join(["order_id,product_id,customer_id,purchased_at,amount", *lines])})
    assert load_reference(settings, "purchases", FIRST).set_aside == 1
    assert versions(settings, "purchases", "order_id") == [("o0",)]


def test_ids_of_every_type_of_file_are_one_customer(settings: Settings) -> None:
    land(settings, "customers", {"a.csv": "customer_id,age\n1001,1\n1002,1\nC-9,1\n"})
    load_reference(settings, "customers", FIRST)
    for number, files in enumerate(
        (
            {"a.parquet": parquet(pa.table({"customer_id": [1001.0, 1002.0], "age": [2, 2]}))},
            {
                "a.parquet": parquet(
                    pa.table({"customer_id": pa.array([Decimal("1001.0"), Decimal(1002)], pa.decimal128(9, 1))})
                )
            },
            {"a.jsonl": '{"customer_id": 1001.0, "age": 3}\n{"customer_id": "1002\\u00a0"}\n'},
        ),
        1,
    ):
        land(settings, "customers", files)
        assert (load_reference(settings, "customers", at(number)).rows, number) == (2, number)
        assert [name for (name,) in as_of(settings, "customers", at(number), "customer_id")] == ["1001", "1002"]


LINES = "order_id,product_id,line_no,customer_id,purchased_at,amount\n"


def lines(*rows: str) -> str:
    """Purchases of o and p: ``line_no,amount``, or with the minute of the purchase behind it."""
    cells = [(*row.split(","), "0")[:3] for row in rows]
    return LINES + "".join(f"o,p,{line_no},c,2026-05-01T10:{minute:>02}:00Z,{amount}\n" for line_no, amount, minute in cells)


@pytest.mark.parametrize(
    ("files", "amounts", "set_aside"),
    [
        ({"a.csv": lines(",10", ",15")}, [10, 15], 0),
        ({"a.csv": lines(",10", ",10", ",10,5")}, [10, 10, 10], 0),  # in doubt, and counted
        ({"a.csv": lines(",10", ",-10")}, [-10, 10], 0),
        ({"a.csv": lines(",10", "1,10", "0,7")}, [10, 10], 1),  # empty counts as 0: the producer says that 0 is the same line
        ({"a.csv": lines("1,10", "1,15")}, [10], 1),
        ({"a.csv": lines(",10", ",10"), "b.csv": lines(",10", ",15")}, [10, 10, 15], 1),  # exports that overlap
        ({"a.csv": lines(",10"), "b.csv": lines(",10", ",10", ",10")}, [10, 10, 10], 1),
    ],
)
def test_rows_without_a_line_number_are_lines_of_their_own(
    settings: Settings, files: dict[str, bytes | str], amounts: list[int], set_aside: int
) -> None:
    land(settings, "purchases", files)
    assert load_reference(settings, "purchases", FIRST).set_aside == set_aside
    assert [amount for (amount,) in versions(settings, "purchases", "amount")] == amounts
    numbers = versions(settings, "purchases", "coalesce(line_no, 0)")
    assert len(set(numbers)) == len(amounts)


def test_the_order_of_rows_makes_no_new_version_and_a_new_line_closes_none_of_the_others(settings: Settings) -> None:
    land(settings, "purchases", {"a.csv": lines(",10", ",15", ",15")})
    load_reference(settings, "purchases", FIRST)
    land(settings, "purchases", {"a.csv": lines(",15", ",10", ",15")})
    load = load_reference(settings, "purchases", at(1))
    assert (load.opened, load.closed) == (0, 0)
    land(settings, "purchases", {"a.csv": lines(",15", ",10", ",15", ",20")})
    load = load_reference(settings, "purchases", at(2))
    assert (load.rows, load.opened, load.closed) == (4, 1, 0)
    assert [amount for (amount,) in as_of(settings, "purchases", at(1), "amount")] == [10, 15, 15]


def test_when_a_table_was_first_loaded_is_known_also_of_places_of_release_0_1_0(settings: Settings) -> None:
    assert first_loaded_at(settings.place, "customers") is None
    land(settings, "customers", {"a.csv": "customer_id\na\n"})
    load_reference(settings, "customers", at(0))
    land(settings, "customers", {"a.csv": "customer_id\na\nb\n"})
    load_reference(settings, "customers", at(3))
    assert first_loaded_at(settings.place, "customers") == at(0).replace(tzinfo=None)
    records = [json.loads(line) for line in versions_file(settings.place, "customers").read_text().splitlines()]
    for record in records:
        del record["loaded_at"]
    versions_file(settings.place, "customers").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert first_loaded_at(settings.place, "customers") == at(3).replace(tzinfo=None)  # it was before that
    versions_file(settings.place, "customers").write_text(json.dumps(records[0]) + "\n")
    os.utime(history_file(settings.place, "customers"), (at(2).timestamp(), at(2).timestamp()))
    assert first_loaded_at(settings.place, "customers") == at(2).replace(tzinfo=None)  # when its only version was written


def test_known_since_holds_for_all_versions_as_the_newest_file_says(settings: Settings) -> None:
    """A shop that adds the column later says something of the past, not of now on."""
    land(settings, "customers", {"a.csv": "customer_id,age\na,1\nb,1\ngone,1\n"})
    load_reference(settings, "customers", at(0))
    land(settings, "customers", {"a.csv": "customer_id,age\na,2\nb,1\n"})
    load_reference(settings, "customers", at(1))
    land(settings, "customers", {"a.csv": "customer_id,age,known_since\na,2,2025-03-01\nb,1,\n"})
    load = load_reference(settings, "customers", at(2))
    assert (load.opened, load.closed) == (0, 0)
    since = datetime.fromisoformat("2025-03-01")
    found = versions(settings, "customers", "customer_id, age, known_since")
    assert found == [("a", 1, since), ("a", 2, since), ("b", 1, None), ("gone", 1, None)]
    land(settings, "customers", {"a.csv": "customer_id,age,known_since\na,3,2025-03-02\nb,1,\n"})
    load = load_reference(settings, "customers", at(3))
    assert (load.opened, load.closed) == (1, 1)
    assert {row[2] for row in versions(settings, "customers", "customer_id, age, known_since") if row[0] == "a"} == {
        since + timedelta(days=1)
    }


def test_of_two_rows_of_a_customer_the_first_stays_and_consents_only_where_both_give_them(settings: Settings) -> None:
    text = "customer_id,consent_email,age\na,true,1\nb,true,1\na,false,2\nb,true,2\n"
    land(settings, "customers", {"a.csv": text})
    assert load_reference(settings, "customers", FIRST).set_aside == 2
    assert versions(settings, "customers", "customer_id, consent_email, age") == [("a", False, 1), ("b", True, 1)]


def test_amounts_in_exponent_form_are_read_for_what_they_are(settings: Settings) -> None:
    line = {"order_id": "o", "product_id": "p", "customer_id": "c", "purchased_at": "2026-05-01"}
    amounts = [5.551115123125783e-17, "-5.684341886080802e-14", "1.5e2", 19.995]
    rows = [{**line, "line_no": number, "amount": amount} for number, amount in enumerate(amounts)]
    land(settings, "purchases", {"a.jsonl": jsonl(*rows)})
    load_reference(settings, "purchases", FIRST)
    found = [amount for _, amount in versions(settings, "purchases", "line_no, amount")]
    assert found == [Decimal(0), Decimal(0), Decimal(150), Decimal("20.00")]


def test_a_line_without_a_number_is_line_0_of_its_order(settings: Settings) -> None:
    line = {"order_id": "o", "product_id": "p", "customer_id": "c", "purchased_at": "2026-05-01", "amount": 1}
    land(settings, "purchases", {"a.jsonl": jsonl({**line, "line_no": 0}, line)})
    assert load_reference(settings, "purchases", FIRST).set_aside == 1
    assert versions(settings, "purchases", "line_no") == [(0,)]


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


def test_a_purchase_without_a_customer_is_a_guest_order_however_the_file_writes_nobody(settings: Settings) -> None:
    written = ["c1", "", "-", "null", "(not set)"]
    rows = "".join(f"o{number},p,{number},{customer},2026-04-01,1\n" for number, customer in enumerate(written))
    land(settings, "purchases", {"a.csv": f"order_id,product_id,line_no,customer_id,purchased_at,amount\n{rows}"})
    load = load_reference(settings, "purchases", FIRST)
    assert (load.rows, load.set_aside) == (5, 0)
    assert versions(settings, "purchases", "order_id, customer_id") == [
        ("o0", "c1"),
        ("o1", None),
        ("o2", None),
        ("o3", None),
        ("o4", None),
    ]


def test_a_file_without_the_column_of_customers_is_refused_since_it_may_have_another_name(settings: Settings) -> None:
    land(settings, "purchases", {"a.csv": "order_id,product_id,client,purchased_at,amount\no1,p,c1,2026-04-01,1\n"})
    with pytest.raises(BrokenReferenceError, match="lacks the required column customer_id; it has order_id,"):
        load_reference(settings, "purchases", FIRST)


def test_a_product_without_a_category_is_a_product(settings: Settings) -> None:
    land(settings, "products", {"a.csv": "product_id,name,category_id\np1,Vase,\np2,Cup,n/a\np3,Lamp,lamps\n"})
    load = load_reference(settings, "products", FIRST)
    assert (load.rows, load.set_aside) == (3, 0)
    assert versions(settings, "products", "product_id, category_id") == [("p1", None), ("p2", None), ("p3", "lamps")]


def test_each_fault_costs_its_row_alone(settings: Settings) -> None:
    files = {
        "customers": "customer_id,age\nc1,30\nc1,31\nc2,40\nc3,old\n",
        "purchases": "order_id,product_id,line_no,customer_id,purchased_at,amount\n"
        "o1,p,1,c1,2026-04-01,12.50\no2,p,1,c1,2026-04-01,a lot\no3,p,1,c1,soon,3\no4,,1,c1,2026-04-01,3\n",
    }
    for table, text in files.items():
        land(settings, table, {"a.csv": text})
    assert (load_reference(settings, "customers", FIRST).rows, load_reference(settings, "purchases", FIRST).rows) == (2, 1)
    aside = [(entry.slice, entry.line, entry.column) for entry in quarantined_lines(settings.place)]
    assert aside == [
        ("reference/customers", 2, "customer_id"),
        ("reference/customers", 4, "age"),
        ("reference/purchases", 2, "amount"),
        ("reference/purchases", 3, "purchased_at"),
        ("reference/purchases", 4, "product_id"),
    ]
    assert versions(settings, "customers", "customer_id, age") == [("c1", 30), ("c2", 40)]
    assert versions(settings, "purchases", "order_id, amount") == [("o1", Decimal("12.50"))]


def test_an_offer_whose_condition_is_unknown_costs_its_row_and_names_file_row_column_and_remedy(settings: Settings) -> None:
    rows = ["O1,Ten,always,", "O2,Five,top_user,users=5", "O3,Far,distance,over=many", "O4,Near,segment,segments=Champions"]
    land(settings, "offers", {"a.csv": "\n".join(["offer_id,name,condition,parameters", *rows]) + "\n"})
    load = load_reference(settings, "offers", FIRST)
    assert (load.rows, load.set_aside) == (2, 2)
    name, value = quarantined_lines(settings.place)
    assert (name.slice, name.file, name.line, name.column) == ("reference/offers", "a.csv", 2, "condition")
    assert name.reason.startswith("top_user is no condition; did you mean top_users? There are always, ")
    assert (value.file, value.line, value.column) == ("a.csv", 3, "parameters")
    assert value.reason.startswith("over=many is not right for the condition distance: over must be a valid number")
    assert all("is no" in fault and "over=many" not in fault for fault in load.faults)  # the value stays in the quarantine
    assert versions(settings, "offers", "offer_id, parameters") == [("O1", None), ("O4", "segments=Champions")]


def test_a_mended_offer_comes_into_force_and_offers_of_an_earlier_release_keep_their_rows(settings: Settings) -> None:
    land(settings, "offers", {"a.csv": "offer_id,name,condition,is_default\nO1,Ten,date,true\nO2,Five,always,true\n"})
    assert load_reference(settings, "offers", FIRST).set_aside == 1
    land(settings, "offers", {"a.csv": "offer_id,name,condition,is_default\nO1,Ten,date,\nO2,Five,always,true\n"})
    load = load_reference(settings, "offers", at(1))
    assert (load.rows, load.set_aside, load.faults) == (2, 0, ())
