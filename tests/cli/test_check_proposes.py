"""``customer360 check`` on exports in a form of their own: it says what they are and proposes options that read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestration.cli import main

SHOP = """
name: shop
title: Shop
time_zone: Europe/Berlin
currency: EUR
slices_start: 2026-05-01T00:00:00Z
categories: {top: 5}
channels: [email]
dayparts: {day: {from: 8, to: 20}}
"""
GERMAN = """Aufträge im April
;;;;;
Bestellung;Artikel;Kunde;Bestellt am;Menge;Einzelpreis
7001;L-100;K17;02.04.2026 19:34;1;1.089,00 €
7001;B-7;K17;02.04.2026 19:34;4;5,90 €
7002;B-7;K18;14.04.2026 09:12;-1;5,90 €
Summe;;;;;1.106,70 €
"""
RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,"HEART, WHITE",6,12/1/2010 8:26,2.55,17850.0,France
C536379,D,Discount,-1,12/13/2010 9:41,27.5,,France
"""
CDNOW = " 00001 19970101  1   11.77\n 00002 19970112  1   12.00\n 00002 19970112  5   77.00\n"


def check(root: Path, capsys: pytest.CaptureFixture[str], sources: str = "") -> tuple[int, str]:
    (root / "shop.yaml").write_text(SHOP + sources, encoding="utf-8")
    code = main(["check", str(root)])
    report, *proposed = capsys.readouterr().out.split("check again:")
    return code, "check again:".join([" ".join(report.split("\n      ")), *proposed])


def land(root: Path, table: str, content: bytes, name: str = "export.csv") -> None:
    file = root / "landing" / "reference" / table / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GERMAN.encode("windows-1252"), "semicolon-separated, in cp1252, with 2 lines above the header, with decimal commas"),
        (GERMAN.replace(";", "\t").encode("utf-16"), "tab-separated, in utf-16"),
        (GERMAN.replace("\n", "\r\n", 3).encode("utf-8-sig"), "semicolon-separated, in utf-8"),
        (RETAIL.encode(), "comma-separated, in utf-8, with dates as %m/%d/%Y %H:%M"),
        (RETAIL.replace("\n", ",\n").encode("latin-1"), "comma-separated, in utf-8"),
    ],
)
def test_what_is_proposed_can_be_pasted_and_reads_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    land(tmp_path, "purchases", content)
    code, before = check(tmp_path, capsys)
    assert code == 1
    assert said in before
    proposed = before.split("check again:\n\n")[1].split("\n\n")[0]
    assert list(yaml.safe_load(proposed)) == ["sources"]
    code, after = check(tmp_path, capsys, proposed)
    total_lines = content.count(b"Summe") + content.count("Summe".encode("utf-16-le"))
    assert code == total_lines
    assert "Paste this" not in after
    good = "3 good" if total_lines else "2 good rows"
    assert good in after


def test_day_and_month_are_asked_for_with_the_evidence_where_no_day_is_above_12(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"o{n},p,c,0{n}/02/2026,1\n" for n in range(1, 6))
    land(tmp_path, "purchases", f"order_id,product_id,customer_id,purchased_at,amount\n{rows}".encode())
    _, report = check(tmp_path, capsys)
    assert "which comes first, day or month? no day is above 12 in 5 values" in report
    assert "%m/%d/%Y gives 2026-01-02 to 2026-05-02" in report
    assert "%d/%m/%Y gives 2026-02-01 to 2026-02-05" in report
    assert "date_format:" not in report


@pytest.mark.parametrize(
    ("row", "note"),
    [
        ("o,p,c,2190-01-01T00:00:00Z,1", "1 row in the future, the first is export.csv row 1"),
        ("o,p,c,2026-01-01T00:00:00Z,1.234", "have three decimals or more, such as row 1, 1.234"),
        ("o,p,c,2026-01-01T10:00:00,1", "its times name no time zone; they are read as UTC"),
        ("1.23E+12,p,c,2026-01-01T10:00:00Z,1", "1.23E+12 has lost its digits in a spreadsheet"),
    ],
)
def test_what_keeps_the_contract_and_may_be_wrong_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, note: str
) -> None:
    land(tmp_path, "purchases", f"order_id,product_id,customer_id,purchased_at,amount\n{row}\n".encode())
    assert note in check(tmp_path, capsys)[1]


def test_a_row_of_units_below_the_header_is_named_and_costs_itself_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = RETAIL.splitlines(keepends=True)
    land(tmp_path, "purchases", "".join([header, ",,,pcs,UTC,GBP,,\n", *rows]).encode())
    _, out = check(tmp_path, capsys)
    assert "row 1 looks like the units of the columns: pcs, UTC, GBP; it is set aside. Delete it" in out
    proposed = out.split("check again:\n\n")[1].split("\n\n")[0]
    assert "date_format: '%m/%d/%Y %H:%M'" in proposed
    code, after = check(tmp_path, capsys, proposed)
    assert code == 1
    assert "3 rows: 2 good, 1 would be set aside" in after
    assert "row 1" in after


def test_an_hour_that_comes_twice_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "a,p,c,2025-10-26T02:30:00,1\nb,p,c,2025-10-26T03:30:00,1\nc,p,c,2025-10-26T01:30:00,1\n"
    land(tmp_path, "purchases", f"order_id,product_id,customer_id,purchased_at,amount\n{rows}".encode())
    report = check(tmp_path, capsys, "sources: {purchases: {time_zone: Europe/Berlin}}")[1]
    assert "1 row lie in the hour that comes twice when the clocks of Europe/Berlin go back" in report
    assert "export.csv row 1, 2025-10-26 01:30:00 UTC" in report


def test_lost_leading_zeros_are_seen_where_another_table_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    land(tmp_path, "purchases", b"order_id,product_id,customer_id,purchased_at,amount\no,p,00017,2026-01-01,1\n")
    land(tmp_path, "customers", b"customer_id\n17\n")
    assert "such as 17 (00017 is one)" in check(tmp_path, capsys)[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04", "is an Excel workbook"),
        (b"", "is empty"),
        (b"order_id,product_id,customer_id,purchased_at,amount\n", "0 rows"),
        (b"\x00\x00", "is empty"),
        (b"a,a\n1,2\n", "has the column a more than once"),
    ],
)
def test_no_file_brings_an_engines_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    land(tmp_path, "purchases", content)
    _, report = check(tmp_path, capsys)
    assert message in report
    for word in ("DuckDB", "Error:", "sniff", "Traceback", "pyarrow", "codec", "Possible"):
        assert word not in report


def test_the_proposal_is_in_the_json_document_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    land(tmp_path, "purchases", CDNOW.encode())
    (tmp_path / "shop.yaml").write_text(SHOP, encoding="utf-8")
    main(["check", str(tmp_path), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert yaml.safe_load(document["proposed"])["sources"]["purchases"]["header"] == [f"column{n}" for n in range(1, 5)]
