"""Rules in SQL for values of the contracts' types, the same for clicks, history and reference tables in every format.

Text is judged by its form before DuckDB casts it: its casts take ``BST`` for a time zone of Asia and 5.55e-17 for a cent. Ids
have one canonical form, so that two tables cannot name one customer in two ways:

- blanks, other Unicode spaces and invisible characters around an id go, and its letters are composed (NFC);
- a placeholder (``null``, ``-``, ``(not set)``, ``anonymous``, the NUL UUID, nothing but punctuation) is no id: NULL;
- letter case and leading zeros are significant;
- of a numeric type 1001.0 is 1001; a fraction, NaN, infinity and 2^53 or more in a floating type are refused;
- as text, a number written with ``.0`` or as 1.001e3 is refused, since it may or may not mean 1001; so is an invisible or a
  control character within an id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path

import duckdb

from customer360.lake.engine import file_literal, literal
from customer360.lake.landing.contracts import Column
from customer360.settings import TIME_ZONES

EXACT_BELOW = {"DOUBLE": 2**53, "FLOAT": 2**24}  # a floating type represents every whole number below
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
TEXT = ("VARCHAR", "JSON", "UUID")
TIMES = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "DATE")
EARLIEST_TIME, LATEST_TIME = "1970-01-01", "2200-01-01"

NO_ID_NUMBER = "is no id: not a whole number, or too large for a floating type"
NO_ID_INVISIBLE = "is no id: it holds an invisible or a control character"
NO_ID_AMBIGUOUS = "is an ambiguous id: a whole number written with a fraction or an exponent"

EXPECTED = {
    "TIMESTAMP": "a timestamp (ISO 8601, UTC)",
    "DATE": "a date (YYYY-MM-DD)",
    "DOUBLE": "a finite number",
    "BIGINT": "a whole number",
    "DECIMAL(18,2)": "an amount of money",
    "BOOLEAN": "true or false",
}

_PLACEHOLDER_NAMES = (
    r"null|none|nil|nan|nat|n/a|na|#n/a|#(ref|value|name|num|null)[!?]|undefined|not set|anonymous|guest|\\n|\[object object\]"
)
_DASHES = "\N{HYPHEN}-\N{HORIZONTAL BAR}\N{MINUS SIGN}\N{HORIZONTAL ELLIPSIS}"
_PLACEHOLDER = (
    rf"({_PLACEHOLDER_NAMES}|\([a-z /]+\)|<[a-z /]+>|[\x00-/:-@\[-`{{-\x7f{_DASHES}]*"
    r"|[{(]?0{8}-?0{4}-?0{4}-?0{4}-?0{12}[)}]?|[{(]?f{8}-?f{4}-?f{4}-?f{4}-?f{12}[)}]?)"
)
_AMBIGUOUS = r"[+-]?(\d+\.0*|\d*\.\d*e[+-]?\d+|\d+e[+-]\d+)"
_PLACEHOLDER_TEXT, _AMBIGUOUS_TEXT = (re.compile(form, re.IGNORECASE | re.ASCII) for form in (_PLACEHOLDER, _AMBIGUOUS))
# Letters that composition (NFC) leaves alone: Latin, Greek, Cyrillic, kana, Han, Hangul.
_LETTERS = (
    r"\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{2AF}\x{388}-\x{3CE}\x{400}-\x{481}\x{48A}-\x{4FF}"
    r"\x{3041}-\x{3096}\x{30A1}-\x{30FA}\x{4E00}-\x{9FFF}\x{AC00}-\x{D7A3}"
)
# Ids joined by | of which one may need a closer look. Most lines do not match, and cost nothing more.
_SUSPICIOUS = (
    rf"[^ -~{_LETTERS}]"
    r"|\|\||^\||\|$|(?i:(^|\|)( |[{(]?0{8}|[{(]?f{8}|[ -/:-@\[-`{}~]+(\||$)|[+-]?\d*\.0*(\||$)|[+-]?\d*\.\d*e[+-]?\d+(\||$)"
    rf"|[+-]?\d+e[+-]\d+(\||$)|({_PLACEHOLDER_NAMES}|\([a-z /]+\)|<[a-z /]+>)(\||$))| (\||$))"
)
_SUSPICIOUS_NUMBER = r"|(?i:(^|\|)[+-]?(\d*\.\d+|\d+e\d+|inf(inity)?)(\||$))"
_NUMBER_LIKE = r"(?i)[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|nan|inf(inity)?)"
_EDGES = r"^[\s\pZ\p{Cf}]+|[\s\pZ\p{Cf}]+$"
_INVISIBLE = r"[\p{Cc}\p{Cf}]|[^ \PZ]"

_OFFSET = r"(Z|[+-](0\d|1[0-3])(:?[0-5]\d)?|[+-]14(:?00)?)?"
_DAY = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_MINUTE = r"([01]\d|2[0-3]):[0-5]\d"
_TIME = rf"{_DAY}([T ]{_MINUTE}:[0-5]\d(\.\d{{1,9}})?{_OFFSET})?"
_OTHER_TIME = rf"(?i){_DAY}[T ]{_MINUTE}(:[0-5]\d([.,]\d{{1,9}})?)? ?{_OFFSET}"  # ISO 8601 that DuckDB's cast does not take
_MIDNIGHT = rf"{_DAY}([T ]00:00:00(\.0+)?(Z|[+]00(:?00)?)?)?"
_PLAIN_NUMBER = r" *[+-]?(\d+\.?\d*|\.\d+) *"
_NUMBER = r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})? *"


def id_value(text: str, is_number: str = "false") -> str:
    """SQL of the canonical id in ``text`` (SQL, text or NULL); NULL for a placeholder. It counts where ``id_fault`` is NULL.

    ``is_number`` is SQL that is true where the source's value has a numeric type.
    """
    number = f"cast(try_cast(try_cast({text} as double) as bigint) as varchar)"
    return (
        f"case when not {are_suspicious(text, is_number != 'false')} then {text} "
        f"when {_is_number(text, is_number)} then coalesce(nullif(regexp_extract({text}, '^-?\\d+$'), ''), {number}) "
        f"when not regexp_full_match({_trimmed(text)}, {literal('(?i)' + _PLACEHOLDER)}) then {_trimmed(text)} end"
    )


def id_fault(text: str, is_number: str = "false", below: str = str(EXACT_BELOW["DOUBLE"])) -> str:
    """SQL of the fault of the id in ``text``, without the value; NULL for a valid id.

    A numeric type represents every whole number ``below`` this bound.
    """
    is_whole = f"regexp_full_match({text}, '-?\\d+') or {_is_exact(f'try_cast({text} as double)', below)}"
    inner = f"regexp_replace({text}, {literal(_EDGES)}, '', 'g')"  # composing would end at a NUL character
    return (
        f"case when not {are_suspicious(text, is_number != 'false')} then null "
        f"when {_is_number(text, is_number)} then case when not ({is_whole}) then {literal(NO_ID_NUMBER)} end "
        f"when regexp_matches({inner}, {literal(_INVISIBLE)}) then {literal(NO_ID_INVISIBLE)} "
        f"when regexp_full_match({inner}, {literal('(?i)' + _AMBIGUOUS)}) then {literal(NO_ID_AMBIGUOUS)} end"
    )


def _is_number(text: str, is_number: str) -> str:
    return f"regexp_full_match({text}, {literal(_NUMBER_LIKE)}) and {is_number}" if is_number != "false" else "false"


def are_suspicious(ids: str, may_be_numbers: bool) -> str:
    """SQL that is false where the ids in ``ids``, joined by ``|``, are canonical as they are."""
    return f"regexp_matches({ids}, {literal(_SUSPICIOUS + _SUSPICIOUS_NUMBER * may_be_numbers)})"


def canonical_id(text: str | None) -> str | None:
    """The canonical form of an id that came as text; None for a placeholder. Adapters use it, see ``id_value``.

    Raises ``ValueError`` where the text is ambiguous or holds an invisible character.
    """
    if text is None:
        return None
    trimmed = text.strip(" ") if text.isascii() and text.isprintable() else _composed(text)
    if _AMBIGUOUS_TEXT.fullmatch(trimmed):
        raise ValueError(NO_ID_AMBIGUOUS)
    return None if _PLACEHOLDER_TEXT.fullmatch(trimmed) else trimmed


def _composed(text: str) -> str:
    """Without its edges, composed (NFC). Raises ``ValueError`` where an invisible character is left."""
    kept = [index for index, letter in enumerate(text) if not _is_edge(letter)]
    trimmed = unicodedata.normalize("NFC", text[kept[0] : kept[-1] + 1]) if kept else ""
    if any(
        unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp"} or (letter != " " and _is_edge(letter)) for letter in trimmed
    ):
        raise ValueError(NO_ID_INVISIBLE)
    return trimmed


def _is_edge(letter: str) -> bool:
    return letter in "\t\n\f\r " or unicodedata.category(letter) in {"Zs", "Zl", "Zp", "Cf"}


def _trimmed(text: str) -> str:
    composed = f"nfc_normalize(regexp_replace({text}, {literal(_EDGES)}, '', 'g'))"
    return f"case when regexp_full_match({text}, '[!-~]+') then {text} else {composed} end"


def text_value(column: Column, text: str, is_number: str = "false") -> str:
    """SQL of the typed value of ``text``; NULL where it is none, or a placeholder for an id.

    Amounts are rounded to the currency's two decimals, half away from zero.
    """
    if column.is_id:
        return id_value(text, is_number)
    if column.is_time_zone:
        names = ", ".join(f"({literal(written)}, {literal(name)})" for written, name in TIME_ZONES.items())
        return f"(select any_value(name) from (values {names}) as zones (written, name) where written = lower(trim({text})))"
    if column.type == "TIMESTAMP":
        return iso_timestamp(text)
    day, double = f"try_cast(left({text}, 10) as date)", f"try_cast({text} as double)"
    is_number_text = f"regexp_full_match({text}, {literal(_NUMBER)})"
    forms = {
        "VARCHAR": text,
        "DATE": f"case when regexp_full_match({text}, {literal(_MIDNIGHT)}) and {day} >= date '0001-01-01' then {day} end",
        "DOUBLE": f"case when {is_number_text} and isfinite({double}) then {double} end",
        "BIGINT": f"case when regexp_full_match({text}, ' *[+-]?\\d+ *') then try_cast({text} as bigint) "
        f"when {is_number_text} and {_is_exact(double, str(EXACT_BELOW['DOUBLE']))} then cast({double} as bigint) end",
        # DuckDB's cast from text reads 5.55e-17 as a cent; by way of a double it is 0.
        "DECIMAL(18,2)": f"case when regexp_full_match({text}, {literal(_PLAIN_NUMBER)}) "
        f"then try_cast({text} as {column.type}) when {is_number_text} then try_cast({double} as {column.type}) end",
        "BOOLEAN": f"try_cast({text} as boolean)",
    }
    return forms[column.type]


def iso_timestamp(text: str) -> str:
    """SQL of an ISO 8601 time as a UTC timestamp, NULL for other forms; a time without an offset is UTC."""
    spelt = f"replace(replace(upper({text}), ',', '.'), ' ', 'T')"
    spelt = f"replace(regexp_replace({spelt}, '^(.{{16}})(T?[Z+-].*)?$', '\\1:00\\2'), 'TZ', 'Z')"
    spelt = f"regexp_replace({spelt}, 'T([+-])', '\\1')"
    return (
        f"cast(case when regexp_full_match({text}, {literal(_TIME)}) then try_cast({text} as timestamptz) "
        f"when regexp_full_match({text}, {literal(_OTHER_TIME)}) then try_cast({spelt} as timestamptz) end as timestamp)"
    )


def _is_exact(number: str, below: str) -> str:
    return f"coalesce(trunc({number}) = {number} and abs({number}) < {below}, false)"


def typed_value(column: Column, value: str, kind: str) -> str:
    """SQL of the value of a column that has the DuckDB type ``kind`` already, and that ``refused_type`` did not refuse."""
    if kind in TEXT:
        return text_value(column, value)
    if column.type == "TIMESTAMP":
        return f"case when isfinite({value}) then cast(cast({value} as timestamptz) as timestamp) end"
    if column.type == "BIGINT" and kind not in INTEGERS:
        return f"case when trunc({value}) = {value} then try_cast({value} as bigint) end"
    cast = f"try_cast({value} as {column.type})"
    return f"case when isfinite({cast}) then {cast} end" if column.type == "DOUBLE" else cast


def exact_below(kind: str) -> int:
    """A column of this DuckDB type represents every whole number below this bound."""
    return EXACT_BELOW.get(kind, EXACT_BELOW["DOUBLE"])


def refused_type(column: Column, kind: str) -> str | None:
    """The fault of a typed column, and the remedy; None where its values can be read one by one."""
    base = kind.partition("(")[0]
    numbers = (*INTEGERS, "DOUBLE", "FLOAT", "DECIMAL")
    accepted = {
        "VARCHAR": (*TEXT, *numbers) if column.is_id or column.is_time_zone else (*TEXT, *numbers, *TIMES, "BOOLEAN", "TIME"),
        "TIMESTAMP": (*TEXT, *TIMES),
        "DATE": (*TEXT, *TIMES),
        "BOOLEAN": (*TEXT, "BOOLEAN", *INTEGERS),
    }.get(column.type, (*TEXT, *numbers))
    if base in accepted and not kind.endswith("]"):
        return None
    wanted = "text or whole numbers" if column.is_id else EXPECTED.get(column.type, "text")
    return f"column {column.name} is of type {kind}; write {wanted} into it, or leave the column out"


def parquet_precisions(connection: duckdb.DuckDBPyConnection, path: Path, names: Collection[str]) -> dict[str, int]:
    """The precision of the top-level decimal columns among ``names`` in a Parquet file."""
    rows = connection.execute(
        f"select name, precision from parquet_schema({file_literal(path)}) where precision is not null"
    ).fetchall()
    return {name: int(precision) for name, precision in rows if name in names}


def refused_precision(precisions: Mapping[str, int]) -> str | None:
    """The fault of decimals in a Parquet file, and the remedy: DuckDB reads a precision above 38 as a wrong double."""
    wide = [f"column {name} is of type DECIMAL with precision {digits}" for name, digits in precisions.items() if digits > 38]
    return f"{', '.join(wide)}; write at most 38 digits, such as DECIMAL(18,2)" if wide else None
