"""E-mail addresses of customers: an invalid one costs the address, never the consents, and is quoted nowhere."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from customer360.lake.checking.check import check
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.customer_queries import addresses_query, consents_query
from customer360.lake.reference.reference import load_reference
from customer360.settings import Place, Settings
from tests.support.random_shop import EMAIL, small_shop

FIRST = datetime(2026, 5, 1, tzinfo=UTC)
ROWS = [
    {"customer_id": "c1", "consent_email": "true", "email": " Anna@Bücher.example "},
    {"customer_id": "c2", "consent_email": "true", "email": "canary@nowhere"},
    {"customer_id": "c3", "consent_email": "true", "email": "canary b@example.com"},
    {"customer_id": "c4", "consent_email": "true", "email": ""},
]
CANONICAL = [("c1", "Anna@xn--bcher-kva.example")]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(shop=small_shop(email=EMAIL), place=Place(root=tmp_path), shop_folder=tmp_path)


def written(kind: str, rows: list[dict[str, Any]]) -> bytes:
    frame = pd.DataFrame(rows)
    if kind == "parquet":
        frame.to_parquet(buffer := io.BytesIO(), index=False)
        return buffer.getvalue()
    return (frame.to_csv(index=False) if kind == "csv" else frame.to_json(orient="records", lines=True)).encode()


def land(settings: Settings, kind: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    folder = settings.place.landing / "reference" / "customers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"customers.{kind}").write_bytes(written(kind, rows))
    return folder


def asked(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute(f"select * from ({sql}) order by all").fetchall()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_invalid_address_counts_as_none_and_its_row_keeps_its_consents(settings: Settings, kind: str) -> None:
    land(settings, kind)
    load = load_reference(settings, "customers", FIRST)
    assert (load.rows, load.set_aside, load.refused_addresses) == (4, 0, 2)
    assert asked(addresses_query(settings.place, settings.shop)) == CANONICAL
    consents = asked(consents_query(settings.place, settings.shop))
    assert consents == [(f"c{number}", "email", True) for number in range(1, 5)]
    assert "canary" not in " ".join(load.address_faults)
    assert load.address_faults == (
        f"customers.{kind} row 2, column email: is no address that can be mailed: "
        "The part after the @-sign is not valid. It should have a period",
        f"customers.{kind} row 3, column email: is no address that can be mailed: "
        "The email address contains invalid characters before the @-sign",
    )


def test_the_check_counts_invalid_addresses_and_quotes_none(settings: Settings) -> None:
    folder = land(settings, "csv")
    report = check(settings, folder, FIRST + timedelta(days=1))
    (note,) = [note for note in report.notes if "address" in note]
    assert note.startswith("customers.csv: email: 2 rows with an address that counts as empty, the rest is used: row 2 is no")
    assert report.files[0].is_clean
    assert "canary" not in json.dumps([*report.notes, *map(str, report.files)])


def test_a_shop_that_sends_no_mail_keeps_no_address_and_an_old_place_opens_with_the_block(settings: Settings) -> None:
    before = settings.model_copy(update={"shop": small_shop()})
    land(before, "csv")
    load = load_reference(before, "customers", FIRST)
    assert load.ignored_columns == ["email"]
    assert b"Anna" not in b"".join(file.read_bytes() for file in (settings.place.raw / "customers").iterdir())

    assert asked(addresses_query(settings.place, settings.shop)) == []
    load = load_reference(settings, "customers", FIRST + timedelta(days=1))
    assert (load.opened, load.closed) == (1, 1)  # of the customer who has an address
    assert asked(addresses_query(settings.place, settings.shop)) == CANONICAL


def test_addresses_are_marked_as_personal(settings: Settings) -> None:
    columns = reference_tables(settings.shop)["customers"].columns
    assert [column.name for column in columns if column.personal] == ["email"]
