"""Files of a shop's own form: what ``sources`` of shop.yaml says of them is what is loaded."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from customer360.lake.checking.remedies import value_remedy
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.raw.history import write_history
from customer360.lake.raw.quarantine import quarantined_lines
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import reference_relation
from customer360.lake.reference.reference_rows import BrokenReferenceError
from customer360.settings import Place, Settings, SourceOptions
from tests.support.random_shop import small_shop

NOW = datetime(2026, 5, 1, tzinfo=UTC)
at = datetime.fromisoformat


def settings_with(root: Path, **sources: dict[str, Any]) -> Settings:
    return Settings(shop=small_shop(sources=sources), place=Place(root=root), shop_folder=root)


def land(settings: Settings, table: str, content: bytes, name: str = "export.csv") -> Path:
    file = settings.place.landing / "reference" / table / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def rows_in_force(settings: Settings, table: str, columns: str) -> list[tuple[Any, ...]]:
    relation = reference_relation(settings.place, reference_tables(settings.shop)[table])
    with duckdb.connect() as connection:
        return connection.execute(f"select {columns} from ({relation}) where valid_to is null order by all").fetchall()


GERMAN = """Auftrag;Artikel;Kunde;Datum;Betrag
7001;L-100;K17;02.04.2026 19:34;1.089,00 €
7001;B-7;K17;02.04.2026 19:34;23,60
7002;B-7;Kö1;26.10.2025 02:30;(5,90)
"""
GERMAN_COLUMNS = {
    "order_id": "Auftrag",
    "product_id": "Artikel",
    "customer_id": "Kunde",
    "purchased_at": "Datum",
    "amount": "Betrag",
}
GERMAN_OPTIONS: dict[str, Any] = {
    "delimiter": ";",
    "decimal": ",",
    "thousands": ".",
    "date_format": "%d.%m.%Y %H:%M",
    "time_zone": "Europe/Berlin",
    "columns": GERMAN_COLUMNS,
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "mixed"])
def test_semicolons_decimal_commas_and_local_times_are_read_as_shop_yaml_says(tmp_path: Path, encoding: str, ends: str) -> None:
    settings = settings_with(tmp_path, purchases={**GERMAN_OPTIONS, "encoding": encoding})
    text = GERMAN.replace("\n", "\r\n", 2) if ends == "mixed" else GERMAN.replace("\n", ends)
    encoded = text.replace("€", "EUR") if encoding == "utf-16" else text
    land(settings, "purchases", encoded.encode(encoding))
    load = load_reference(settings, "purchases", NOW)
    assert (load.rows, load.set_aside, load.ignored_columns) == (3, 0, [])
    # 19:34 in Berlin is 17:34 UTC in summer; 02:30 comes twice on 2025-10-26, the second time at 01:30 UTC.
    assert rows_in_force(settings, "purchases", "order_id, product_id, customer_id, purchased_at, amount") == [
        ("7001", "B-7", "K17", at("2026-04-02 17:34"), Decimal("23.60")),
        ("7001", "L-100", "K17", at("2026-04-02 17:34"), Decimal("1089.00")),
        ("7002", "B-7", "Kö1", at("2025-10-26 01:30"), Decimal("-5.90")),
    ]


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("12.00", "12.00"),
        ("(12.00)", "-12.00"),
        ("12.00-", "-12.00"),
        ("\N{MINUS SIGN}12.00", "-12.00"),
        ("€12.00", "12.00"),
        ("EUR 12", "12.00"),
        ("12.50 eur", "12.50"),
        ("-€ 12.00", "-12.00"),
        ("(€12.00)", "-12.00"),
        ("\N{NO-BREAK SPACE}12.00\N{NO-BREAK SPACE}€", "12.00"),
        (".5", "0.50"),
        ("1.5e1", "15.00"),
    ],
)
def test_an_amount_is_read_with_sign_currency_and_accountants_parentheses(tmp_path: Path, written: str, amount: str) -> None:
    settings = settings_with(tmp_path)
    row = f"order_id,product_id,customer_id,purchased_at,amount\no,p,c,2026-01-01,{written}\n"
    land(settings, "purchases", row.encode())
    assert load_reference(settings, "purchases", NOW).set_aside == 0
    assert rows_in_force(settings, "purchases", "amount") == [(Decimal(amount),)]


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({}, "12%"),
        ({}, "$12"),
        ({}, "12.00 USD"),
        ({}, "1,234.56"),
        ({}, "(12.00"),
        ({}, "12-3"),
        ({"decimal": ",", "thousands": "."}, "12.50"),
        ({"decimal": ",", "thousands": "."}, "1.2345,00"),
        ({"decimal": ","}, "1.234"),
        ({"thousands": ","}, "1,23"),
    ],
)
def test_an_amount_of_another_form_costs_its_row_and_no_other(tmp_path: Path, options: dict[str, Any], written: str) -> None:
    settings = settings_with(tmp_path, purchases={**options, "delimiter": ";"})
    header = "order_id;product_id;customer_id;purchased_at;amount\n"
    land(settings, "purchases", f"{header}o;p;c;2026-01-01;7\no;q;c;2026-01-01;{written}\n".encode())
    load = load_reference(settings, "purchases", NOW)
    assert (load.rows, load.set_aside) == (1, 1)
    (found,) = quarantined_lines(settings.place)
    assert (found.line, found.column) == (2, "amount")
    assert written in found.reason


@pytest.mark.parametrize(
    ("options", "written", "amount"),
    [
        ({"thousands": ","}, "1,234,567.89", "1234567.89"),
        ({"thousands": ","}, "12,34,567.89", "1234567.89"),
        ({"thousands": "'"}, "1\N{RIGHT SINGLE QUOTATION MARK}234.50", "1234.50"),
        ({"decimal": ",", "thousands": " "}, "1\N{NARROW NO-BREAK SPACE}234,5", "1234.50"),
        ({"decimal": ",", "thousands": "."}, "-1.234", "-1234.00"),
        ({"decimal": ",", "thousands": "."}, "0,005", "0.01"),
    ],
)
def test_thousands_are_those_of_the_options(tmp_path: Path, options: dict[str, Any], written: str, amount: str) -> None:
    settings = settings_with(tmp_path, purchases={**options, "delimiter": ";"})
    header = "order_id;product_id;customer_id;purchased_at;amount\n"
    land(settings, "purchases", f"{header}o;p;c;2026-01-01;{written}\n".encode())
    load_reference(settings, "purchases", NOW)
    assert rows_in_force(settings, "purchases", "amount") == [(Decimal(amount),)]


RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,WHITE HEART,6,12/1/2010 8:26,2.55,17850.0,United Kingdom
536365,85123A,WHITE HEART,1,12/1/2010 8:26,2.55,17850.0,United Kingdom
C536379,85123A,,-1,12/13/2010 9:41,2.55,17850.0,United Kingdom
536370,POST,POSTAGE,3,12/1/2010 8:45,18.00,12583.0,France
"""
RETAIL_SOURCES: dict[str, dict[str, Any]] = {
    "purchases": {
        "date_format": "%m/%d/%Y %H:%M",
        "time_zone": "Europe/London",
        "float_ids": True,
        "columns": {
            "order_id": "InvoiceNo",
            "product_id": "StockCode",
            "line_no": {"number_within": ["InvoiceNo"]},
            "customer_id": "CustomerID",
            "purchased_at": "InvoiceDate",
            "quantity": "Quantity",
            "amount": {"multiply": ["Quantity", "UnitPrice"]},
        },
    },
    "products": {
        "distinct": True,
        "columns": {"product_id": "StockCode", "name": "Description", "category_id": {"value": "all"}},
    },
}


def test_an_amount_is_quantity_times_price_and_each_line_of_an_order_counts(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, **RETAIL_SOURCES)
    land(settings, "purchases", RETAIL.encode())
    assert load_reference(settings, "purchases", NOW).ignored_columns == ["Country", "Description"]
    assert rows_in_force(settings, "purchases", "order_id, product_id, line_no, customer_id, purchased_at, amount") == [
        ("536365", "85123A", 1, "17850", at("2010-12-01 08:26"), Decimal("15.30")),
        ("536365", "85123A", 2, "17850", at("2010-12-01 08:26"), Decimal("2.55")),
        ("536370", "POST", 1, "12583", at("2010-12-01 08:45"), Decimal("54.00")),
        ("C536379", "85123A", 1, "17850", at("2010-12-13 09:41"), Decimal("-2.55")),
    ]


def test_a_table_made_of_another_ones_rows_has_each_key_once_with_its_most_frequent_values(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, **RETAIL_SOURCES)
    land(settings, "products", RETAIL.encode() + b"1,85123A,damaged?,1,12/1/2010 8:26,0,,\n2,,lost,1,12/1/2010 8:26,0,,\n")
    assert load_reference(settings, "products", NOW).set_aside == 0
    assert rows_in_force(settings, "products", "product_id, name, category_id") == [
        ("85123A", "WHITE HEART", "all"),
        ("POST", "POSTAGE", "all"),
    ]


def test_blanks_as_delimiters_and_names_in_shop_yaml_read_a_file_without_a_header(tmp_path: Path) -> None:
    columns = {
        "order_id": {"join": ["customer", "day"]},
        "product_id": {"value": "cd"},
        "line_no": {"number_within": ["customer", "day"]},
        "customer_id": "customer",
        "purchased_at": "day",
        "amount": "dollars",
    }
    options = {
        "delimiter": "whitespace",
        "header": ["customer", "day", "units", "dollars"],
        "date_format": "%Y%m%d",
        "time_zone": "America/New_York",
        "columns": columns,
    }
    settings = settings_with(tmp_path, purchases=options)
    land(settings, "purchases", b" 00002 19970112  1   12.00\n 00002 19970112  5   77.00\n")
    load_reference(settings, "purchases", NOW)
    assert rows_in_force(settings, "purchases", "order_id, product_id, line_no, customer_id, purchased_at, amount") == [
        ("00002-19970112", "cd", 1, "00002", at("1997-01-12 05:00"), Decimal("12.00")),
        ("00002-19970112", "cd", 2, "00002", at("1997-01-12 05:00"), Decimal("77.00")),
    ]


def test_titles_above_the_header_are_left_out_and_rows_count_after_it(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, products={"skip_lines": 2})
    land(settings, "products", b"Articles of 2026\n\nproduct_id,category_id\np,c\nq\n")
    load_reference(settings, "products", NOW)
    assert rows_in_force(settings, "products", "product_id") == [("p",)]
    assert [(line.line, line.reason) for line in quarantined_lines(settings.place)] == [(2, "has 1 fields, the header has 2")]


def test_a_date_that_does_not_fit_the_format_is_not_read_as_another_order_of_day_and_month(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, purchases={"date_format": "%Y-%d-%m"})
    header = "order_id,product_id,customer_id,purchased_at,amount\n"
    land(settings, "purchases", f"{header}o,p,c,2026-02-01,1\no,q,c,2026-01-13,1\n".encode())
    assert load_reference(settings, "purchases", NOW).set_aside == 1
    assert rows_in_force(settings, "purchases", "purchased_at") == [(at("2026-01-02 00:00"),)]


def test_a_time_with_an_offset_is_that_time_whatever_the_time_zone(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, purchases={"time_zone": "Europe/Berlin"})
    header = "order_id,product_id,customer_id,purchased_at,amount\n"
    rows = [
        "a,p,c,2026-02-01T10:00:00Z,1",
        "b,p,c,2026-02-01 10:00:00+02:00,1",
        "c,p,c,2026-02-01 10:00:00,1",
        "d,p,c,2026-02-01,1",
    ]
    land(settings, "purchases", (header + "\n".join(rows)).encode())
    load_reference(settings, "purchases", NOW)
    hours = [(at("2026-02-01 10:00"),), (at("2026-02-01 08:00"),), (at("2026-02-01 09:00"),), (at("2026-01-31 23:00"),)]
    assert [moment for _, *moment in rows_in_force(settings, "purchases", "order_id, purchased_at")] == [
        [hour] for (hour,) in hours
    ]


def test_a_local_time_that_the_clocks_skip_costs_its_row_and_a_day_without_midnight_does_not(tmp_path: Path) -> None:
    # In Berlin 02:00 became 03:00 on 2026-03-29; in Cairo the day of 2026-04-24 begins at 01:00.
    settings = settings_with(
        tmp_path,
        purchases={"time_zone": "Europe/Berlin"},
        suppressions={"time_zone": "Africa/Cairo", "date_format": "%d.%m.%Y"},
    )
    times = ["2026-03-29 01:59", "2026-03-29 02:30", "2026-03-29 03:00", "2026-03-29T02:30+01:00"]
    lines = "".join(f"{number},P,C,{written},1.00\n" for number, written in enumerate(times))
    land(settings, "purchases", b"order_id,product_id,customer_id,purchased_at,amount\n" + lines.encode())
    land(settings, "suppressions", b"customer_id,suppressed_at\nC,24.04.2026\n")
    assert (load_reference(settings, "purchases", NOW).set_aside, load_reference(settings, "suppressions", NOW).rows) == (1, 1)
    assert rows_in_force(settings, "purchases", "order_id, purchased_at") == [
        ("0", at("2026-03-29 00:59")),
        ("2", at("2026-03-29 01:00")),
        ("3", at("2026-03-29 01:30")),
    ]
    (entry,) = quarantined_lines(settings.place)
    reason = "2026-03-29 02:30 (skipped when clocks go forward) is not a timestamp (ISO 8601, UTC)"
    assert (entry.line, entry.column, entry.reason) == (2, "purchased_at", reason)
    assert "with its offset" in value_remedy(entry.reason)
    assert rows_in_force(settings, "suppressions", "suppressed_at") == [(at("2026-04-23 22:00"),)]


def test_parquet_has_its_own_names_and_local_times_too(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, purchases={**GERMAN_OPTIONS, "date_format": None})
    file = land(settings, "purchases", b"", "orders.parquet")
    values = {"Auftrag": [1], "Artikel": ["p"], "Kunde": [7], "Datum": [at("2026-01-01 12:00")], "Betrag": [12.5]}
    pq.write_table(pa.table(values), file)
    load_reference(settings, "purchases", NOW)
    assert rows_in_force(settings, "purchases", "order_id, customer_id, purchased_at, amount") == [
        ("1", "7", at("2026-01-01 11:00"), Decimal("12.50"))
    ]


def test_a_purchase_in_another_currency_is_set_aside_as_a_click_is(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    header = "order_id,product_id,customer_id,purchased_at,amount,currency\n"
    land(settings, "purchases", f"{header}a,p,c,2026-02-01,1,EUR\nb,p,c,2026-02-01,1,\nc,p,c,2026-02-01,1,USD\n".encode())
    load = load_reference(settings, "purchases", NOW)
    assert (load.rows, load.set_aside, load.ignored_columns) == (2, 1, [])
    assert [line.reason for line in quarantined_lines(settings.place)] == ["USD is not the currency of the shop (EUR)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "is an Excel workbook (.xlsx) or a ZIP archive, whatever its name: save each sheet as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "is an Excel workbook (.xls)"),
        (b"<html><table>", "is a page or a workbook in HTML or XML"),
        (b"\x1f\x8b rest", "is compressed (gzip), whatever its name: name it .gz"),
        (b"PAR1", "give it a name that ends in .parquet"),
        (b"", "is empty"),
        (b"a,b,a\n1,2,3\n", "has the column a more than once"),
        ("product_id,category_id\n".encode("utf-16"), "encoding: utf-16"),
        (b'product_id,category_id\n"p,c\n', "a quoted value is never closed"),
        (b"product,category\np,c\n", "`sources: {products: {columns: {product_id: NAME}}}`"),
    ],
)
def test_a_file_of_other_content_is_refused_with_the_way_out(tmp_path: Path, content: bytes, message: str) -> None:
    settings = settings_with(tmp_path)
    file = land(settings, "products", content)
    with pytest.raises(BrokenReferenceError) as refused:
        load_reference(settings, "products", NOW)
    assert message in str(refused.value)
    assert str(file) in str(refused.value)


def test_columns_that_the_file_or_the_table_does_not_have_are_named(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, products={"columns": {"product_id": "SKU"}})
    land(settings, "products", b"product_id,category_id\np,c\n")
    with pytest.raises(
        BrokenReferenceError, match="product_id is SKU, which the file does not have; it has product_id, category_id"
    ):
        load_reference(settings, "products", NOW)
    settings = settings_with(tmp_path, products={"columns": {"sku": "product_id"}})
    with pytest.raises(BrokenReferenceError, match="says where sku is, which the table does not have"):
        load_reference(settings, "products", NOW)


def test_history_in_csv_has_the_shops_own_form_and_keeps_other_columns_in_extra(tmp_path: Path) -> None:
    columns = {
        "event_id": {"join": ["Beleg", "Pos"]},
        "event_name": {"value": "purchase"},
        "event_at": "Zeit",
        "customer_id": "Kunde",
        "order_id": "Beleg",
        "line_no": "Pos",
        "amount": {"multiply": ["Menge", "Preis"]},
    }
    options = {
        "delimiter": ";",
        "decimal": ",",
        "date_format": "%d.%m.%Y %H:%M",
        "time_zone": "Europe/Berlin",
        "columns": columns,
    }
    settings = settings_with(tmp_path, history=options)
    folder = settings.place.landing / "history"
    folder.mkdir(parents=True)
    rows = ["7001;1;K1;02.04.2026 19:34;2;10,50;Laden", "7001;2;K1;02.04.2026 19:34;1;3.50;Laden", "7002;1;K2;31.02.2026;1;2;"]
    (folder / "a.csv").write_text("\n".join(["Beleg;Pos;Kunde;Zeit;Menge;Preis;Kanal", *rows]) + "\n", encoding="utf-8")
    (folder / "b.jsonl").write_text(
        '{"event_id": "e", "event_name": "purchase", "event_at": "2026-04-02T17:34:00Z", "customer_id": "K1", '
        '"order_id": "7003", "amount": 3.5}\n',
        encoding="utf-8",
    )
    history = write_history(settings)
    assert (history.counts.lines, history.counts.good) == (4, 2)
    with duckdb.connect() as connection:
        kept = connection.execute(
            "select event_id, event_at, customer_id, line_no, amount, extra, source_line "
            f"from read_parquet('{settings.place.raw}/click_history/day_key=*/part.parquet') order by event_id"
        ).fetchall()
    assert kept == [
        ("7001-1", at("2026-04-02 17:34"), "K1", 1, Decimal("21.00"), '{"Kanal":"Laden"}', 2),
        ("e", at("2026-04-02 17:34"), "K1", None, Decimal("3.50"), None, 1),
    ]
    reasons = sorted((line.line, line.column, line.reason) for line in quarantined_lines(settings.place))
    assert reasons == [
        (3, "amount", "1 x 3.50 is not an amount of money"),
        (4, "event_at", "31.02.2026 (date_format: %d.%m.%Y %H:%M) is not a timestamp (ISO 8601, UTC)"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ";;"}, "write one character"),
        ({"encoding": "latin-9999"}, "is no encoding"),
        ({"encoding": "base64"}, "is no encoding"),
        ({"date_format": "%d.%m."}, "needs day"),
        ({"time_zone": "CET+1"}, "not an IANA time zone"),
        ({"decimal": ",", "thousands": ","}, "are both"),
        ({"columns": {"amount": {"multiply": ["a", "b"], "value": "x"}}}, "exactly one of"),
    ],
)
def test_impossible_options_are_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceOptions.model_validate(options)


@pytest.mark.parametrize("table", ["purchases", "history"])
def test_no_option_deletes_the_lines_of_an_order(table: str) -> None:
    with pytest.raises(ValidationError, match="distinct would delete lines"):
        small_shop(sources={table: {"distinct": True}})


def test_a_workbook_by_its_name_is_refused_with_the_way_out(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    land(settings, "products", b"PK\x03\x04", "products.xlsx")
    with pytest.raises(BrokenReferenceError, match=r"is of no known type: .*; save each sheet as CSV"):
        load_reference(settings, "products", NOW)
