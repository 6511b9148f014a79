"""Rows of reference tables against their contract: from text to typed values, each key once; broken rows are set aside.

One broken row costs one row. Order lines without a number are numbered. Of rows with one key the first by file and row stays,
and a consent holds only where all of them give it. A suppression is never lost: with a readable customer it stays in force, its
unreadable values empty (no channel means every channel); without one the table is refused, so that nobody is contacted until it
is mended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb

from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import Column, ReferenceTable
from customer360.lake.landing.values import EARLIEST_TIME, EXPECTED, LATEST_TIME, id_fault, id_value, text_value

SHOWN_PROBLEMS = 5
LINE_NO = "line_no"
EMPTY_KEYS = {"BIGINT": "0", "VARCHAR": "''"}  # value of an empty part of a key
UNNUMBERED = -(2**62)  # line numbers up to here stand for lines without one
EMPTY = "is empty but required"
SUPPRESSIONS = "suppressions"
SEE_VALUES = "The values are not in this log: customer360 check shows them."
UNTIL_THEN = "the last good version stays in force until then."


@dataclass(frozen=True)
class RowProblem:
    """A row that was set aside: its file, row and column, the reason with the value, and the reason without any.

    Rows count from 1 (of CSV after the header); those of PostgreSQL have no number (0) and are named by their ``key``.
    """

    file: str
    row: int
    column: str
    reason: str
    fault: str
    key: str = ""

    @property
    def for_logs(self) -> str:
        """As one line of a message, without the value and the key."""
        return f"{self.file}{f' row {self.row}' if self.row else ''}, column {self.column}: {self.fault}"

    def __str__(self) -> str:
        """As one line of a message."""
        where = f" row {self.row}" if self.row else f", {self.key}"
        return f"{self.file}{where}, column {self.column}: {self.reason}"


class BrokenReferenceError(ValueError):
    """A reference table cannot be loaded. The message names file, row, column and remedy.

    ``problems`` are the rows at fault, where the cause is rows. ``for_logs`` is the message without any value of a row:
    logs and alerts are read by people who may not see personal data.
    """

    def __init__(self, message: str, problems: tuple[RowProblem, ...] = (), for_logs: str = "") -> None:
        super().__init__(message)
        self.problems = problems
        self.for_logs = f"{for_logs}\n{SEE_VALUES}" if for_logs else message


@dataclass(frozen=True)
class Origin:
    """Where rows come from: the file or table, how to mend its rows, and a shorter name beside one of them."""

    title: str
    remedy: str
    short: str = ""

    @property
    def name(self) -> str:
        """Value of a row's ``source_file``."""
        return self.short or self.title


def typed_columns(contract: ReferenceTable) -> str:
    """Column list with types, without the validity."""
    return ", ".join(f"{quoted(column.name)} {column.type}" for column in contract.columns)


def column_names(contract: ReferenceTable) -> str:
    """Column list."""
    return ", ".join(quoted(column.name) for column in contract.columns)


def create_incoming(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    """Empty temporary tables ``incoming`` (typed columns, _file, _row) and ``set_aside``.

    The latter has _column, _reason (with the value), _fault (without) and _raw too; its values at fault are empty. _row is
    empty for PostgreSQL. No attribute of a shop begins with an underscore.
    """
    source = f"{typed_columns(contract)}, _file varchar, _row bigint"
    connection.execute(f"create or replace temp table incoming ({source})")
    connection.execute(
        f"create or replace temp table set_aside ({source}, _column varchar, _reason varchar, _fault varchar, _raw varchar)"
    )


def check_columns(contract: ReferenceTable, origin: Origin, columns: Collection[str], present: list[str]) -> None:
    """Raises ``BrokenReferenceError`` where a required column is not among ``columns``; the source has those ``present``."""
    missing = [c.name for c in contract.columns if (c.required or c.must_exist) and c.name not in columns]
    if missing:
        raise BrokenReferenceError(
            f"{contract.name}: {origin.title} lacks the required column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(present) or 'none'}. Add the column, or say in shop.yaml which one is meant, as in "
            f"`sources: {{{contract.name}: {{columns: {{{missing[0]}: NAME}}}}}}`; see docs/your-data.md."
        )


def take_rows(
    connection: duckdb.DuckDBPyConnection,
    contract: ReferenceTable,
    origin: Origin,
    present: list[str],
    numeric: Mapping[str, tuple[str, int]],
) -> None:
    """Append the rows of ``texts`` to ``incoming``, those that break the contract to ``set_aside``.

    ``texts`` has the columns ``present`` as text, _row, _problem (where the row itself cannot be read) and _raw. ``numeric``
    maps an id column to SQL that is true for a value of a numeric type, and to the bound below which that type is exact.
    """
    columns = [column for column in contract.read_columns if column.name in present]
    values = [f"{_value(column, numeric)} as {quoted(f'_value_{column.name}')}" for column in columns]
    values += [f"{_id_fault(column, numeric)} as {quoted(f'_fault_{column.name}')}" for column in columns if column.is_id]
    rules = [rule for column in columns for rule in _rules(column)]
    faults = " ".join(f"when {test} then {{'column': {literal(name)}, 'fault': {fault}}}" for name, test, fault in rules)
    texts = ", ".join(f"{quoted(column.name)} := {quoted(column.name)}" for column in columns)
    connection.execute(
        f"""
        create or replace temp table judged as
        select *, case when _problem is not null then {{'column': '', 'fault': _problem}} {faults} end as _broken
        from (select *, {", ".join(values)} from texts)
        """
    )
    typed = ", ".join(_typed(column) if column.name in present else "null" for column in contract.columns)
    row = f"{typed}, {literal(origin.name)}, _row"
    connection.execute(
        f"""
        insert into set_aside select {row}, _broken."column",
            concat_ws(' ', left(case _broken."column" {_shown(columns)} end, 60), _broken.fault),
            _broken.fault, coalesce(_raw, cast(to_json(struct_pack({texts})) as varchar))
        from judged where _broken is not null
        """
    )
    kept = "_broken is null"
    if contract.name == SUPPRESSIONS:
        _require_customers(connection, contract, origin)
        kept += " or _value_customer_id is not null"
    connection.execute(f"insert into incoming select {row} from judged where {kept}")
    connection.execute("drop table judged")


def _value(column: Column, numeric: Mapping[str, tuple[str, int]]) -> str:
    text = f"nullif({quoted(column.name)}, '')"
    return id_value(text, numeric[column.name][0]) if column.is_id else text_value(column, text)


def _id_fault(column: Column, numeric: Mapping[str, tuple[str, int]]) -> str:
    is_number, below = numeric[column.name]
    return id_fault(f"nullif({quoted(column.name)}, '')", is_number, str(below))


def _typed(column: Column) -> str:
    value = quoted(f"_value_{column.name}")
    if column.type == "TIMESTAMP":
        return f"case when {_is_in_range(value)} then {value} end"
    return f"case when {quoted(f'_fault_{column.name}')} is null then {value} end" if column.is_id else value


def _is_in_range(value: str) -> str:
    return f"{value} >= timestamp '{EARLIEST_TIME}' and {value} < timestamp '{LATEST_TIME}'"


def _rules(column: Column) -> list[tuple[str, str, str]]:
    """Column, test and fault (SQL), in the order they are judged."""
    text, value = f"nullif({quoted(column.name)}, '')", quoted(f"_value_{column.name}")
    fault = quoted(f"_fault_{column.name}")
    rules = []
    if column.is_id:
        rules.append((column.name, f"{fault} is not null", fault))
        if column.required:
            rules.append((column.name, f"{text} is not null and {value} is null", literal("is a placeholder, no id")))
    elif column.type != "VARCHAR" or column.is_time_zone:
        expected = "an IANA time zone such as Europe/Berlin" if column.is_time_zone else EXPECTED[column.type]
        rules.append((column.name, f"{text} is not null and {value} is null", literal(f"is not {expected}")))
    if column.type == "TIMESTAMP":
        span = f"is not between {EARLIEST_TIME} and {LATEST_TIME}"
        rules.append((column.name, f"{value} is not null and not ({_is_in_range(value)})", literal(span)))
    if column.required:
        rules.append((column.name, f"{value} is null", literal(EMPTY)))
    if column.is_share:
        rules.append((column.name, f"{value} is not null and not {value} between 0 and 1", literal("is not between 0 and 1")))
    if column.only is not None:
        other = f"upper(trim({text})) <> {literal(column.only)}"
        rules.append((column.name, other, literal(f"is not the {column.name} of the shop ({column.only})")))
    return rules


def _shown(columns: list[Column]) -> str:
    """Branches of a CASE: the value that a row's reason begins with."""
    names = " ".join(f"when {literal(column.name)} then nullif({quoted(column.name)}, '')" for column in columns)
    return f"when '' then null {names}"


def _require_customers(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, origin: Origin) -> None:
    """Raises ``BrokenReferenceError`` where it cannot be read whom a row suppresses."""
    unreadable = "customer_id is null"
    (rows,) = connection.execute(f"select count(*) from set_aside where {unreadable}").fetchone() or (0,)
    if rows:
        raise broken_rows(
            connection,
            contract,
            f"{contract.name}: {origin.title} has {rows:,} row{'s' * (rows > 1)} without a readable customer, "
            "so nobody knows whom not to contact",
            f"{origin.remedy}; until then the last good version stays in force, and nothing is planned or sent.",
            unreadable,
        )


def broken_rows(
    connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, message: str, remedy: str, condition: str = "true"
) -> BrokenReferenceError:
    """The error for a table whose rows in ``set_aside`` are too many, or must not be lost."""
    problems = set_aside_rows(connection, contract, SHOWN_PROBLEMS * 2, condition)
    shown, for_logs = ("\n  ".join(lines) for lines in (map(str, problems), (problem.for_logs for problem in problems)))
    return BrokenReferenceError(f"{message}:\n  {shown}\n{remedy}", tuple(problems), f"{message}:\n  {for_logs}\n{remedy}")


def set_aside_rows(
    connection: duckdb.DuckDBPyConnection, contract: ReferenceTable, most: int, condition: str = "true"
) -> list[RowProblem]:
    """The first rows of ``set_aside``, by file and row."""
    key = ", ".join(f"'{name} ' || coalesce(cast({quoted(name)} as varchar), '(empty)')" for name in contract.key)
    rows = connection.execute(
        f"select _file, coalesce(_row, 0), _column, _reason, _fault, concat_ws(', ', {key}) from set_aside "
        f"where {condition} order by _file, _row, _reason limit {most}"
    ).fetchall()
    return [RowProblem(*row) for row in rows]


def key_values(contract: ReferenceTable, relation: str) -> list[str]:
    """SQL of the parts of a row's key, never empty: an order line without a number is line 0, see EMPTY_KEYS."""
    optional = [column for column in contract.columns if column.name in contract.key and not column.required]
    empty = {column.name: EMPTY_KEYS[column.type] for column in optional}
    columns = {name: f"{relation}.{quoted(name)}" for name in contract.key}
    return [f"coalesce({column}, {empty[name]})" if name in empty else column for name, column in columns.items()]


def keep_distinct(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    """Make ``incoming`` one row for each key, with the most frequent value of each column (the smallest of equal ones).

    Rows whose key is empty are those of something else, and are not set aside.
    """
    keys, others = contract.key, [column.name for column in contract.columns if column.name not in contract.key]
    by_count = "list_sort(list_transform(map_entries(histogram({})), lambda entry: {{'n': -entry.value, 'v': entry.key}}))[1].v"
    columns = [f"{by_count.format(quoted(name))} as {quoted(name)}" for name in others]
    numbered = ", ".join(map(quoted, keys))
    connection.execute(
        f"""
        create or replace temp table distinct_rows as
        select {", ".join([numbered, *columns])}, arg_min(_file, (_file, _row)) as _file, arg_min(_row, (_file, _row)) as _row
        from incoming group by {numbered}
        """
    )
    connection.execute("truncate incoming")
    connection.execute("insert into incoming by name from distinct_rows")
    connection.execute("drop table distinct_rows")
    connection.execute("delete from set_aside where _fault = ? and list_contains(?, _column)", [EMPTY, list(keys)])


def is_unnumbered(line_no: str) -> str:
    """SQL that is true for the ``line_no`` of a line to which its producer gave none."""
    return f"({line_no} is null or {line_no} <= {UNNUMBERED})"


def number_lines(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    """Give the rows of ``incoming`` without a line number that share order and product numbers of their own.

    They are lines of the order: the first keeps none (which counts as 0), the others get numbers from ``UNNUMBERED`` down, by
    their content, whatever the order of rows. Rows that are alike in every column are as many lines as the file with most of
    them has: in another file they are repeats, as of exports that overlap.
    """
    columns = [quoted(column.name) for column in contract.columns]
    content = ", ".join(f"{name} nulls first" for name in columns)
    connection.execute(
        f"""
        create or replace temp table unnumbered as
        select id, dense_rank() over (partition by order_id, product_id order by {content}, occurrence) - 1 as place
        from (
            select rowid as id, *,
                row_number() over (partition by {", ".join(columns)}, _file order by _row, rowid) as occurrence
            from incoming where line_no is null and (order_id, product_id) in (
                select (order_id, product_id) from incoming where line_no is null
                group by order_id, product_id having count(*) > 1
            )
        )
        """
    )
    connection.execute(
        f"update incoming set line_no = {UNNUMBERED} - place from unnumbered where incoming.rowid = id and place > 0"
    )
    connection.execute("drop table unnumbered")


def set_faults_aside(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    """Move the rows of ``incoming`` that the contract's own ``faults`` names to ``set_aside``, by file and row."""
    if contract.faults is None:
        return
    cursor = connection.execute("select rowid as _id, * from incoming order by _file, _row, rowid")
    names = [column[0] for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    packed = ", ".join(f"{quoted(column.name)} := incoming.{quoted(column.name)}" for column in contract.columns)
    for position, (column, fault) in contract.faults(rows):
        row = rows[position]
        shown = " ".join([*([str(row[column])[:60]] if row[column] is not None else []), fault])
        connection.execute(
            f"insert into set_aside select *, ?, ?, ?, cast(to_json(struct_pack({packed})) as varchar) from incoming "
            "where rowid = ?",
            [column, shown, fault, row["_id"]],
        )
        connection.execute("delete from incoming where rowid = ?", [row["_id"]])


def set_repeats_aside(connection: duckdb.DuckDBPyConnection, contract: ReferenceTable) -> None:
    """Of the rows of ``incoming`` with one key keep the first by file and row; a consent holds only where all give it."""
    if LINE_NO in contract.key:
        number_lines(connection, contract)
    keys = [f"{key} as key_{number}" for number, key in enumerate(key_values(contract, "incoming"))]
    numbered = ", ".join(f"key_{number}" for number in range(len(keys)))
    same_key = " and ".join(f"{key} = key_{number}" for number, key in enumerate(key_values(contract, "incoming")))
    consents = [quoted(column.name) for column in contract.columns if column.is_consent]
    position = f"{{'file': _file, 'row': _row, 'content': hash({column_names(contract)})}}"
    connection.execute(
        f"""
        create or replace temp table repeated as
        select {", ".join(keys)}, {"".join(f"bool_and(coalesce({name}, false)) as {name}, " for name in consents)}
            arg_min(rowid, {position}) as kept, arg_min(_file || coalesce(' row ' || _row, ''), {position}) as first
        from incoming group by {numbered} having count(*) > 1
        """
    )
    fault = f"repeats the key ({', '.join(contract.key)}) of "
    connection.execute(
        f"""
        insert into set_aside
        select {", ".join(f"incoming.{quoted(column.name)}" for column in contract.columns)}, _file, _row,
            {literal(contract.key[0])}, {literal(fault)} || first, {literal(fault)} || first,
            cast(to_json(struct_pack({", ".join(f"{quoted(c.name)} := incoming.{quoted(c.name)}" for c in contract.columns)}))
                as varchar)
        from incoming inner join repeated on {same_key} where incoming.rowid <> kept
        """
    )
    if consents:
        agreed = ", ".join(f"{name} = repeated.{name}" for name in consents)
        connection.execute(f"update incoming set {agreed} from repeated where incoming.rowid = kept")
    connection.execute(f"delete from incoming using repeated where {same_key} and incoming.rowid <> kept")
