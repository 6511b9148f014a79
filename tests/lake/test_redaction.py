"""DuckDB's errors are redacted: no values of rows, and the names that a person needs to mend them."""

from __future__ import annotations

import duckdb
import pytest

from customer360.lake.redaction import redacted, redacted_errors

VALUE = "anna@example.org"


@pytest.mark.parametrize(
    "sql",
    [
        f"select cast(v as integer) from (select '{VALUE}' as v union all select '1') as t",
        f"insert into keyed select '{VALUE}' from range(2)",
        f"select strptime(v, '%Y') from (select '{VALUE}' as v union all select '1') as t",
        f"select cast(v as timestamp) from (select '{VALUE}' as v union all select '1') as t",
        f"select json_extract(v, '$.a') from (select '{VALUE}' as v union all select '1') as t",
        f"select error(v) from (select '{VALUE}' as v union all select '1') as t",
        f"select cast(v as struct(a integer)) from (select '{VALUE}' as v union all select '1') as t",
    ],
)
def test_an_error_that_quotes_a_value_tells_its_kind_alone(sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("create table keyed (id varchar primary key)")
        with pytest.raises(duckdb.Error) as quoting:
            connection.execute(sql).fetchall()
        assert VALUE in str(quoting.value)
        with pytest.raises(type(quoting.value)) as raised, redacted_errors("look there"):
            connection.execute(sql).fetchall()
    assert VALUE not in str(raised.value)
    assert str(raised.value).endswith("; look there")
    assert str(raised.value).split(" Error: ")[0] == str(quoting.value).split(" Error: ")[0]
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("sql", "needed"),
    [
        ("select no_such_column from range(1)", "no_such_column"),
        ("select * from no_such_table", "no_such_table"),
        ("select from where", "syntax error"),
        ("select * from read_parquet('/no/such/file.parquet')", "/no/such/file.parquet"),
        ("set memory_limit = '1MB'; select count(*) from (select random() as r from range(9000000) order by r)", "memory"),
    ],
)
def test_an_error_that_quotes_no_row_is_shown_in_full(sql: str, needed: str) -> None:
    connecting = duckdb.connect(config={"temp_directory": ""})
    with connecting as connection, pytest.raises(duckdb.Error) as raised, redacted_errors("look there"):
        connection.execute(sql).fetchall()
    assert needed in str(raised.value)
    assert "look there" not in str(raised.value)


def test_what_dbt_says_around_an_error_stays() -> None:
    model = "Runtime Error in model int_customers (models/int_customers.sql)"
    text = redacted(f"{model}\n  Conversion Error: Could not convert '{VALUE}'", "look there")
    assert text.startswith(f"{model}\n  Conversion Error: what it says")
    assert VALUE not in text
    assert redacted("1 of 1 OK created model", "look there") == "1 of 1 OK created model"


def test_an_error_behind_a_harmless_one_is_withheld_too() -> None:
    text = redacted(f"Binder Error: no column x\nConstraint Error: Duplicate key 'id: {VALUE}'", "look there")
    assert text.startswith("Binder Error: no column x\nConstraint Error: what it says")
    assert VALUE not in text
