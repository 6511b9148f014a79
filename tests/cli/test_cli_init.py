"""``customer360 init``: from exports in a shop's own form to a shop.yaml that loads them, compared with plain Python."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import reference_relation
from customer360.lake.warehouse.cutoffs import weekly_cutoffs
from customer360.settings import Settings, TopCategories
from ml.datasets.targets import CHURN, target_of
from orchestration.cli import main

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HEADER = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
Line = tuple[str, str, str, int, datetime, Decimal, str, str]


def retail_lines(orders: int = 400, seed: int = 7) -> list[Line]:
    """Order lines of a wholesaler's kind: guests, repeated lines, postage, manual charges, and cancellations of their own."""
    draw = random.Random(seed)
    products = [
        (f"{20000 + n}{draw.choice(['', 'A'])}", f"PRODUCT {n}", Decimal(draw.randint(40, 2000)) / 100) for n in range(60)
    ]
    country = {f"{12346 + n}": draw.choice(["United Kingdom", "France"]) for n in range(80)}
    moment, lines = datetime.fromisoformat("2010-12-01T08:26"), []
    for number in range(orders):
        moment += timedelta(hours=draw.randint(1, 40))
        customer = "" if draw.random() < 0.2 else draw.choice(list(country))
        start = len(lines)
        for _ in range(draw.randint(1, 6)):
            product, name, price = draw.choice(products)
            line = (
                str(536365 + number),
                product,
                name,
                draw.randint(1, 12),
                moment,
                price,
                customer,
                country.get(customer, "EIRE"),
            )
            lines += [line] * (2 if draw.random() < 0.05 else 1)
        if draw.random() < 0.3:
            lines.append((str(536365 + number), "POST", "POSTAGE", 1, moment, Decimal("18.00"), customer, lines[-1][7]))
        if draw.random() < 0.05:
            _, product, name, quantity, _, price, *who = lines[start]
            lines.append((f"C{836365 + number}", product, name, -quantity, moment, price, who[0], who[1]))
    return lines


def write_retail(path: Path, lines: Iterable[Line]) -> None:
    with path.open("w", encoding="windows-1252", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for order, product, name, quantity, moment, price, customer, country in lines:
            written = f"{moment.month}/{moment.day}/{moment.year} {moment.hour}:{moment.minute:02}"
            writer.writerow([order, product, name, quantity, written, price, f"{customer}.0" if customer else "", country])


def init(tmp_path: Path, files: list[Path], *options: str, zone: str = "Europe/London") -> int:
    arguments = ["--time-zone", zone, "--currency", "GBP", "--data-dir", str(tmp_path / "data")]
    return main(["init", f"{tmp_path}/shop", *map(str, files), *arguments, *options])


def loaded(tmp_path: Path, table: str, columns: str) -> list[tuple[Any, ...]]:
    settings = Settings.load(tmp_path / "shop", tmp_path / "data")
    load_reference(settings, table, NOW)
    relation = reference_relation(settings.place, reference_tables(settings.shop)[table])
    with duckdb.connect() as connection:
        return connection.execute(f"select {columns} from ({relation}) where valid_to is null order by all").fetchall()


@pytest.mark.full
def test_an_online_retail_export_is_loaded_to_the_penny(tmp_path: Path) -> None:
    lines = retail_lines()
    write_retail(tmp_path / "online_retail.csv", lines)
    assert init(tmp_path, [tmp_path / "online_retail.csv"]) == 0
    expected: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    for order, _, _, quantity, _, price, customer, _ in lines:
        expected[order, customer][0] += 1
        expected[order, customer][1] += quantity * price
    found = loaded(tmp_path, "purchases", "order_id, coalesce(customer_id, ''), line_no, amount, purchased_at")
    orders: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    for order, customer, _, amount, _ in found:
        orders[order, customer][0] += 1
        orders[order, customer][1] += amount
    assert orders == expected
    # London is at UTC in December.
    assert min(moment for *_, moment in found) == min(line[4] for line in lines)
    names = {product: name for _, product, name, *_ in lines}
    assert loaded(tmp_path, "products", "product_id, name") == sorted(names.items())
    countries = {customer: country for *_, customer, country in lines if customer}
    assert loaded(tmp_path, "customers", "customer_id, country") == sorted(countries.items())
    categories = Settings.load(tmp_path / "shop", tmp_path / "data").shop.categories
    assert isinstance(categories, TopCategories)
    assert categories.exclude_products == ["POST"]
    assert main(["check", f"{tmp_path}/data/landing", "--shop", f"{tmp_path}/shop"]) == 0


def test_slices_begin_after_the_last_order_and_windows_follow_the_gaps_between_orders(tmp_path: Path) -> None:
    rows = "".join(f"{c}-{n},p{n},{c},2024-0{n}-0{c},10\n" for c in range(1, 6) for n in range(1, 7))
    (tmp_path / "orders.csv").write_text(f"order_id,sku,customer_id,order_date,total\n{rows}", encoding="utf-8")
    assert init(tmp_path, [tmp_path / "orders.csv"]) == 0
    shop = Settings.load(tmp_path / "shop", tmp_path / "data").shop
    # The last order is on 5 June, 00:00 in London, which is 4 June in UTC; gaps are 29 to 31 days.
    assert (shop.live, shop.slices_start) == (False, datetime(2024, 6, 5, tzinfo=UTC))
    assert shop.windows_days == [10, 30]  # a quarter of 156 days of data is 38
    assert (shop.label_horizon_days, shop.churn_horizon_days) == (14, 31)


def test_what_is_missing_is_said_with_its_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_retail(tmp_path / "online_retail.csv", retail_lines(30))
    init(tmp_path, [tmp_path / "online_retail.csv"])
    output = capsys.readouterr().out
    assert "no consents: nobody may be contacted" in output
    assert "no categories: no affinity" in output
    assert f"customer360 start --shop {tmp_path}/shop --data-dir {tmp_path}/data" in output


def test_customers_products_and_purchases_of_three_files_are_told_apart(tmp_path: Path) -> None:
    files = {
        "kunden.csv": "Kundennr;Newsletter;Land\nK1;yes;DE\nK2;no;AT\nK3;no;AT\nK4;no;DE\n",
        "artikel.csv": "Artikelnr;Bezeichnung;Warengruppe\nA1;Lampe;Lampen\nV;Versand;Versandkosten\n",
        "bestellungen.csv": "Bestellnr;Artikelnr;Kundennr;Datum;Betrag\n1;A1;K1;31.01.2024;1.000,50\n1;V;K1;31.01.2024;4,90\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert init(tmp_path, [tmp_path / name for name in files], zone="Europe/Berlin") == 0
    assert loaded(tmp_path, "customers", "customer_id, consent_email, land")[0] == ("K1", True, "DE")
    assert loaded(tmp_path, "products", "product_id, category_id") == [("A1", "Lampen"), ("V", "Versandkosten")]
    assert loaded(tmp_path, "purchases", "product_id, amount") == [("A1", Decimal("1000.50")), ("V", Decimal("4.90"))]


def test_the_day_of_registration_is_known_since_and_its_lack_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_retail(tmp_path / "orders.csv", retail_lines(60))
    file = tmp_path / "kunden.csv"
    file.write_text("Kundennr;Registriert;Geboren;Name\n12346;14.10.2010;31.01.1970;Ada\n", encoding="utf-8")
    assert init(tmp_path, [tmp_path / "orders.csv", file], zone="Europe/Berlin") == 0
    # The day begins at 22:00 UTC in Berlin's summer time.
    assert loaded(tmp_path, "customers", "known_since, geboren") == [
        (datetime.fromisoformat("2010-10-13T22:00"), datetime.fromisoformat("1970-01-31").date())
    ]
    output = capsys.readouterr().out
    assert "no known_since" not in output
    assert "kunden.csv: no model reads Name: " in output
    (tmp_path / "shop" / "shop.yaml").unlink()
    file.write_text("Kundennr;Land\n12346;DE\n12347;AT\n", encoding="utf-8")
    init(tmp_path, [tmp_path / "orders.csv", file], "--no-copy")
    assert "missing: no known_since (the day of registration)" in capsys.readouterr().out


def test_columns_that_are_not_recognised_are_asked_for_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "заказы.csv"
    file.write_text("Заказ;Товар;Клиент;Когда;Сумма\n1;A;c;31.01.2024;1,50\n2;B;d;01.02.2024;2,50\n", encoding="windows-1251")
    of_purchases = ("--table", "заказы.csv=purchases")
    assert init(tmp_path, [file], *of_purchases) == 2
    assert "is purchased_at and which is customer_id and which is amount of purchases?" in capsys.readouterr().err
    names = {"order_id": "Заказ", "product_id": "Товар", "customer_id": "Клиент", "purchased_at": "Когда", "amount": "Сумма"}
    columns = [text for column, name in names.items() for text in ("--column", f"{column}={name}")]
    assert init(tmp_path, [file], *columns[:-1], "amount=Итог") == 2
    assert "no file has a column Итог" in capsys.readouterr().err
    assert init(tmp_path, [file], *columns, "--column", "sum=Сумма") == 2
    assert "--column sum=...: write COLUMN=NAME, one of order_id" in capsys.readouterr().err
    assert init(tmp_path, [file], *columns) == 0
    assert loaded(tmp_path, "purchases", "order_id, product_id, customer_id, amount") == [
        ("1", "A", "c", Decimal("1.50")),
        ("2", "B", "d", Decimal("2.50")),
    ]


@pytest.mark.parametrize("days", [20, 36, 47, 90])
def test_churn_can_be_learned_with_the_cutoffs_that_are_proposed(tmp_path: Path, days: int) -> None:
    first = datetime.fromisoformat("2022-01-01")
    # Each of five customers comes back after so many days, and half as often after a third of them.
    gaps = [days // 3, days // 3, days]
    moments = [first + timedelta(days=sum((gaps * 20)[:n])) for n in range(1, min(60, 1600 // sum(gaps) * 3))]
    rows = "".join(f"{c}-{n},p{n},{c},{moment:%Y-%m-%d},10\n" for c in range(5) for n, moment in enumerate(moments))
    (tmp_path / "orders.csv").write_text(f"order_id,sku,customer_id,order_date,total\n{rows}", encoding="utf-8")
    assert init(tmp_path, [tmp_path / "orders.csv"]) == 0
    shop = Settings.load(tmp_path / "shop", tmp_path / "data").shop
    assert target_of(CHURN, shop).cutoffs_needed(shop) <= shop.training.cutoffs <= 12
    last_day = shop.slices_start.replace(tzinfo=None)
    cutoffs = weekly_cutoffs(shop, first, last_day)
    known = [cutoff for cutoff in cutoffs if cutoff + timedelta(days=shop.churn_horizon_days + 2) <= last_day]
    assert known[0] - cutoffs[-1] >= timedelta(days=shop.churn_horizon_days)


def test_what_only_a_person_knows_is_left_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("order_id,sku,customer_id,order_date,total\n1,p,c,1/2/2024,1\n2,p,c,3/4/2024,1\n", encoding="utf-8")
    assert init(tmp_path, [file]) == 1
    assert "OPEN: orders.csv: order_date: which comes first, day or month?" in capsys.readouterr().out
    assert (
        "date_format"
        not in yaml.safe_load((tmp_path / "shop" / "shop.yaml").read_text(encoding="utf-8"))["sources"]["purchases"]
    )
    (tmp_path / "shop" / "shop.yaml").unlink()
    assert init(tmp_path, [file], "--date-format", "%d/%m/%Y") == 0
    moments = [moment for (moment,) in loaded(tmp_path, "purchases", "purchased_at")]
    assert moments == [datetime.fromisoformat("2024-02-01"), datetime.fromisoformat("2024-04-02T23:00")]  # summer time


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"PK\x03\x04", (), "orders.csv is an Excel workbook"),
        (b"", (), "orders.csv is empty"),
        (b"a,b\n1,2\n", (), "no file has purchases"),
        (b"a,b\n1,2\n", ("--table", "orders.csv=nothing"), "write FILE=TABLE"),
    ],
)
def test_files_that_are_no_exports_are_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "orders.csv").write_bytes(content)
    assert init(tmp_path, [tmp_path / "orders.csv"], *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "shop").exists()


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_retail(tmp_path / "a.csv", retail_lines(60))
    assert init(tmp_path, [tmp_path / "a.csv"]) == 0
    assert init(tmp_path, [tmp_path / "a.csv"]) == 2
    assert "exists; edit it" in capsys.readouterr().err
    write_retail(tmp_path / "b.csv", retail_lines(20))
    (tmp_path / "shop" / "shop.yaml").unlink()
    assert init(tmp_path, [tmp_path / "b.csv"]) == 2
    assert "holds a.csv already" in capsys.readouterr().err


def test_without_a_terminal_the_time_zone_is_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_retail(tmp_path / "a.csv", retail_lines(60))
    assert main(["init", f"{tmp_path}/shop", f"{tmp_path}/a.csv", "--currency", "GBP"]) == 2
    assert "Give --time-zone" in capsys.readouterr().err
