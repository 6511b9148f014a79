"""Exports of other tools, in the many ways in which they write a table by day."""

from __future__ import annotations

from datetime import date
from math import isnan

import pytest

from customer360.reconciliation.exports import ExportError, read_export

GA4 = """\ufeff# ----------------------------------------
# Free form 1
# Account: Shop
# Start date: 20260501
# End date: 20260502
# ----------------------------------------

Date,Sessions,Active users,Total users,Ecommerce purchases,Purchase revenue
,300,210,220,9,"1,234.50"
20260502,100,80,85,3,234.5
20260501,200,130,135,6,1000

# ----------------------------------------
# Second table
Country,Sessions
DE,300
"""
BOOKS = "Datum;Anzahl Bestellungen;Umsatz\r\n01.05.2026;12;1.234,50 €\r\n02.05.2026;1.012;99,90 €\r\nSumme;1.024;1.334,40 €\r\n"


def test_ga4_has_comments_a_row_of_totals_and_further_tables() -> None:
    export = read_export("ga4", "ga4.csv", GA4.encode())
    assert export.days.to_dict("list") == {
        "date": [date(2026, 5, 1), date(2026, 5, 2)],
        "sessions": [200, 100],
        "visitors": [135, 85],  # total users, not the active ones
        "orders": [6, 3],
        "revenue": [1000, 234.5],
    }
    assert export.notes == ("Totals are left out: line 9.", "Columns that are not compared: Active users.")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_books_have_decimal_commas_and_their_own_encoding(encoding: str) -> None:
    export = read_export("books", "books.csv", BOOKS.encode(encoding))
    assert export.measures == ["orders", "revenue"]
    assert export.days.to_numpy().tolist() == [[date(2026, 5, 1), 12, 1234.5], [date(2026, 5, 2), 1012, 99.9]]
    assert export.notes == ("Totals are left out: line 4.",)


def test_rows_of_one_day_are_added_up_and_what_is_missing_stays_missing() -> None:
    text = "Date\tSent\tUnique opens\tBounces\n2026-05-02\t10\t3\t-\n2026-05-01 06:00\t5\t\tn/a\n2026-05-02\t7\t1\t2\n"
    export = read_export("mail", "mail.tsv", text.encode())
    assert export.days["sent"].tolist() == [5, 17]
    assert export.days["opened"].tolist()[1] == 4
    assert isnan(export.days["opened"][0])
    assert isnan(export.days["bounced"][0])
    assert export.days["bounced"][1] == 2
    assert "added up" in export.notes[0]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234", "2,000"], [1234, 2000]),
        (["1.234", "2.000"], [1234, 2000]),
        (["1.234", "2,50"], [1234, 2.5]),
        (["1,234", "2.5"], [1234, 2.5]),
        (["1.234.567", "2,125"], [1234567, 2.125]),
        (["1'234.50", "CHF 2"], [1234.5, 2]),
        (["1 234,5", "-3,25"], [1234.5, -3.25]),
        (["(12.50)", "$1,000.00"], [-12.5, 1000]),
        (["0.125", "1000.5"], [0.125, 1000.5]),
        (["12.345678", "1234.567"], [12.345678, 1234.567]),
    ],
)
def test_what_a_point_or_a_comma_means_follows_from_the_column(cells: list[str], values: list[float]) -> None:
    text = "day;revenue\n" + "".join(f"2026-05-0{number};{cell}\n" for number, cell in enumerate(cells, start=1))
    assert read_export("books", "books.csv", text.encode()).days["revenue"].tolist() == values


@pytest.mark.parametrize(
    ("cell", "other", "day"),
    [
        ("13/05/2026", "01/05/2026", date(2026, 5, 13)),
        ("05/13/2026", "05/01/2026", date(2026, 5, 13)),
        ("May 13, 2026", "May 1, 2026", date(2026, 5, 13)),
        ("13 May 2026", "1 May 2026", date(2026, 5, 13)),
        ("05/05/2026", "05/05/2026", date(2026, 5, 5)),
    ],
)
def test_days_are_read_in_the_order_that_the_file_shows(cell: str, other: str, day: date) -> None:
    text = f'day;orders\n"{other}";1\n"{cell}";2\n'
    assert read_export("books", "books.csv", text.encode()).days["date"].iloc[-1] == day


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"day;orders\n2026-05-01;1\nyesterday;2\n", "books.csv: line 3, column day: 'yesterday' is no date; export dates as"),
        (b"day;orders\n2026-05-01;many\n", "books.csv: line 2, column orders: 'many' is no number; export figures"),
        (b"day;orders\n03/05/2026;1\n", "line 2, column day: '03/05/2026' may be day/month or month/day; export dates as"),
        (b"day,revenue\n2026-05-01,12,50\n", "line 2 has 3 columns, the header 2. Put values that contain the delimiter"),
        (b"day;revenue\n2026-05-01;1,5\n2026-05-02;1.5\n", "line 2, column revenue: '1,5' has a decimal comma, other lines"),
        (b"region;orders\nDE;1\n", "no table with a day and a figure to compare .*begins with: region;orders.* Name a column"),
        (b"day;visits\n2026-05-01;1\n", "no table with a day and a figure to compare"),
        (b"", "it is empty"),
        (b"# only a comment\n", "it is empty"),
        (b"day;orders\nTotal;1\n", "has no days below its header"),
        (b"PK\x03\x04rest", "is a spreadsheet or an archive; save it as CSV"),
        (b"day;orders\n2026-05-01;\x81\n", "is not text in UTF-8, UTF-16 or Windows-1252"),
        (b"x" * (10 * 1024 * 1024 + 1), "is larger than 10 MiB"),
    ],
)
def test_what_cannot_be_read_is_said_with_line_column_and_remedy(text: bytes, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        read_export("books", "books.csv", text)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ExportError, match="matomo is no kind of export; choose one of ga4, books, mail"):
        read_export("matomo", "x.csv", b"date,orders\n")
