"""Values of the contracts' types: the form of ids in SQL and in Python, and names of time zones."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer360.lake.landing.contracts import Column
from customer360.lake.landing.values import (
    NO_ID_AMBIGUOUS,
    NO_ID_INVISIBLE,
    are_suspicious,
    canonical_id,
    id_fault,
    id_value,
    text_value,
)
from customer360.settings import TIME_ZONES

PIECES = [
    *(
        "0",
        "1",
        "9",
        ".",
        "e",
        "E",
        "-",
        "+",
        " ",
        "|",
        "/",
        "(",
        ")",
        "<",
        ">",
        "{",
        "}",
        "#",
        "a",
        "f",
        "null",
        "none",
        "nan",
    ),
    *(
        "anonymous",
        "guest",
        "guests",
        "n/a",
        "not set",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff",
        "\t",
        "\n",
        "\x00",
        "\x1f",
        "\x85",
        "é",
        "e\u0301",
    ),
    *("\u00a0", "\u200b", "\u2028", "\ufeff", "\u2014", "Ω", "\u2126", "ж", "日", "가", "😀", "_", '"', "'", "\\N"),
]


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def in_sql(connection: duckdb.DuckDBPyConnection, text: str) -> str | None:
    """As ``canonical_id`` has it. Raises ``ValueError`` with the fault."""
    value, fault = (
        connection.execute(f"select {id_value('id')}, {id_fault('id')} from (select ? as id)", [text]).fetchone() or ()
    )
    if fault is not None:
        raise ValueError(fault)
    return None if value is None else str(value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1001", "1001"),
        ("  c-9\u00a0", "c-9"),
        ("\ufeffc-9\u200b\t", "c-9"),
        ("e\u0301", "é"),
        ("A b", "A b"),
        ("0012", "0012"),
        *(
            (text, None)
            for text in (
                "-",
                "- -",
                "\u2014",
                "null",
                "NULL",
                "None",
                "nan",
                "(not set)",
                "undefined",
                "anonymous",
                "Guest",
                "N/A",
                '""',
                " ",
            )
        ),
        *(
            (text, None)
            for text in ("0" * 32, "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}")
        ),
        ("00000000", "00000000"),
        ("12.50", "12.50"),
        ("12e5", "12e5"),
    ],
)
def test_an_id_has_one_form_in_sql_and_in_python(
    connection: duckdb.DuckDBPyConnection, text: str, canonical: str | None
) -> None:
    assert canonical_id(text) == in_sql(connection, text) == canonical


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1001.0", NO_ID_AMBIGUOUS),
        ("1001.", NO_ID_AMBIGUOUS),
        ("1.001e3", NO_ID_AMBIGUOUS),
        ("1E+05", NO_ID_AMBIGUOUS),
        (" 1001.00 ", NO_ID_AMBIGUOUS),
        ("a\u200bb", NO_ID_INVISIBLE),
        ("a\u00a0b", NO_ID_INVISIBLE),
        ("a\x00b", NO_ID_INVISIBLE),
        ("a\nb", NO_ID_INVISIBLE),
    ],
)
def test_an_ambiguous_or_invisible_id_is_refused_in_sql_and_in_python(
    connection: duckdb.DuckDBPyConnection, text: str, fault: str
) -> None:
    for judge in (canonical_id, lambda text: in_sql(connection, text)):
        with pytest.raises(ValueError, match=fault):
            judge(text)


@pytest.mark.full
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join))
def test_sql_and_python_agree_on_any_text_and_a_canonical_id_is_its_own_form(text: str) -> None:
    found: list[str | None] = []
    with duckdb.connect(config={"threads": 1}) as connection:
        for judge in (canonical_id, lambda text: in_sql(connection, text)):
            try:
                found.append(judge(text))
            except ValueError as refused:
                found.append(f"refused: {refused}")
        assert found[0] == found[1]
        if found[0] is not None and not found[0].startswith("refused"):
            assert canonical_id(found[0]) == found[0]
        if found[0] != text:  # what is changed or refused is never passed by the quick look
            assert connection.execute(f"select {are_suspicious('?', may_be_numbers=False)}", [text]).fetchall() == [(True,)]


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/BERLIN", "Europe/Berlin"),
        ("Etc/GMT+1", "Etc/GMT+1"),
        *((text, None) for text in ("PST", "IST", "BST", "GMT+1", "+02:00", "localtime", "Factory", "Berlin")),
    ],
)
def test_a_time_zone_is_one_that_python_knows_by_its_own_name(
    connection: duckdb.DuckDBPyConnection, text: str, zone: str | None
) -> None:
    value = text_value(Column("time_zone", "VARCHAR", ""), "zone")
    assert connection.execute(f"select {value} from (select ? as zone)", [text]).fetchall() == [(zone,)]


def test_duckdb_knows_every_time_zone_that_is_accepted(connection: duckdb.DuckDBPyConnection) -> None:
    known = {name for (name,) in connection.execute("select name from pg_timezone_names()").fetchall()}
    assert set(TIME_ZONES.values()) <= known
