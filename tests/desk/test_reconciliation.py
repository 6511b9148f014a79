"""The page Reconciliation: an uploaded export beside our days."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.desk.in_django import Desk
from tests.reconciliation.test_reconcile import ORDERS

BOOKS = "day;orders;revenue\n2026-05-01;3;81,50\n2026-05-02;1;35,00\n"


def compared(desk: Desk, text: str, **fields: str) -> Any:
    desk.shop.tables |= {name: query for name, query in ORDERS.items() if name != "campaign_ledger"}
    desk.shop.publish()
    values = {"kind": "books", "zone": "Europe/Amsterdam", "returns": "", **fields}
    file = SimpleUploadedFile("books.csv", text.encode())
    return desk.client("viewer").post("/reconciliation/", {**values, "file": file})


def test_the_days_of_an_export_stand_beside_ours_with_what_is_not_explained(desk: Desk) -> None:
    page = compared(desk, BOOKS).content.decode()
    for text in ("81.50", "80.00", "Unexplained", "1.50", "116.50", "Came late", "Quarantined"):
        assert text in page, text
    assert "Time zone</th>" not in page  # it plays no part


def test_the_comparison_comes_as_a_file_too(desk: Desk) -> None:
    answer = compared(desk, BOOKS, **{"as": "csv"})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="reconciliation.csv"'
    header, first, *_ = answer.content.decode().splitlines()
    assert header.startswith("date,measure,theirs,ours,difference,time_zone,returns")
    assert first == "2026-05-01,orders,3.0,3.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0"


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        (BOOKS.replace("2026-05-02", "tomorrow"), {}, "books.csv: line 3, column day: &#x27;tomorrow&#x27; is no date"),
        ("<script>alert(1)</script>;x\n", {}, "begins with: &lt;script&gt;alert(1)"),
        (BOOKS.replace("35,00", "inf"), {}, "&#x27;inf&#x27; is no number"),
        (BOOKS + '"' + "2026-05-03;1;1\n" * 9000, {}, "close the quote that begins in a line before it"),
        (BOOKS, {"zone": "UTC'); drop table x; --"}, "Name a time zone as Europe/Amsterdam or UTC."),
        (BOOKS, {"kind": "matomo"}, "matomo is not one of the available choices"),
        ("", {}, "The submitted file is empty."),
    ],
)
def test_what_cannot_be_compared_is_said_beside_the_form(desk: Desk, text: str, fields: dict[str, str], message: str) -> None:
    answer = compared(desk, text, **fields)
    assert answer.status_code == 200
    assert message in answer.content.decode()


def test_tables_that_are_not_made_yet_are_named(desk: Desk) -> None:
    file = SimpleUploadedFile("books.csv", BOOKS.encode())
    answer = desk.client("viewer").post("/reconciliation/", {"kind": "books", "zone": "UTC", "file": file})
    assert "orders_daily, arrivals_daily: not published yet. Run warehouse_job" in answer.content.decode()
