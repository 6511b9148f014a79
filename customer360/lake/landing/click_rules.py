"""The click contract as SQL: typed columns, and for a line that breaks a rule the column and the reason.

The input is a relation of (file_no, line, text, problem) with every contract column as text; one pass, no loop over lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from customer360.lake.engine import file_literal, literal, quoted
from customer360.lake.landing.contracts import CLICK_COLUMNS, MAX_AGE_DAYS, MAX_FUTURE_HOURS, Column
from customer360.lake.landing.values import (
    EXPECTED,
    TEXT,
    are_suspicious,
    exact_below,
    id_fault,
    id_value,
    typed_value,
)
from customer360.lake.slices import naive

_TYPED = tuple(column for column in CLICK_COLUMNS if column.type != "VARCHAR")
_NAMES = tuple(column.name for column in CLICK_COLUMNS)
_IDS = tuple(column.name for column in CLICK_COLUMNS if column.is_id)
# True for a line of JSON with an id that is no string; ids of GA (1089832.1234567) would else cost a closer look each.
HAS_NUMBERS = r"""coalesce(regexp_matches(text, '_id"\s*:\s*[-+.0-9NI]'), true)"""
# Of what ``checked`` gives, in its order.
CHECKED_TYPES = {
    **{"file_no": "INTEGER", "line": "BIGINT", "text": "VARCHAR"},
    **{column.name: column.type for column in CLICK_COLUMNS},
    **{"extra": "VARCHAR", "column_name": "VARCHAR", "reason": "VARCHAR", "event_key": "BIGINT"},
}
SAYS_SOMETHING = r"(problem is not null or not regexp_full_match(text, '[ \t\r\n]*'))"  # of a line: not blank


@dataclass(frozen=True)
class ClickBounds:
    """Event times that are accepted: [earliest, latest], and the reasons for others."""

    earliest: datetime
    latest: datetime
    too_early: str
    too_late: str

    @classmethod
    def of_slice(cls, start: datetime, end: datetime) -> ClickBounds:
        """Bounds of an arrival slice [start, end)."""
        return cls(
            start - timedelta(days=MAX_AGE_DAYS),
            end + timedelta(hours=MAX_FUTURE_HOURS),
            f"is over {MAX_AGE_DAYS} days before its slice",
            f"is more than {MAX_FUTURE_HOURS} hour after the end of its slice",
        )


def json_source(lines: str) -> str:
    """The text relation over ``lines`` (file_no, line, text, problem), each text a JSON object.

    ``extra`` is worked out only where an object has more keys than contract columns with a value. Blank lines are left out,
    by a regular expression: ``trim`` took half of the time of reading a slice.
    """
    structure = "{" + ",".join(f'"{name}":"VARCHAR"' for name in _NAMES) + "}"
    without_known = "{" + ",".join(f'"{name}":null' for name in _NAMES) + "}"
    filled = " + ".join(f"cast(fields.{quoted(name)} is not null as integer)" for name in _NAMES)
    fields = f"""
        select file_no, line, text, problem, object,
            {", ".join(f"nullif(fields.{quoted(name)}, '') as {quoted(name)}" for name in _NAMES)},
            case when len(json_keys(object)) > {filled}
                then nullif(cast(json_merge_patch(object, {literal(without_known)}) as varchar), '{{}}') end as extra
        from (
            select *, json_transform(object, {literal(structure)}) as fields
            from (
                select file_no, line, text,
                    case when problem is not null then problem
                        when is_nested then 'nested too deeply'
                        when not is_json then 'not valid JSON'
                        when json_type(text) <> 'OBJECT' then 'not a JSON object' end as problem,
                    case when is_json and json_type(text) = 'OBJECT' then text end as object
                from (
                    select *, problem is null and not is_nested and json_valid(text) as is_json
                    from (select *, {_is_nested("text")} as is_nested from {lines})
                    where {SAYS_SOMETHING}
                )
            )
        )
    """
    paths = ", ".join(literal(f"$.{name}") for name in _IDS)
    is_number = f"list_transform(json_type(object, [{paths}]), lambda kind: kind = 'DOUBLE')"
    return _canonical_ids(fields, is_number, [exact_below("DOUBLE")] * len(_IDS))


def _canonical_ids(source: str, is_number: str | None, below: Sequence[int]) -> str:
    """The relation ``source`` with canonical ids and ``id_fault`` (column_name, reason) of the first id that is none.

    ``is_number`` (a SQL list, None where no id can be a number) and ``below`` are arguments of ``id_fault`` in the order of
    ``_IDS``. A closer look costs only the lines with a suspicious id.
    """
    ids = ", ".join(map(quoted, _IDS))
    numeric = "false" if is_number is None else "numeric[position]"
    has_numbers = "false" if is_number is None else HAS_NUMBERS
    value, fault = id_value("id", numeric), id_fault("id", numeric, f"{list(below)}[position]")
    reason = "case when judged[position].fault is not null then left(id, 60) || ' ' || judged[position].fault end"
    canonical = ", ".join(
        f"case when is_suspicious then judged[{position}].id else {quoted(name)} end as {quoted(name)}"
        for position, name in enumerate(_IDS, 1)
    )
    return f"""
        select * exclude (numeric, judged, reasons, plain_ids) replace ({canonical}),
            case when len(list_filter(reasons, lambda reason: reason is not null)) > 0 then {{
                'column_name': ({list(_IDS)})[list_position(list_transform(reasons, lambda reason: reason is not null), true)],
                'reason': list_filter(reasons, lambda reason: reason is not null)[1]
            }} end as id_fault
        from (
            select *, case when is_suspicious then list_transform([{ids}], lambda id, position: {reason}) end as reasons
            from (
                select *, case when is_suspicious
                    then list_transform([{ids}], lambda id, position: {{'id': {value}, 'fault': {fault}}}) end as judged
                from (
                    select *, case when is_suspicious then {is_number or "null"} end as numeric
                    from (
                        select *, {are_suspicious("plain_ids", may_be_numbers=False)} or ({has_numbers} and
                            {are_suspicious("plain_ids", may_be_numbers=True)}) as is_suspicious
                        from (select *, concat_ws('|', {ids}) as plain_ids from ({source}))
                    )
                )
            )
        )
    """


def _is_nested(text: str) -> str:
    """True for a long line with very many brackets: merging objects nested 170,000 deep ends the process, not the query."""
    brackets = f"strlen({text}) - strlen(replace(replace({text}, '[', ''), '{{', ''))"
    return f"case when strlen({text}) > 65536 then {brackets} > 10000 else false end"


def parquet_source(paths: Mapping[str, int], types: Mapping[str, str]) -> str:
    """The same relation over Parquet files (path to file_no) whose columns have these types.

    A column that is typed already is not turned into text and back. Text stays NULL: the few bad lines are read again.
    """
    fields = ", ".join(_parquet_field(column, types.get(column.name)) for column in CLICK_COLUMNS)
    kinds = [types.get(name, "VARCHAR") for name in _IDS]
    numeric = None if set(kinds) <= set(TEXT) else str([kind not in TEXT for kind in kinds])
    packed = ", ".join(f"{quoted(name)} := landed.{quoted(name)}" for name in types if name not in _NAMES)
    extra = f"cast(to_json(struct_pack({packed})) as varchar)" if packed else "cast(null as varchar)"
    files = ", ".join(file_literal(path) for path in paths)
    numbers = ", ".join(f"({literal(path)}, {number})" for path, number in paths.items())
    landed = f"""
        select cast(numbers.file_no as integer) as file_no, file_row_number + 1 as line, cast(null as varchar) as text,
            cast(null as varchar) as problem, {fields}, {extra} as extra
        from read_parquet([{files}], filename = 'landed_path', file_row_number = true, hive_partitioning = false,
            union_by_name = true) as landed
        inner join (values {numbers}) as numbers (path, file_no) on landed.landed_path = numbers.path
    """
    return _canonical_ids(landed, numeric, [exact_below(kind) for kind in kinds])


def _parquet_field(column: Column, kind: str | None) -> str:
    name = quoted(column.name)
    if kind is None:
        return f"cast(null as varchar) as {name}"
    if kind in TEXT or column.type == "VARCHAR":
        return f"nullif(cast({name} as varchar), '') as {name}"
    return name


def checked(source: str, bounds: ClickBounds, currency: str, types: Mapping[str, str] | None = None) -> str:
    """Typed contract columns, ``extra``, ``event_key``, and (column_name, reason) of the first rule that a line breaks.

    ``types`` are the DuckDB types that columns of ``source`` have where it is Parquet; others are text.
    Only a broken line keeps its ``text``: that of all lines would be the larger part of a slice's memory.
    """
    rules = _rules(bounds, currency)
    columns = ", ".join(f"{_typed(column)} as {quoted(column.name)}" for column in CLICK_COLUMNS)
    kinds = types or {}
    typed = {column: typed_value(column, quoted(column.name), kinds.get(column.name, "VARCHAR")) for column in _TYPED}
    parsed = ", ".join(f"{value} as {_parsed(column)}" for column, value in typed.items())
    return f"""
        select file_no, line, case when rule is not null then text end as text, {columns}, extra,
            case rule {" ".join(f"when {n} then {rule.column}" for n, rule in enumerate(rules))} end as column_name,
            case rule {" ".join(f"when {n} then {rule.reason}" for n, rule in enumerate(rules))} end as reason,
            case when rule is null then cast(md5_number_lower(event_id) >> 1 as bigint) end as event_key
        from (
            select *, case {" ".join(f"when {rule.test} then {n}" for n, rule in enumerate(rules))} end as rule
            from (select *, {parsed} from ({source}))
        )
    """


@dataclass(frozen=True)
class _Rule:
    """A rule of the contract in SQL: the column's name, a test that is true for a broken line, and the reason."""

    column: str
    test: str
    reason: str


def _parsed(column: Column) -> str:
    return quoted(f"parsed_{column.name}")


def _typed(column: Column) -> str:
    return quoted(column.name) if column.type == "VARCHAR" else _parsed(column)


def _shown(name: str) -> str:
    return f"left(cast({quoted(name)} as varchar), 60)"


def _rules(bounds: ClickBounds, currency: str) -> list[_Rule]:
    """Every rule, in the order they are judged."""
    required = [_Rule(literal(c.name), f"{quoted(c.name)} is null", literal("is missing")) for c in CLICK_COLUMNS if c.required]
    unparsed = [
        _Rule(
            literal(column.name),
            f"{quoted(column.name)} is not null and {_parsed(column)} is null",
            f"{_shown(column.name)} || {literal(f' is not {EXPECTED[column.type]}')}",
        )
        for column in _TYPED
    ]
    return [
        _Rule("''", "problem is not null", "problem"),
        _Rule("id_fault.column_name", "id_fault is not null", "id_fault.reason"),
        *required,
        *unparsed,
        _Rule(
            literal("event_at"),
            f"parsed_event_at > timestamp '{naive(bounds.latest)}'",
            f"{_shown('event_at')} || {literal(' ' + bounds.too_late)}",
        ),
        _Rule(
            literal("event_at"),
            f"parsed_event_at < timestamp '{naive(bounds.earliest)}'",
            f"{_shown('event_at')} || {literal(' ' + bounds.too_early)}",
        ),
        _Rule(literal("customer_id"), "customer_id is null and visitor_id is null", literal("is missing, and visitor_id too")),
        _Rule(literal("dwell_seconds"), "parsed_dwell_seconds < 0", f"{_shown('dwell_seconds')} || ' is below 0'"),
        _Rule(literal("order_id"), "event_name = 'purchase' and order_id is null", literal("is missing in a purchase")),
        _Rule(literal("amount"), "event_name = 'purchase' and amount is null", literal("is missing in a purchase")),
        _Rule(
            literal("currency"),
            f"currency <> {literal(currency)}",
            f"left(currency, 60) || {literal(f' is not the currency of the shop ({currency})')}",
        ),
    ]
