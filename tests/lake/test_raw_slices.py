"""Landed click files to raw slices: the click contract rule by rule, every file type, and other entries of a folder."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from customer360.lake.checking.remedies import remedy
from customer360.lake.landing import checked_lines, reading, values
from customer360.lake.landing.checked_lines import BrokenFileError
from customer360.lake.landing.contracts import CLICK_COLUMNS
from customer360.lake.raw.history import history_folder, write_history
from customer360.lake.raw.raw_clicks import PART, RAW_COLUMNS, SliceCounts, quarantine_folder, raw_slice_folder
from customer360.lake.raw.raw_clicks import write_raw_slice as write
from customer360.settings import Place, Settings
from tests.support import oracle
from tests.support.random_shop import random_shop, small_shop

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SHOP = small_shop()
Line = dict[str, Any]


def click(event_id: str = "e1", **columns: Any) -> Line:
    return {"event_id": event_id, "event_name": "view_item", "event_at": "2026-05-01T12:01:00Z", "visitor_id": "v", **columns}


def purchase(**columns: Any) -> Line:
    return click(**{"event_name": "purchase", "order_id": "o", "amount": 5, **columns})


def jsonl(*lines: Line | str) -> bytes:
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines).encode()


def as_csv(*lines: Line) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def parquet(columns: dict[str, pa.Array]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def land(settings: Settings, files: dict[str, bytes], start: datetime = NOON) -> Path:
    folder = settings.place.landing / "clicks" / start.strftime("%Y/%m/%d/%H%M")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def parquet_rows(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(f"select {columns} from read_parquet('{path}', hive_partitioning = false)").fetchall()


def good(settings: Settings, columns: str, start: datetime = NOON) -> list[tuple[Any, ...]]:
    return sorted(parquet_rows(raw_slice_folder(settings.place.raw, start) / PART, columns))


def quarantined(settings: Settings, columns: str = "source_file, source_line, column_name, reason") -> list[tuple[Any, ...]]:
    return parquet_rows(quarantine_folder(settings.place.quarantine, NOON) / PART, columns)


def check_books(settings: Settings, counts: SliceCounts) -> None:
    """In = good + quarantined + duplicates, in the counts and in the files."""
    rows, bad = good(settings, "source_file, source_line, event_key"), quarantined(settings, "source_file, source_line")
    assert (len(rows), len(bad)) == (counts.good, counts.quarantined)
    assert counts.lines == counts.good + counts.quarantined + counts.duplicates
    assert counts.duplicates >= 0
    assert len({key for *_, key in rows}) == len(rows)
    assert not {(file, line) for file, line, _ in rows} & set(bad)


NO_TIMES = [
    *("infinity", "-infinity", "2026-05-01 12:01:00 BST", "2026-05-01T12:01:00IST", "2026-05-01T12:01:00 GMT+1"),
    *("2026-05-01T12:01:00+99:00", "2026-05-01T12:01:00+14:01", "2026-05-01T12:01:00+02:60", "2026-05-01T24:00:00Z"),
    *("2026-05-01T12:01:60Z", "2026-W18-5", "2026-121", "20260501T120100Z", "12026-05-01T12:01:00Z"),
]
ANOTHER_TYPE = "; write {} into it, or leave the column out"

# ---- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (click(event_id=None), "event_id", "is missing"),
        (click(event_id=""), "event_id", "is missing"),
        (click(event_name=None), "event_name", "is missing"),
        (click(event_at=None), "event_at", "is missing"),
        (click(event_at="yesterday"), "event_at", "yesterday is not a timestamp (ISO 8601, UTC)"),
        (click(event_at=1777636860), "event_at", "1777636860 is not a timestamp (ISO 8601, UTC)"),
        (
            click(event_at="2026-05-01T13:15:00.001Z"),
            "event_at",
            "2026-05-01T13:15:00.001Z is more than 1 hour after the end of its slice",
        ),
        (click(event_at="2025-03-27T11:59:59Z"), "event_at", "2025-03-27T11:59:59Z is over 400 days before its slice"),
        *((click(event_at=text), "event_at", f"{text} is not a timestamp (ISO 8601, UTC)") for text in NO_TIMES),
        (click(event_id="-"), "event_id", "is missing"),
        (click(visitor_id="00000000-0000-0000-0000-000000000000"), "customer_id", "is missing, and visitor_id too"),
        (click(visitor_id="(not set)", customer_id="\N{NO-BREAK SPACE}"), "customer_id", "is missing, and visitor_id too"),
        (click(visitor_id="- -", customer_id='""'), "customer_id", "is missing, and visitor_id too"),
        (click(customer_id="1001.0"), "customer_id", f"1001.0 {values.NO_ID_AMBIGUOUS}"),
        (click(customer_id="1.001e3"), "customer_id", f"1.001e3 {values.NO_ID_AMBIGUOUS}"),
        (click(customer_id=1001.5), "customer_id", f"1001.5 {values.NO_ID_NUMBER}"),
        (click(customer_id=float("nan")), "customer_id", f"NaN {values.NO_ID_NUMBER}"),
        (click(customer_id=2.0**53), "customer_id", f"9007199254740992.0 {values.NO_ID_NUMBER}"),
        (click(customer_id="c\N{ZERO WIDTH SPACE}9"), "customer_id", "c\N{ZERO WIDTH SPACE}9 " + values.NO_ID_INVISIBLE),
        (click(product_id="a\nb"), "product_id", f"a\nb {values.NO_ID_INVISIBLE}"),
        (click(quantity="1_000"), "quantity", "1_000 is not a finite number"),
        (click(amount="0x1F"), "amount", "0x1F is not an amount of money"),
        (click(visitor_id=None), "customer_id", "is missing, and visitor_id too"),
        (click(visitor_id="", customer_id=""), "customer_id", "is missing, and visitor_id too"),
        (click(dwell_seconds=-0.5), "dwell_seconds", "-0.5 is below 0"),
        (click(dwell_seconds="long"), "dwell_seconds", "long is not a finite number"),
        (click(dwell_seconds="NaN"), "dwell_seconds", "NaN is not a finite number"),
        (click(dwell_seconds="1e400"), "dwell_seconds", "1e400 is not a finite number"),
        (click(quantity="many"), "quantity", "many is not a finite number"),
        (click(quantity=[1]), "quantity", "[1] is not a finite number"),
        (click(line_no="first"), "line_no", "first is not a whole number"),
        (click(line_no=1.5), "line_no", "1.5 is not a whole number"),
        (click(amount="free"), "amount", "free is not an amount of money"),
        (click(amount="NaN"), "amount", "NaN is not an amount of money"),
        (click(amount=1e30), "amount", "1e30 is not an amount of money"),
        (purchase(order_id=None), "order_id", "is missing in a purchase"),
        (purchase(amount=""), "amount", "is missing in a purchase"),
        (purchase(currency="USD"), "currency", "USD is not the currency of the shop (EUR)"),
        (click(currency="eur"), "currency", "eur is not the currency of the shop (EUR)"),
        ('{"event_id": "e1"', "", "not valid JSON"),
        ("[1, 2]", "", "not a JSON object"),
        ("null", "", "not a JSON object"),
        ("x" * (reading.MAX_LINE_BYTES + 1), "", "longer than 1048576 bytes"),
        (json.dumps(click())[:-1] + ', "deep": ' + "[" * 200_000 + "]" * 200_000 + "}", "", "nested too deeply"),
    ],
)
def test_a_line_that_breaks_a_rule_goes_to_quarantine_with_its_column_and_reason(
    settings: Settings, line: Line | str, column: str, reason: str
) -> None:
    land(settings, {"a.jsonl": jsonl(click("before"), line, click("after"))})
    counts = write(settings, NOON)
    assert counts == SliceCounts(files=1, lines=3, good=2, quarantined=1, duplicates=0)
    ((file, number, found_column, found_reason, text),) = quarantined(settings, "*")
    shown = found_reason.replace("1e+30", "1e30")
    assert (file, number, found_column, shown) == ("a.jsonl", 2, column, reason)
    assert (line if isinstance(line, str) else json.dumps(line)).startswith(text.rstrip("\n"))


@pytest.mark.parametrize(
    ("columns", "typed"),
    [
        ({"event_at": "2026-05-01T13:15:00Z"}, "timestamp '2026-05-01 13:15:00'"),  # an hour after the end is the last moment
        ({"event_at": "2025-03-27T12:00:00Z"}, "timestamp '2025-03-27 12:00:00'"),  # so are 400 days before the start
        ({"event_at": "2026-05-01T14:00:00+02:00"}, "timestamp '2026-05-01 12:00:00'"),
        ({"event_at": "2026-05-01 12:00:00.123456"}, "timestamp '2026-05-01 12:00:00.123456'"),
        ({"event_at": "2026-05-01"}, "timestamp '2026-05-01 00:00:00'"),
        ({"customer_id": "c", "visitor_id": None}, "'c'"),
        ({"customer_id": 7, "visitor_id": ""}, "'7'"),
        ({"event_at": "2026-05-01T12:00Z"}, "timestamp '2026-05-01 12:00:00'"),
        ({"event_at": "2026-05-01t14:00:00,5+02"}, "timestamp '2026-05-01 12:00:00.5'"),
        ({"event_at": "2026-04-30T22:00:00-14:00"}, "timestamp '2026-05-01 12:00:00'"),
        ({"customer_id": "c-9 "}, "'c-9'"),
        ({"customer_id": "\N{NO-BREAK SPACE}c-9\N{ZERO WIDTH SPACE}"}, "'c-9'"),
        ({"customer_id": "0012"}, "'0012'"),  # leading zeros and letter case are significant
        ({"customer_id": "C-9"}, "'C-9'"),
        ({"customer_id": "Ju\N{COMBINING DIAERESIS}rgen"}, "'J\N{LATIN SMALL LETTER U WITH DIAERESIS}rgen'"),
        ({"customer_id": "1089832.1234567"}, "'1089832.1234567'"),  # GA's own ids have this form
        ({"product_id": "12e5"}, "'12e5'"),  # so have hexadecimal ones
        ({"customer_id": "N/A"}, "null"),
        ({"amount": 5.551115123125783e-17}, "0::decimal(18,2)"),
        ({"amount": "-5.684341886080802e-14"}, "0::decimal(18,2)"),
        ({"amount": "1.5e2"}, "150::decimal(18,2)"),
        ({"amount": 0.125}, "0.13::decimal(18,2)"),  # half away from zero
        ({"dwell_seconds": "0"}, "0.0::double"),
        ({"quantity": -1}, "-1.0::double"),
        ({"line_no": "3"}, "3::bigint"),
        ({"line_no": 3.0}, "3::bigint"),
        ({"amount": 12.345}, "12.35::decimal(18,2)"),
        ({"amount": "-7"}, "-7::decimal(18,2)"),
        ({"event_name": "scroll"}, "'scroll'"),  # names outside the contract are kept
        ({"currency": "EUR"}, "'EUR'"),
        ({"currency": ""}, "null"),
        ({"product_id": "Robert'); drop table clicks;--"}, "'Robert''); drop table clicks;--'"),
        ({"page_url": '<b onclick="x">ü\u2028€'}, "'<b onclick=\"x\">ü\u2028€'"),
        ({"page_url": "https://shop/?q=a,b"}, "'https://shop/?q=a,b'"),
    ],
)
def test_a_line_that_keeps_the_rules_is_typed(settings: Settings, columns: Line, typed: str) -> None:
    name = next(iter(columns))
    for file in ({"a.jsonl": jsonl(click(**columns))}, {"a.csv": as_csv(click(**columns))}):
        for old in land(settings, {}).iterdir():
            old.unlink()
        land(settings, file)
        assert astuple(write(settings, NOON)) == (1, 1, 1, 0, 0)
        assert good(settings, f"{name} is not distinct from {typed}") == [(True,)]


def test_unknown_columns_are_kept_as_json(settings: Settings) -> None:
    lines = [click("e1", scroll={"depth": 0.5}, theme="dark"), click("e2", theme=None), click("e3")]
    land(settings, {"a.jsonl": jsonl(*lines), "b.csv": as_csv(click("e4", theme="light"))})
    write(settings, NOON)
    extras = {event: json.loads(extra) if extra else None for event, extra in good(settings, "event_id, extra")}
    assert extras == {
        "e1": {"scroll": {"depth": 0.5}, "theme": "dark"},
        "e2": {"theme": None},
        "e3": None,
        "e4": {"theme": "light"},
    }


def test_the_lowest_copy_of_an_id_by_file_and_line_stays(settings: Settings) -> None:
    lines = [click(i, product_id=p) for i, p in (("a", "a1"), ("b", "a2"), ("b", "a3"))]
    land(settings, {"b.jsonl": jsonl(click("a", product_id="b1"), click("c", product_id="b2")), "a.jsonl": jsonl(*lines)})
    assert astuple(write(settings, NOON)) == (2, 5, 3, 0, 2)
    assert good(settings, "event_id, product_id, source_file, source_line") == [
        ("a", "a1", "a.jsonl", 1),
        ("b", "a2", "a.jsonl", 2),
        ("c", "b2", "b.jsonl", 2),
    ]


def test_a_broken_copy_does_not_hide_a_good_one(settings: Settings) -> None:
    land(settings, {"a.jsonl": jsonl(click(dwell_seconds=-1), click())})
    assert astuple(write(settings, NOON)) == (1, 2, 1, 1, 0)


def test_the_raw_file_has_the_columns_of_the_contract_in_their_order(settings: Settings) -> None:
    for files in ({}, {"a.jsonl": jsonl(click())}):
        land(settings, files)
        write(settings, NOON)
        with duckdb.connect() as connection:
            described = connection.execute(
                f"describe from read_parquet('{raw_slice_folder(settings.place.raw, NOON) / PART}', hive_partitioning = false)"
            ).fetchall()
        assert [(name, kind) for name, kind, *_ in described] == [(column.name, column.type) for column in RAW_COLUMNS]


# ---- files -----------------------------------------------------------------------------------------------------------


def test_all_file_types_say_the_same(settings: Settings) -> None:
    lines = [
        {**dict.fromkeys(column.name for column in CLICK_COLUMNS), **line}
        for line in (
            purchase(event_id="e1", line_no=2, quantity=1.5, page_url='a "quoted", one\nover two lines', customer_id="c"),
            click("e2", dwell_seconds=3.25, event_at="2026-05-01T12:02:03.004+00:00"),
        )
    ]
    table = pa.Table.from_pylist(lines)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    files = {
        "a.jsonl": jsonl(*lines),
        "a.jsonl.gz": gzip.compress(jsonl(*lines)),
        "a.csv": as_csv(*lines),
        "a.parquet": sink.getvalue(),
    }
    columns = ", ".join(column.name for column in CLICK_COLUMNS) + ", slice, event_key"
    found = []
    for name, data in files.items():
        place = settings.model_copy(update={"place": Place(root=settings.place.root / name)})
        land(place, {name: data})
        assert astuple(write(place, NOON)) == (1, 2, 2, 0, 0), quarantined(place)
        found.append(good(place, columns))
    assert found[1:] == found[:1] * 3
    assert found[0][0][:3] == ("e1", "purchase", datetime.fromisoformat("2026-05-01T12:01:00"))


def test_parquet_columns_of_many_types_are_read_or_quarantined(settings: Settings) -> None:
    moment = datetime.fromisoformat("2026-05-01T12:01:00")
    base = {"event_name": pa.array(["view_item"] * 2), "visitor_id": pa.array([1, 2])}
    typed = {
        "ns.parquet": {**base, "event_id": pa.array(["a", "b"]), "event_at": pa.array([moment, None], pa.timestamp("ns"))},
        "zone.parquet": {
            **base,
            "event_id": pa.array(["c", "d"]).dictionary_encode(),
            "event_at": pa.array([moment, moment], pa.timestamp("us", "Europe/Amsterdam")),
            "amount": pa.array([Decimal("1.5"), None], pa.decimal128(30, 10)),
            "dwell_seconds": pa.array([float("nan"), 2.0]),
        },
        "odd.parquet": {
            **base,
            "event_id": pa.array([b"\xff", b"x"]),
            "event_at": pa.array([moment.date(), moment.date()]),
            "line_no": pa.array([1.5, 2.0]),
            "product_id": pa.array([{"a": 1}, {"a": 2}]),
            "tags": pa.array([["x"], []]),
        },
        "time.parquet": {**base, "event_id": pa.array(["e", "f"]), "event_at": pa.array([1, 2], pa.time64("us"))},
        "empty.parquet": {name: values.slice(0, 0) for name, values in base.items()},
        "none.parquet": {"event_id": pa.nulls(3)},
    }
    land(settings, {name: parquet(columns) for name, columns in typed.items()})
    counts = write(settings, NOON)
    check_books(settings, counts)
    assert good(settings, "source_file, event_id, event_at") == [
        ("ns.parquet", "a", moment),
        ("zone.parquet", "d", moment),
    ]
    reasons = {(file, line): (column, reason) for file, line, column, reason in quarantined(settings)}
    assert reasons["ns.parquet", 2] == ("event_at", "is missing")
    assert reasons["zone.parquet", 1] == ("dwell_seconds", "nan is not a finite number")
    refused = {file: reason for (file, line), (_, reason) in reasons.items() if not line}
    assert refused == {
        "odd.parquet": "file cannot be read by the contract: column event_id is of type BLOB"
        + ANOTHER_TYPE.format("text or whole numbers")
        + "; column product_id is of type STRUCT(a BIGINT)"
        + ANOTHER_TYPE.format("text or whole numbers"),
        "time.parquet": "file cannot be read by the contract: column event_at is of type TIME"
        + ANOTHER_TYPE.format("a timestamp (ISO 8601, UTC)"),
    }
    assert {key for key in reasons if key[0] == "none.parquet"} == {
        ("none.parquet", 1),
        ("none.parquet", 2),
        ("none.parquet", 3),
    }
    texts = {
        (file, line): json.loads(text)
        for file, line, text in quarantined(settings, "source_file, source_line, raw_text")
        if text
    }
    assert texts["ns.parquet", 2]["event_id"] == "b"


@pytest.mark.parametrize(
    ("ids", "canonical"),
    [
        (pa.array([1001.0, 1002.0]), ["1001", "1002"]),
        (pa.array([1001.0, 1002.0], pa.float32()), ["1001", "1002"]),
        (pa.array([Decimal("1001.0"), Decimal("1002.0")], pa.decimal128(10, 1)), ["1001", "1002"]),
        (pa.array([2**63 + 1, 1002], pa.uint64()), ["9223372036854775809", "1002"]),
        (pa.array(["1001", "c-9 "], pa.large_string()), ["1001", "c-9"]),
        (pa.array(["1001", "null"]), ["1001", None]),
        (pa.array([1001.0, 1001.5]), ["1001"]),
        (pa.array([1001.0, float("nan")]), ["1001"]),
        (pa.array([1001.0, float("-inf")]), ["1001"]),
        (pa.array([2.0**53 - 1, 2.0**53]), ["9007199254740991"]),
        (pa.array([2.0**24 - 1, 2.0**24], pa.float32()), ["16777215"]),
        (pa.array(["1001", "1002.0"]), ["1001"]),
    ],
)
def test_ids_of_every_parquet_type_have_one_form(settings: Settings, ids: pa.Array, canonical: list[str | None]) -> None:
    moment = datetime.fromisoformat("2026-05-01T12:01:00")
    values = {"event_name": "view_item", "visitor_id": "v", "event_at": moment}
    columns = {name: pa.array([value] * 2) for name, value in values.items()}
    land(settings, {"a.parquet": parquet({"event_id": pa.array(["a", "b"]), "customer_id": ids, **columns})})
    counts = write(settings, NOON)
    assert [name for _, name in good(settings, "event_id, customer_id")] == canonical
    assert {column for _, _, column, _ in quarantined(settings)} == ({"customer_id"} if counts.quarantined else set())


@pytest.mark.parametrize(
    ("column", "array", "message"),
    [
        ("amount", pa.array([Decimal("1.25")], pa.decimal256(39, 2)), "column amount is of type DECIMAL with precision 39"),
        ("amount", pa.array([True]), "column amount is of type BOOLEAN; write an amount of money into it"),
        ("amount", pa.array([b"1.25"]), "column amount is of type BLOB"),
        ("quantity", pa.array([[1.0]]), "column quantity is of type DOUBLE[]"),
        ("event_at", pa.array([1777636860]), "column event_at is of type BIGINT; write a timestamp"),
        ("customer_id", pa.array([datetime(2026, 5, 1).date()]), "column customer_id is of type DATE"),  # noqa: DTZ001  a date
        ("page_url", pa.array([{"a": 1}]), "column page_url is of type STRUCT(a BIGINT)"),
    ],
)
def test_a_parquet_column_of_another_type_sets_its_file_aside_with_the_column_and_the_remedy(
    settings: Settings, column: str, array: pa.Array, message: str
) -> None:
    line = {key: pa.array([value]) for key, value in click(event_at=datetime.fromisoformat("2026-05-01T12:01:00")).items()}
    land(settings, {"a.parquet": parquet({**line, column: array}), "b.jsonl": jsonl(click("e2"))})
    assert astuple(write(settings, NOON)) == (2, 2, 1, 1, 0)
    ((file, number, _, reason),) = quarantined(settings)
    assert (file, number, message in reason) == ("a.parquet", 0, True)


@pytest.mark.parametrize(
    ("array", "typed"),
    [
        (pa.array([19.99]), "19.99"),
        (pa.array([5.55e-17]), "0"),
        (pa.array([Decimal("19.995")], pa.decimal128(30, 3)), "20.00"),
        (pa.array(["19.99"]).dictionary_encode(), "19.99"),
        (pa.array([20], pa.uint64()), "20"),
        (pa.array([float("inf")]), None),
        (pa.array([1e300]), None),
    ],
)
def test_amounts_of_every_parquet_type_are_read_to_the_cent(settings: Settings, array: pa.Array, typed: str | None) -> None:
    line = {key: pa.array([value]) for key, value in purchase(event_at=datetime.fromisoformat("2026-05-01T12:01:00")).items()}
    land(settings, {"a.parquet": parquet({**line, "amount": array})})
    write(settings, NOON)
    assert good(settings, "amount") == ([(Decimal(typed),)] if typed else [])
    assert [(column, reason.partition(" ")[2]) for _, _, column, reason in quarantined(settings)] == (
        [] if typed else [("amount", "is not an amount of money")]
    )


@pytest.mark.parametrize(
    "name",
    [
        *("file_row_number", "filename", "landed_path", "file_no", "line", "text", "problem", "extra", "rule"),
        *("object", "is_suspicious", "id_fault"),
    ],
)
@pytest.mark.parametrize("kind", ["a.parquet", "a.jsonl", "a.csv"])
def test_a_column_may_have_any_name(settings: Settings, name: str, kind: str) -> None:
    line = click(**{name: "x"})
    data = {
        "a.parquet": parquet({key: pa.array([value]) for key, value in line.items()}),
        "a.jsonl": jsonl(line),
        "a.csv": as_csv(line),
    }[kind]
    land(settings, {kind: data, f"b{kind[1:]}": data.replace(b"e1", b"e2")})
    counts = write(settings, NOON)
    check_books(settings, counts)
    if kind != "a.parquet" or name not in ("file_row_number", "landed_path"):  # DuckDB's own names: such a file is set aside
        assert good(settings, "extra") == [(json.dumps({name: "x"}, separators=(",", ":")),)] * 2


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.jsonl.gz", gzip.compress(jsonl(*(click(str(n)) for n in range(999))))[:-20], "file gzip is damaged or cut short"),
        ("plain.jsonl.gz", jsonl(click("x")), "file gzip is damaged or cut short"),
        ("flipped.jsonl.gz", gzip.compress(jsonl(click("x")))[:-6] + b"\0" * 6, "file gzip is damaged or cut short"),
        ("cut.parquet", parquet({"event_id": pa.array(["x"])})[:-9], "file not readable as Parquet"),
        ("none.parquet", b"", "file not readable as Parquet"),
        ("open.csv", b'event_id,event_name\n"x,view_item\n', "file not readable as CSV"),
        ("huge.csv", b"event_id\n" + b"x" * (reading.MAX_LINE_BYTES + 1), "file not readable as CSV"),
        ("data.xlsx", b"PK", "file is of no known type"),
        ("data.json", b"[]", "file is of no known type"),
    ],
    ids=["cut gzip", "no gzip", "flipped gzip", "cut parquet", "empty parquet", "open csv", "huge csv", "xlsx", "json"],
)
def test_a_damaged_file_is_set_aside_whole_and_the_others_proceed(
    settings: Settings, name: str, data: bytes, reason: str
) -> None:
    land(
        settings,
        {
            name: data,
            "good.jsonl": jsonl(click("a")),
            "good.parquet": parquet({k: pa.array([v]) for k, v in click("b").items()}),
        },
    )
    counts = write(settings, NOON)
    check_books(settings, counts)
    assert [event for (event,) in good(settings, "event_id")] == ["a", "b"]
    found = quarantined(settings)
    assert {file for file, *_ in found} == {name}
    assert found[0][1] == 0
    assert all(text.startswith(reason) for *_, text in found)


def test_lines_that_are_not_utf8_are_set_aside_one_by_one(settings: Settings) -> None:
    latin = json.dumps(click("x", product_id="caf\u00e9"), ensure_ascii=False).encode("latin-1") + b"\n"
    header = "event_id,event_name,event_at,visitor_id,product_id\n"
    rows = header + "x,view_item,2026-05-01T12:00,v,caf\u00e9\ny,view_item,2026-05-01T12:00,v,p"
    land(settings, {"a.jsonl": jsonl(click("a")) + latin + jsonl(click("b")), "b.csv": rows.encode("latin-1")})
    counts = write(settings, NOON)
    check_books(settings, counts)
    assert [event for (event,) in good(settings, "event_id")] == ["a", "b", "y"]
    assert {(file, line) for file, line, _, reason in quarantined(settings) if reason == "not valid UTF-8"} == {
        ("a.jsonl", 2),
        ("b.csv", 2),
    }


def test_line_numbers_are_those_of_the_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", 50)  # lines are longer than a chunk
    lines = [click("a"), "", "  ", "oops", click("b", product_id="x" * 500), "oops"]
    rows = 'event_id,event_name,event_at,visitor_id\n\nc,view_item,"2026-05-01T12:00",v\nd,"view\nitem",2026-05-01T12:00,v\ne\n'
    land(
        settings,
        {"a.jsonl": jsonl(*lines).rstrip(b"\n"), "b.csv": rows.encode(), "c.jsonl": jsonl(click("z")).replace(b"\n", b"\r\n")},
    )
    check_books(settings, write(settings, NOON))
    assert good(settings, "source_file, source_line, event_id") == [
        ("a.jsonl", 1, "a"),
        ("a.jsonl", 5, "b"),
        ("b.csv", 3, "c"),
        ("b.csv", 5, "d"),  # a record over two lines has the number of its last
        ("c.jsonl", 1, "z"),
    ]
    assert quarantined(settings, "source_file, source_line, reason") == [
        ("a.jsonl", 4, "not valid JSON"),
        ("a.jsonl", 6, "not valid JSON"),
        ("b.csv", 6, "has 1 fields, the header has 4"),
    ]


def test_a_file_in_utf16_or_utf32_is_set_aside_with_its_encoding_as_the_reason(settings: Settings) -> None:
    lines, rows = jsonl(click("x")).decode(), as_csv(click("x")).decode()
    marked = {
        "a.jsonl": lines.encode("utf-16"),
        "b.jsonl": lines.encode("utf-32"),
        "c.jsonl": codecs.BOM_UTF16_BE + lines.encode("utf-16-be"),
        "d.jsonl": codecs.BOM_UTF32_BE + lines.encode("utf-32-be"),
        "e.jsonl.gz": gzip.compress(lines.encode("utf-16")),
        "f.csv": rows.encode("utf-16"),
        "g.csv": rows.encode("utf-32"),
    }
    land(settings, {**marked, "good.jsonl": jsonl(click("good"))})
    check_books(settings, write(settings, NOON))
    assert good(settings, "event_id") == [("good",)]
    found = quarantined(settings, "source_file, source_line, reason")
    assert [(name, line) for name, line, _ in found] == [(name, 0) for name in marked]
    assert {reason for *_, reason in found} == {
        "file is UTF-16 or UTF-32, by its byte order mark; write UTF-8, or for CSV set `encoding: utf-16` in shop.yaml"
    }
    assert "iconv -f UTF-16 -t UTF-8" in remedy(SHOP, "", found[0][2])


@pytest.mark.parametrize("chunk_bytes", [4, 50, reading.CHUNK_BYTES])
def test_a_byte_order_mark_costs_no_line(settings: Settings, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    mark = codecs.BOM_UTF8
    marked = {"a.jsonl": mark + jsonl(click("a"), click("b")), "b.jsonl.gz": gzip.compress(mark + jsonl(click("c")))}
    land(settings, {**marked, "c.jsonl": mark, "d.jsonl": mark + b"\n" + jsonl(click("d")) + mark + jsonl(click("x"))})
    check_books(settings, write(settings, NOON))
    assert good(settings, "source_file, source_line, event_id") == [
        ("a.jsonl", 1, "a"),
        ("a.jsonl", 2, "b"),
        ("b.jsonl.gz", 1, "c"),
        ("d.jsonl", 2, "d"),
    ]
    assert quarantined(settings, "source_file, source_line, reason") == [("d.jsonl", 3, "not valid JSON")]  # amid a file


def test_a_csv_with_a_byte_order_mark_and_one_that_has_only_a_header(settings: Settings) -> None:
    land(settings, {"a.csv": b"\xef\xbb\xbf" + as_csv(click()), "b.csv": b"event_id,event_at\n", "c.csv": b""})
    assert astuple(write(settings, NOON)) == (3, 1, 1, 0, 0)


def test_files_that_are_still_being_written_are_not_seen(settings: Settings) -> None:
    names = (".a.jsonl", "_a.jsonl", "a.jsonl.tmp")
    land(settings, {name: jsonl(click(name)) for name in names})
    assert write(settings, NOON) == SliceCounts(0, 0, 0, 0, 0)
    land(settings, {"a.jsonl": jsonl(click("a"))})
    assert write(settings, NOON).files == 1


@pytest.mark.parametrize(
    "name", ["it's.jsonl", "a b.parquet", "'; drop table files;--.csv", "<b>.jsonl", "ä€.parquet", "*.parquet", "[a].parquet"]
)
def test_a_file_may_have_any_name(settings: Settings, name: str) -> None:
    line = click()
    kinds = {"jsonl": jsonl(line), "csv": as_csv(line), "parquet": parquet({k: pa.array([v]) for k, v in line.items()})}
    bad_parquet = parquet({k: pa.array([v]) for k, v in click("e2", dwell_seconds=-1).items()})
    land(settings, {name: kinds[name.rsplit(".", 1)[1]], "a.parquet": bad_parquet})
    check_books(settings, write(settings, NOON))
    assert good(settings, "source_file, event_id") == [(name, "e1")]
    assert [file for file, *_ in quarantined(settings)] == ["a.parquet"]


def test_a_file_that_cannot_be_processed_fails_its_slice_by_name_and_is_set_aside_on_request(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(settings, {"bad.jsonl": jsonl(click("bad")), "good.jsonl": jsonl(click("good"))})
    read = reading._line_batches

    def fail(file: Any, number: int) -> Any:
        if file.name == "bad.jsonl":
            raise OSError("Input/output error")
        return read(file, number)

    monkeypatch.setattr(reading, "_line_batches", fail)
    with pytest.raises(BrokenFileError, match=r"bad\.jsonl: .*Input/output error"):
        write(settings, NOON)
    assert good(settings, "event_id") == []
    counts = write(settings, NOON, isolate=True)
    check_books(settings, counts)
    assert good(settings, "event_id") == [("good",)]
    assert "could not be processed" in quarantined(settings)[0][3]


def test_too_little_memory_for_a_parquet_file_is_no_fault_of_the_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(settings, {"a.parquet": parquet({k: pa.array([v]) for k, v in click().items()})})

    def full(*_: object) -> str:
        raise duckdb.OutOfMemoryException("failed to allocate data")

    monkeypatch.setattr(checked_lines, "parquet_source", full)
    with pytest.raises(BrokenFileError, match=r"a\.parquet"):
        write(settings, NOON)
    check_books(settings, write(settings, NOON, isolate=True))
    assert [file for file, *_ in quarantined(settings)] == ["a.parquet"]


def test_too_little_memory_while_lines_are_read_is_no_fault_of_the_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(settings, {"a.jsonl": jsonl(click())})

    def full(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(reading, "_line_batches", full)
    with pytest.raises(BrokenFileError, match=r"a\.jsonl: too little memory to read it"):
        write(settings, NOON, isolate=True)
    assert quarantined(settings) == []


def test_a_machine_without_memory_is_no_fault_of_a_parquet_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    land(settings, {"a.parquet": parquet({k: pa.array([v]) for k, v in click().items()})})

    def full(*_: object) -> str:
        raise duckdb.OutOfMemoryException("Out of Memory Error: Allocation failure")

    monkeypatch.setattr(checked_lines, "parquet_source", full)
    with pytest.raises(BrokenFileError, match=r"a\.parquet: too little memory to read it"):
        write(settings, NOON, isolate=True)
    assert quarantined(settings) == []


def test_an_old_quarantine_goes_when_its_lines_are_mended(settings: Settings) -> None:
    land(settings, {"a.jsonl": jsonl("oops")})
    assert write(settings, NOON).quarantined == 1
    land(settings, {"a.jsonl": jsonl(click())})
    assert write(settings, NOON).quarantined == 0
    assert quarantined(settings) == []


def test_a_write_that_dies_leaves_the_old_slice(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    land(settings, {"a.jsonl": jsonl(click("a"))})
    write(settings, NOON)
    land(settings, {"b.jsonl": jsonl(click("b"))})

    def die(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("customer360.lake.atomic.fsync_path", die)
        with pytest.raises(OSError, match="disk full"):
            write(settings, NOON)
    assert good(settings, "event_id") == [("a",)]
    assert [path.name for path in raw_slice_folder(settings.place.raw, NOON).iterdir()] == [PART]


# ---- anything at all -------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.datetimes().map(str),
    st.sampled_from(["e1", "purchase", "2026-05-01T12:00:00Z", "EUR", "-1", "1e9", "{}", "\x00", "\ufffd"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
NAMES = st.sampled_from([column.name for column in CLICK_COLUMNS]) | st.text(max_size=5)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=6).map(lambda odd: {**click(), **odd})
LINES = st.lists(RECORDS.map(lambda record: json.dumps(record).encode()) | st.binary(max_size=40), max_size=6)
JSONL = LINES.map(b"\n".join)
CSV = st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=4), max_size=5).map(
    lambda rows: as_csv(click()) + "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "a.jsonl": JSONL,
        "b.jsonl.gz": st.tuples(JSONL.map(gzip.compress), st.integers(0, 30)).map(lambda cut: cut[0][: len(cut[0]) - cut[1]]),
        "c.csv": CSV | st.binary(max_size=60),
        "d.parquet": st.binary(max_size=60),
        "e.jsonl": st.binary(max_size=60),
        "f.txt": st.binary(max_size=5),
    },
)


@pytest.mark.full
@hypothesis_settings(max_examples=10)
@given(FILES)
@example(
    {
        "a.jsonl": b"\n\n",
        "b.jsonl.gz": b"",
        "c.csv": b"\n\n",
        "e.jsonl": b'{"event_id":"\\ud800"}\n{"event_id":"a","event_id":"b"}',
    }
)
def test_whatever_lands_is_good_or_quarantined_or_a_copy_and_again_the_same(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    settings = Settings(shop=SHOP, place=Place(root=tmp_path_factory.mktemp("fuzz")), shop_folder=Path())
    land(settings, files)
    counts = write(settings, NOON)
    check_books(settings, counts)
    rows, bad = good(settings, "*"), quarantined(settings, "*")
    assert write(settings, NOON) == counts
    assert (good(settings, "*"), quarantined(settings, "*")) == (rows, bad)
    set_aside = {file for file, line, *_ in bad if line == 0}
    for name in files.keys() & {"a.jsonl", "e.jsonl"} - set_aside:
        numbers = [number for number, text in enumerate(files[name].split(b"\n"), 1) if text.strip(b" \t\r\n")]
        copies = len(numbers) - len([row for row in [*rows, *bad] if name in row])
        assert 0 <= copies <= counts.duplicates


@pytest.mark.full
def test_random_slices_are_what_the_oracle_reads(settings: Settings) -> None:
    shop = random_shop(5, slices=12, poison=0.3, duplicates=0.3)
    shop.write(settings.place.landing)
    expected = oracle.read_clicks(settings.place.landing / "clicks", SHOP)
    for start in shop.slices:
        slice_ = expected[start]
        counts = write(settings, start.replace(tzinfo=UTC))
        assert counts == SliceCounts(
            counts.files,
            len(slice_.good) + len(slice_.quarantined) + len(slice_.duplicates),
            len(slice_.good),
            len(slice_.quarantined),
            len(slice_.duplicates),
        )
        found = good(settings, "event_id, event_at, amount, line_no", start.replace(tzinfo=UTC))
        assert found == sorted((e["event_id"], e["event_at"], e["amount"], e["line_no"]) for e in slice_.good)


# ---- history ---------------------------------------------------------------------------------------------------------


def test_history_is_cut_by_event_time_into_daily_files(settings: Settings) -> None:
    folder = settings.place.landing / "history"
    (folder / "2026" / "april").mkdir(parents=True)
    (folder / "2026" / "april" / "a.csv").write_bytes(as_csv(click("a", event_at="2026-04-30T21:59:59Z"), click("b")))
    (folder / "z.jsonl").write_bytes(
        jsonl(
            click("a", event_at="2026-04-30T21:50:00Z"),  # a copy in the same slice: the file name says which stays
            click("a", event_at="2026-04-01T00:00:00Z"),  # in another slice it is no copy yet
            click("c", event_at="1969-12-31T23:59:59Z"),
            click("d", event_at="2026-04-30T23:59:59.999999Z"),
            "oops",
        )
    )
    history = write_history(settings)
    assert astuple(history.counts) == (2, 7, 3, 3, 1)
    assert (history.slices, history.first, history.last) == (
        3,
        datetime.fromisoformat("2026-04-01T00:00"),
        datetime.fromisoformat("2026-04-30T23:45"),
    )
    days = {
        path.parent.name: parquet_rows(path, "event_id, slice, source_file")
        for path in history_folder(settings.place.raw).glob("*/*")
    }
    assert {day: sorted(rows) for day, rows in days.items()} == {
        "day_key=2026-04-01": [("a", datetime.fromisoformat("2026-04-01T00:00"), "z.jsonl")],
        "day_key=2026-04-30": [
            ("a", datetime.fromisoformat("2026-04-30T21:45"), "2026/april/a.csv"),
            ("d", datetime.fromisoformat("2026-04-30T23:45"), "z.jsonl"),
        ],
    }
    reasons = parquet_rows(settings.place.quarantine / "click_history" / PART, "source_file, source_line, reason")
    assert [(file, line) for file, line, _ in reasons] == [("2026/april/a.csv", 3), ("z.jsonl", 3), ("z.jsonl", 5)]
    assert "such events belong into landing/clicks" in reasons[0][2]


def test_history_that_shrinks_leaves_no_day_behind(settings: Settings) -> None:
    folder = settings.place.landing / "history"
    folder.mkdir(parents=True)
    for day in (1, 2):
        (folder / f"{day}.jsonl").write_bytes(jsonl(click(str(day), event_at=f"2026-04-0{day}T00:00:00Z")))
    assert write_history(settings).slices == 2
    (folder / "1.jsonl").unlink()
    assert write_history(settings).slices == 1
    assert [path.name for path in history_folder(settings.place.raw).glob("day_key=*")] == ["day_key=2026-04-02"]
    (folder / "2.jsonl").unlink()
    assert write_history(settings).first is None
    assert not list(history_folder(settings.place.raw).glob("day_key=*"))


def test_the_order_of_history_files_does_not_matter_to_fingerprints(settings: Settings) -> None:
    index = history_folder(settings.place.raw) / "slices.parquet"
    folder = settings.place.landing / "history"
    folder.mkdir(parents=True)
    lines = [click(str(n), event_at=(NOON - timedelta(days=3, minutes=n)).isoformat()) for n in range(40)]
    (folder / "a.jsonl").write_bytes(jsonl(*lines))
    write_history(settings)
    before = parquet_rows(index)
    (folder / "a.jsonl").write_bytes(jsonl(*lines[20:]))
    (folder / "b.jsonl").write_bytes(jsonl(*reversed(lines[:20])))
    write_history(settings)
    assert parquet_rows(index) == before
