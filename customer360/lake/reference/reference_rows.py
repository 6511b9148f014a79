"""Rows of reference tables against their contract: from text to typed values, each row by its key once."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import Column, ReferenceTable

SHOWN_PROBLEMS = 5
EMPTY_KEYS = {"BIGINT": "0", "VARCHAR": "''"}  # what a part of a key counts as that may be left empty
EMPTY = "is empty but required"
SEE_VALUES = "The values are not in this log: customer360 check shows them."


@dataclass(frozen=True)
class RowProblem:
    """A value that breaks the contract: its row, column, and how many rows break the same rule.

    Rows of files count from 1 after the header; those of PostgreSQL have no number (0) and are named by their ``key``.
    """

    row: int
    column: str
    reason: str
    such_rows: int
    key: str = ""

    @property
    def for_logs(self) -> str:
        """As one line of a message, without the value and the key."""
        where = f"row {self.row}, " if self.row else ""
        said = self.reason if self.reason == EMPTY else f"is {self.reason.rpartition(' is ')[2]}"
        return f"{where}column {self.column}: {said} (1 of {self.such_rows} such rows)"

    def __str__(self) -> str:
        """As one line of a message."""
        where = f"row {self.row}" if self.row else self.key
        return f"{where}, column {self.column}: {self.reason} (1 of {self.such_rows} such rows)"


class BrokenReferenceError(ValueError):
    """A reference table's rows break its contract. The message names file, row, column and remedy.

    ``problems`` are the values at fault, where the cause is values. ``for_logs`` is the message without any value of a row:
    logs and alerts are read by people who may not see what customers are called.
    """

    def __init__(self, message: str, problems: tuple[RowProblem, ...] = (), for_logs: str = "") -> None:
        super().__init__(message)
        self.problems = problems
        self.for_logs = f"{for_logs}\n{SEE_VALUES}" if for_logs else message


@dataclass(frozen=True)
class Origin:
    """Where rows come from, in words: the file or table, how to mend its rows, and a shorter name beside one of them."""

    title: str
    remedy: str
    short: str = ""


def typed_columns(contract: ReferenceTable) -> str:
    """Column list with types, without the validity."""
    return ", ".join(f"{quoted(column.name)} {column.type}" for column in contract.columns)


def column_names(contract: ReferenceTable) -> str:
    """Column list."""
    return ", ".join(quoted(column.name) for column in contract.columns)


def create_landed(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    """An empty temporary table ``landed``: typed columns, source_file, source_row (empty for PostgreSQL)."""
    connection.execute(f"create temp table landed ({typed_columns(contract)}, source_file varchar, source_row bigint)")


def check_columns(contract: ReferenceTable, origin: Origin, present: list[str]) -> None:
    """Raises ``BrokenReferenceError`` where a required column is missing."""
    missing = [column.name for column in contract.columns if column.required and column.name not in present]
    if missing:
        raise BrokenReferenceError(
            f"{contract.name}: {origin.title} lacks the required column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(present)}. Add the column, or rename one; see docs/your-data.md."
        )


def land_texts(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, origin: Origin, present: list[str]) -> None:
    """Append the rows of ``texts`` (columns ``present`` as text, source_row) to ``landed``.

    Raises ``BrokenReferenceError`` where a value is not of its type, or a required one is empty.
    """
    _check_types(connection, contract, origin, present)
    fields = ", ".join(_cast(column) if column.name in present else "null" for column in contract.columns)
    connection.execute(f"insert into landed select {fields}, {literal(origin.short or origin.title)}, source_row from texts")


def _cast(column: Column) -> str:
    name = f"nullif({quoted(column.name)}, '')"
    if column.type == "TIMESTAMP":
        return f"cast(try_cast({name} as timestamptz) as timestamp)"
    if column.type == "VARCHAR":
        return name
    value = f"try_cast({name} as {column.type})"
    if column.type == "BIGINT":  # DuckDB would round 1.5
        return f"case when try_cast({name} as double) = {value} then {value} end"
    return f"case when isfinite({value}) then {value} end" if column.type == "DOUBLE" else value


def _check_types(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, origin: Origin, present: list[str]) -> None:
    problems: list[RowProblem] = []
    parts = [f"'{name} ' || coalesce({quoted(name)}, '(empty)')" for name in contract.key if name in present]
    key = f"concat_ws(', ', {', '.join(parts)})"
    for column in contract.columns:
        if column.name not in present:
            continue
        name = quoted(column.name)
        tests = [f"nullif({name}, '') is not null and {_cast(column)} is null"] if column.type != "VARCHAR" else []
        tests += [f"nullif({name}, '') is null"] if column.required else []
        for test in tests:
            rows = connection.execute(
                f"select source_row, {name}, count(*) over (), {key} from texts "
                f"where {test} order by source_row, {name} limit {SHOWN_PROBLEMS}"
            ).fetchall()
            for row, value, total, row_key in rows:
                said = EMPTY if value in (None, "") else f"{value!r} is not of type {column.type}"
                problems.append(RowProblem(row or 0, column.name, said, total, row_key))
    if problems:
        shown = "\n  ".join(str(problem) for problem in problems[: SHOWN_PROBLEMS * 2])
        told = "\n  ".join(problem.for_logs for problem in problems[: SHOWN_PROBLEMS * 2])
        raise BrokenReferenceError(
            f"{contract.name}: {origin.title} breaks its contract:\n  {shown}\n"
            f"{origin.remedy}; the last good version stays in force until then.",
            tuple(problems),
            f"{contract.name}: {origin.title} breaks its contract:\n  {told}\n"
            f"{origin.remedy}; the last good version stays in force until then.",
        )


def key_values(contract: ReferenceTable, relation: str) -> list[str]:
    """SQL of the parts of a row's key, never empty: an order line without a number is line 0, see EMPTY_KEYS."""
    optional = [column for column in contract.columns if column.name in contract.key and not column.required]
    empty = {column.name: EMPTY_KEYS[column.type] for column in optional}
    columns = {name: f"{relation}.{quoted(name)}" for name in contract.key}
    return [f"coalesce({column}, {empty[name]})" if name in empty else column for name, column in columns.items()]


def check_keys(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, remedy: str) -> None:
    """Raises ``BrokenReferenceError`` where ``landed`` has a key twice."""
    keys = key_values(contract, "landed")
    numbered = [f"key_{number}" for number in range(len(keys))]
    selected = ", ".join(f"{key} as {name}" for key, name in zip(keys, numbered, strict=True))
    # Rows are put together only for the few keys that are shown: their texts for all keys would not fit into memory.
    twice = connection.execute(
        f"""
        with twice as (
            select {selected}, count(*) over () as keys from landed
            group by {", ".join(numbered)} having count(*) > 1 order by all limit {SHOWN_PROBLEMS}
        )
        select string_agg(source_file || coalesce(' row ' || source_row, ''), ', ' order by source_file, source_row),
            concat_ws(' / ', {", ".join(numbered)}), any_value(keys)
        from landed join twice on {" and ".join(f"{key} = {name}" for key, name in zip(keys, numbered, strict=True))}
        group by {", ".join(numbered)} order by all
        """
    ).fetchall()
    if twice:
        lines = "\n  ".join(f"{key}: {rows[:300]}" for rows, key, _ in twice)
        told = "\n  ".join(rows[:300] for rows, _, _ in twice)
        said = f"{contract.name}: {twice[0][2]} keys ({', '.join(contract.key)}) appear more than once, among them:\n  "
        until = f"\n{remedy}; the last good version stays in force until then."
        raise BrokenReferenceError(f"{said}{lines}{until}", for_logs=f"{said}{told}{until}")
