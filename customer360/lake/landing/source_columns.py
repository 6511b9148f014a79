"""Columns of a shop's own files as the contract's: renamed, put together and spelt in the contract's form, in SQL.

``settings.SourceOptions`` says how the files are written. A value that cannot be read by the options keeps its text and gets
the option in parentheses, so that the contract's rules refuse it and their message shows both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from customer360.errors import OperatorError
from customer360.lake.engine import literal, quoted
from customer360.lake.landing.contracts import Column
from customer360.lake.landing.values import iso_timestamp
from customer360.settings import ColumnRule, Shop, SourceOptions

NUMBERS = ("DECIMAL(18,2)", "DOUBLE", "BIGINT")
SIGNS = {
    "EUR": "€",
    "USD": r"US\$|\$",
    "GBP": "£",
    "JPY": "¥",
    "CNY": "¥",
    "INR": "₹|Rs\\.?",
    "BRL": r"R\$",
    "CAD": r"C?\$",
    "AUD": r"A?\$",
    "CHF": r"S?Fr\.?",
    "SEK": "kr",
    "NOK": "kr",
    "DKK": "kr",
    "PLN": "zł",
    "CZK": "Kč",
    "TRY": "₺",
    "RUB": "₽",
    "KRW": "₩",
    "ILS": "₪",
    "UAH": "₴",
}
SKIPPED = "skipped when clocks go forward"
_BLANKS = "[\u00a0\u2007\u2009\u202f]"
_OFFSET = r"(?i).*\d:\d\d(:\d\d)?([.,]\d+)? ?(Z|[+-]\d\d(:?\d\d)?)"


@dataclass(frozen=True)
class Source:
    """How a source's files are written, and the currency that amounts may name."""

    options: SourceOptions
    currency: str

    @classmethod
    def of(cls, shop: Shop, name: str) -> Source:
        """The source ``name`` of a shop: a table, ``history`` or ``clicks``."""
        return cls(shop.sources.get(name, SourceOptions()), shop.currency)

    @property
    def typed(self) -> Source:
        """The source of Parquet and JSON Lines, where numbers have one form."""
        return replace(self, options=self.options.model_copy(update={"decimal": ".", "thousands": None}))

    def name_of(self, column: str) -> str | None:
        """The file's name of a contract's column; None where the column is made of others."""
        rule = self.options.columns.get(column, column)
        return rule if isinstance(rule, str) else None

    @property
    def used_columns(self) -> set[str]:
        """The file's columns that ``columns`` names."""
        rules = self.options.columns.values()
        return {name for rule in rules for name in ([rule] if isinstance(rule, str) else rule.names)}


class UnknownColumnError(OperatorError, ValueError):
    """``columns`` of a source names a column that the file or the table does not have. The message names both."""


def source_columns(columns: Sequence[Column], source: Source, present: Iterable[str], row: str = "_row") -> dict[str, str]:
    """SQL of the contract's text of each of ``columns`` that can be had from a file with the columns ``present`` (text).

    ``row`` is SQL that orders the file's rows, for ``number_within``. Raises ``UnknownColumnError``.
    """
    names, options = list(present), source.options
    unknown = sorted(set(options.columns) - {column.name for column in columns})
    if unknown:
        raise UnknownColumnError(
            f"`columns` says where {', '.join(unknown)} is, which the table does not have; "
            f"it has {', '.join(column.name for column in columns)}"
        )
    found = {}
    for column in columns:
        rule = options.columns.get(column.name, column.name)
        needed = [rule] if isinstance(rule, str) else rule.names
        missing = [name for name in needed if name not in names]
        if missing and column.name in options.columns:
            raise UnknownColumnError(
                f"`columns` says that {column.name} is {', '.join(missing)}, which the file does not have; "
                f"it has {', '.join(names) or 'none'}"
            )
        if not missing:
            texts = [quoted(name) for name in needed]
            if not isinstance(rule, str) and rule.fill is None:
                found[column.name] = _made(rule, texts, source, row)
            else:
                text = texts[0] if isinstance(rule, str) else _filled(texts, row)
                found[column.name] = canonical_text(column, text, source)
    return found


def canonical_lines(lines: str, columns: Sequence[Column], source: Source) -> str:
    """The relation ``lines`` (file_no, line, text, problem) of one CSV file, its rows as JSON objects of the contract's form.

    Columns that are not used keep their names; a column that the file does not have is empty in every row.
    """
    used = source.used_columns
    names = sorted(used | {column.name for column in columns})
    expressions = source_columns(columns, source, names, row="line")
    fields = ", ".join(f"fields.{quoted(name)} as {quoted(name)}" for name in names)
    values = ", ".join(f"{quoted(name)} := {expression}" for name, expression in expressions.items())
    structure, moved = json.dumps(dict.fromkeys(names, "VARCHAR")), json.dumps(dict.fromkeys(sorted(used)))
    return f"""(
        select file_no, line, problem, case when problem is null
            then cast(json_merge_patch(text, {literal(moved)}, to_json(struct_pack({values}))) as varchar) else text end as text
        from (
            select file_no, line, problem, text, {fields}
            from (
                select *, json_transform(case when problem is null then text end, {literal(structure)}) as fields from {lines}
            )
        )
    )"""


def _filled(texts: list[str], row: str) -> str:
    """A column with the first value of the rows that are equal in the others, where it is empty."""
    text, *within = texts
    return (
        f"coalesce(nullif({text}, ''), first_value(nullif({text}, '') ignore nulls) "
        f"over (partition by {', '.join(within)} order by {row} rows between unbounded preceding and unbounded following))"
    )


def _made(rule: ColumnRule, texts: list[str], source: Source, row: str) -> str:
    if rule.value is not None:
        return literal(rule.value)
    if rule.number_within is not None:
        return f"cast(row_number() over (partition by {', '.join(texts)} order by {row}) as varchar)"
    if rule.join is not None:
        parts = ", ".join(f"nullif({text}, '')" for text in texts)
        return f"concat_ws('-', {parts})"
    factors = [number_text(text, source) for text in texts]
    product = " * ".join(f"try_cast({factor} as decimal(18, 6))" for factor in factors)
    written = f"nullif({texts[0]}, '') || ' x ' || nullif({texts[1]}, '')"
    return f"coalesce(cast({product} as varchar), {written})"


def canonical_text(column: Column, text: str, source: Source) -> str:
    """SQL of the contract's form of the value ``text`` (SQL, text or NULL) of a column; a plain one stays as it is."""
    options = source.options
    if column.type in NUMBERS:
        shown = f" (decimal: {options.decimal})" if options.decimal == "," else ""
        number = number_text(text, source)
        return f"coalesce({number}, {text} || {literal(shown)})" if shown else f"coalesce({number}, {text})"
    if column.type in ("TIMESTAMP", "DATE") and (options.date_formats or options.time_zone):
        return _time_text(column, text, options)
    if column.is_id and options.float_ids:
        return f"regexp_replace({text}, '^(-?\\d+)\\.0+$', '\\1')"
    return text


def number_text(text: str, source: Source) -> str:
    """SQL of a number as ``-1234.56``, NULL where the text is none by the options.

    Beside the decimal comma and thousands: a sign or the code of the shop's currency before or after it, a minus behind it,
    accountants' parentheses for a negative one.
    """
    options, currency = source.options, source.currency
    plain = f"[+-]?\\d+({_escaped(options.decimal)}\\d+)?"
    codes = "|".join(filter(None, (currency, SIGNS.get(currency))))
    spelt = f"trim(regexp_replace({text}, {literal(_BLANKS)}, ' ', 'g'))"
    spelt = f"replace(replace({spelt}, '\u2212', '-'), '\u2019', '''')"
    spelt = f"regexp_replace({spelt}, {literal(f'^([-+(]?) ?(?i:{codes}) ?|(?i: ?(?:{codes})) ?([-)]?)$')}, '\\1\\2', 'g')"
    spelt = f"regexp_replace({spelt}, '^\\( ?(.*[^ ]) ?\\)$|^([^-].*\\d) ?-$', '-\\1\\2')"
    if options.thousands:
        mark = _escaped(options.thousands)
        grouped = f"[+-]?\\d{{1,3}}({mark}\\d{{2,3}})*{mark}\\d{{3}}({_escaped(options.decimal)}\\d*)?"
        spelt = (
            f"list_transform([{spelt}], lambda spelt: case when regexp_full_match(spelt, {literal(grouped)}) "
            f"then replace(spelt, {literal(options.thousands)}, '') else spelt end)[1]"
        )
    valid = f"[+-]?(\\d+({_escaped(options.decimal)}\\d*)?|{_escaped(options.decimal)}\\d+)"
    read = f"list_transform([{spelt}], lambda number: case when regexp_full_match(number, {literal(valid)}) then number end)[1]"
    point = "{}" if options.decimal == "." else f"replace({{}}, {literal(options.decimal)}, '.')"
    return (
        f"case when {text} is null or regexp_full_match({text}, {literal(plain)}) then {point.format(text)} "
        f"else {point.format(read)} end"
    )


def _escaped(mark: str) -> str:
    return f"[{mark}]"


def _time_text(column: Column, text: str, options: SourceOptions) -> str:
    """UTC for a timestamp; a date stays the date that is written.

    A local time that the clocks of ``time_zone`` skip is refused like one that cannot be read; a day alone begins with its
    first moment. Of an hour that comes twice, the later one is taken.
    """
    formats = f"[{', '.join(map(literal, options.date_formats))}]"
    # ISO 8601 must not read what does not fit a format with another order of day and month behind the year.
    reads_iso = not any(form.startswith("%Y") for form in options.date_formats)
    readings = [f"try_strptime(trim({text}), {formats})"] * bool(options.date_formats) + [iso_timestamp(text)] * reads_iso
    naive = f"coalesce({', '.join(readings)}, null)"
    hint = f" (date_format: {', '.join(options.date_formats)})" * bool(options.date_formats)
    unread = f"{text} || {literal(hint)}"
    if column.type == "DATE":
        return f"coalesce(cast(cast({naive} as date) as varchar), {unread})"
    moment = f"cast({naive} as varchar)"
    if options.time_zone:
        utc = f"timezone({literal(options.time_zone)}, spelt)"
        is_skipped = f"timezone({literal(options.time_zone)}, {utc}) <> spelt and spelt <> date_trunc('day', spelt)"
        refused, read = f"{text} || {literal(f' ({SKIPPED})')}", f"cast(cast({utc} as timestamp) as varchar)"
        moment = f"list_transform([{naive}], lambda spelt: case when {is_skipped} then {refused} else {read} end)[1]"
    has_offset = f"regexp_full_match({text}, {literal(_OFFSET)})"
    return f"case when {has_offset} then {text} else coalesce({moment}, {unread}) end"
