"""The pinned DuckDB against a loss of data that a later version shows: rows deleted from a table made by ``create ... as``."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import duckdb

ROWS = 576_000


def test_rows_deleted_after_create_as_select_are_gone_and_the_others_stay(tmp_path: Path) -> None:
    """DuckDB 2.0.0 counts 576,000 rows and sums to NULL after this, also when the file is opened again."""
    path = str(tmp_path / "warehouse.duckdb")
    counted = "select count(*), sum(value) from copied"
    with duckdb.connect(path) as connection:
        connection.execute("begin")
        connection.execute("create table copied as select 0::bigint as slice, 0::bigint as value limit 0")
        connection.execute(f"insert into copied select i // 6000, i from range({ROWS}) as t (i)")
        connection.execute("commit")
        assert connection.execute(counted).fetchone() == (ROWS, ROWS * (ROWS - 1) // 2)
        connection.execute("delete from copied where slice < 48")
        half = ROWS // 2
        expected = (half, sum(range(half, ROWS)))
        assert connection.execute(counted).fetchone() == expected
        connection.execute("checkpoint")
    with duckdb.connect(path) as connection:
        assert connection.execute(counted).fetchone() == expected


def test_a_slice_is_rewritten_in_one_transaction_or_not_at_all(tmp_path: Path) -> None:
    path = str(tmp_path / "warehouse.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute("create table activity (slice bigint, value bigint)")
        connection.execute("insert into activity select i // 6000, i from range(60000) as t (i)")
    connection = duckdb.connect(path)
    connection.execute("begin")
    connection.execute("delete from activity where slice = 3")
    connection.execute("insert into activity select 3, 1 from range(10)")
    connection.close()  # the run died before its commit
    with duckdb.connect(path) as connection:
        assert connection.execute("select count(*) from activity where slice = 3").fetchone() == (6000,)


def test_the_version_is_the_one_that_pyproject_pins() -> None:
    pinned = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"duckdb=={version("duckdb")}"' in pinned
