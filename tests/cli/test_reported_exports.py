"""Exports as users of shops and of CSV readers reported them: ``init`` reads each, or says what is wrong with it.

Every case is an input of its own of the reported kind; the amounts are added up by hand.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import reference_relation
from customer360.settings import Settings
from orchestration.cli import main

PLAIN = "order_id,product_id,customer_id,purchased_at,amount\n"
SHOPIFY = """Name,Email,Financial Status,Paid at,Total,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku
#1001,ann@example.org,paid,2024-01-31 10:00:00 +0100,35.00,2,Lamp,10.00,L-1
#1001,,,,,3,Bulb,5.00,B-1
#1002,bob@example.org,paid,2024-02-14 10:00:00 +0100,5.00,1,Bulb,5.00,B-1
"""
RETAIL = """,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
0,536365,22041,"RECORD FRAME 7"" SINGLE SIZE",6,01-12-2010 08:26,2.55,17850.0,France
1,536366,22041,"RECORD FRAME 7"" SINGLE SIZE",1,31-12-2010 08:26,2.55,,France
"""


def load(root: Path, content: bytes) -> tuple[int, int, Decimal, list[str]]:
    """``init`` on the file, then its load: rows, rows set aside, the sum of the amounts, and days of purchase."""
    (root / "orders.csv").write_bytes(content)
    arguments = ["--time-zone", "Europe/Paris", "--currency", "EUR", "--data-dir", f"{root}/data"]
    assert main(["init", f"{root}/shop", f"{root}/orders.csv", *arguments]) in {0, 1}
    settings = Settings.load(root / "shop", root / "data")
    found = load_reference(settings, "purchases", settings.shop.slices_start)
    relation = reference_relation(settings.place, reference_tables(settings.shop)["purchases"])
    with duckdb.connect() as connection:
        day = "cast(cast(timezone('Europe/Paris', timezone('UTC', purchased_at)) as date) as varchar)"
        total, days = connection.execute(
            f"select sum(amount), list(distinct {day}) from ({relation}) where valid_to is null"
        ).fetchone() or (Decimal(0), [])
    return found.rows, found.set_aside, total, sorted(days)


@pytest.mark.parametrize(
    ("content", "rows", "total", "days"),
    [
        pytest.param(
            b"order_id,product_id,customer_id,purchased_at,amount\no1,p,c,10/9/2016,1\no2,p,c,30/9/2016,2\n",
            *(2, "3.00", ["2016-09-10", "2016-09-30"]),
            id="pandas 14301: a day above 12 later in the file turns day and month for the first rows too",
        ),
        pytest.param(
            b"order_id;product_id;customer_id;purchased_at;amount\no1;p;c;2011-01-01;1\no2;p;c;2011-01-02;-1\n",
            *(2, "0.00", ["2011-01-01", "2011-01-02"]),
            id="datapusher-plus 256: semicolons beside dates",
        ),
        pytest.param(
            PLAIN.replace(",", "\t").encode() + b'o1\t"a b"\tc d\t2011-01-01\t1\no2\t"b c"\tc d\t2011-01-02\t4\n',
            *(2, "5.00", ["2011-01-01", "2011-01-02"]),
            id="cpython 97611: tabs, with blanks in the values",
        ),
        pytest.param(
            "\ufefforder_id;product_id;customer_id;purchased_at;amount\no1;p;c;2024-01-31;1,50\n".encode(),
            *(1, "1.50", ["2024-01-31"]),
            id="PrestaShop 42795: the byte order mark sticks to the first column's name",
        ),
        pytest.param(
            "order_id;product_id;customer_id;purchased_at;amount\no1;Café;c;2024-01-31;1.250,50 €\n".encode("cp1252"),
            *(1, "1250.50", ["2024-01-31"]),
            id="PrestaShop 19807: a euro sign in Windows-1252",
        ),
        pytest.param(
            b"note," + PLAIN.encode() + b'"a\r\nb",o1,p,c,2024-01-31,1\n"x, ""y""",o2,p,c,2024-01-31,2\n',
            *(2, "3.00", ["2024-01-31"]),
            id="PIMGento 123: line breaks in a quoted description",
        ),
        pytest.param(
            b"order_id,product_id,customer_id,purchased_at,amount\r\no1,p,c,2024-01-31,1\no2,p,c,2024-01-31,2\r\n\r\n",
            *(2, "3.00", ["2024-01-31"]),
            id="importX 33, and DuckDB on mixed line ends: an empty last line",
        ),
        pytest.param(
            SHOPIFY.encode(),
            *(3, "40.00", ["2024-01-31", "2024-02-14"]),
            id="Shopify: fields of the order in its first line only",
        ),
        pytest.param(
            RETAIL.encode("latin-1"),
            *(2, "17.85", ["2010-12-01", "2010-12-31"]),
            id="Online Retail by pandas: index, 17850.0, quotes",
        ),
        pytest.param(
            PLAIN.encode()
            + b"".join(b"o%d,a,c,2024-01-31,1\n" % n for n in range(2500))
            + b'o2500,"a"",b",c,2024-01-31,1\n',
            *(2501, "2501.00", ["2024-01-31"]),
            id="DuckDB 16251: the first quoted value stands behind 2,048 rows",
        ),
    ],
)  # fmt: skip
def test_an_export_that_users_had_trouble_with_is_read(
    tmp_path: Path, content: bytes, rows: int, total: str, days: list[str]
) -> None:
    assert load(tmp_path, content) == (rows, 0, Decimal(total), days)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("o2,<p>a, b</p>,c,2024-01-31,2", "has 6 fields, the header has 5"),  # WooCommerce 54019: unquoted commas
        ("1.23E+12,p,c,2024-01-31,2", "is an ambiguous id"),  # a spreadsheet's long numbers
        ("o2,p,c,31/31/2024,2", "is not a timestamp"),
    ],
)
def test_a_row_that_cannot_be_read_costs_itself_alone_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, reason: str
) -> None:
    good = "".join(f"o{n},p,c,2024-01-3{n % 2},1\n" for n in range(10, 20))
    assert load(tmp_path, f"{PLAIN}{good}{row}\n".encode())[:3] == (10, 1, Decimal("10.00"))
    output = capsys.readouterr().out
    assert reason in output
    assert "row 11" in output
