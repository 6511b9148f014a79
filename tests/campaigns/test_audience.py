"""Audiences: nothing of their text reaches SQL but known columns, and they choose whom plain Python would choose."""

# ruff: noqa: RUF001  errors show look-alikes of quotation marks, and hostile texts use them

from __future__ import annotations

import operator
import re
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer360.campaigns.audience import AudienceError, audience_columns, members, parse_audience
from tests.support.random_shop import small_shop

SHOP = small_shop()
# Attributes named as keywords of SQL, and one that is true or false.
ODD_SHOP = small_shop(attributes={"date": {"type": "text"}, "case": {"type": "integer"}, "vip": {"type": "boolean"}})
COLUMNS = audience_columns(SHOP)
NUMBERS = [name for name, column in COLUMNS.items() if column.kind == "number" and column.table == "customer_features"][:2]
WORDS = ["and", "or", "not", "in", "is", "empty", "everyone", "true", "(", ")", ",", "=", "!=", "<", ">=", "1", "-.5e3"]
NASTY = ["'", "''", "'x'", "'; drop table customers --'", '"', ";", "--", "/*", "select", "?", "\x00", "é", "pg_sleep(9)"]
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.sampled_from([*WORDS, *NASTY, *COLUMNS]), max_size=14).map(" ".join))
# customer_id, then one value of each of NUMBERS
ROWS = st.lists(st.tuples(*[st.one_of(st.none(), st.integers(-3, 3))] * 2), max_size=8)
SIGNS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@settings(max_examples=300)
@given(TEXTS)
def test_whatever_is_written_the_sql_holds_known_columns_and_placeholders_only(text: str) -> None:
    try:
        audience = parse_audience(text, SHOP)
    except AudienceError as error:
        assert error.message
        assert error.remedy
        return
    known = {f'"{column.table}"."{column.name}"' for column in COLUMNS.values()}
    assert set(re.findall(r'"[^"]*"\."[^"]*"', audience.sql)) <= known
    without_names = re.sub(r'"[^"]*"\."[^"]*"', "", audience.sql)
    assert set(re.findall(r"[A-Za-z_]+", without_names)) <= {"and", "or", "not", "in", "is", "null", "true"}
    assert re.fullmatch(r"[A-Za-z\s()<>=!?,]*", without_names)
    assert audience.sql.count("?") == len(audience.values)


TESTS = st.one_of(
    st.tuples(st.just("compare"), st.integers(0, 1), st.sampled_from(sorted(SIGNS)), st.integers(-3, 3)),
    st.tuples(st.just("in"), st.integers(0, 1), st.lists(st.integers(-3, 3), min_size=1, max_size=3)),
    st.tuples(st.just("empty"), st.integers(0, 1)),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    TESTS,
    lambda tree: st.one_of(st.tuples(st.just("not"), tree), st.tuples(st.sampled_from(["and", "or"]), tree, tree)),
    max_leaves=6,
)


def written(tree: Any) -> str:
    match tree:
        case ("compare", place, sign, value):
            return f"{NUMBERS[place]} {sign} {value}"
        case ("in", place, values):
            return f"{NUMBERS[place]} in ({', '.join(map(str, values))})"
        case ("empty", place):
            return f"{NUMBERS[place]} is empty"
        case ("not", negated):
            return f"not ({written(negated)})"
        case (word, left, right):
            return f"({written(left)}) {word} ({written(right)})"
    raise AssertionError(tree)


def answer(tree: Any, row: tuple[int | None, ...]) -> bool | None:
    """True, False, or None where it cannot be said."""
    match tree:
        case ("compare", place, sign, value):
            return None if row[place] is None else bool(SIGNS[sign](row[place], value))
        case ("in", place, values):
            return None if row[place] is None else row[place] in values
        case ("empty", place):
            return row[place] is None
        case ("not", negated):
            found = answer(negated, row)
            return None if found is None else not found
        case (word, left, right):
            decides = word == "or"
            both = (answer(left, row), answer(right, row))
            return decides if decides in both else None if None in both else not decides
    raise AssertionError(tree)


@pytest.mark.full
@settings(max_examples=60)
@given(TREES, ROWS)
def test_an_audience_is_whom_plain_python_would_choose(tree: Any, rows: list[tuple[int | None, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=NUMBERS).astype("Float64")
    frame.insert(0, "customer_id", pd.Series([f"C{place}" for place in range(len(rows))], dtype="str"))
    with duckdb.connect() as connection:
        connection.register("given", frame)
        columns = ", ".join(f'"{name}"::double as "{name}"' for name in NUMBERS)
        connection.execute(
            f"create table customer_features as select customer_id::varchar as customer_id, {columns} from given"
        )
        found = list(members(connection, written(tree), SHOP))
    assert found == [f"C{place}" for place, row in enumerate(rows) if answer(tree, row) is True]


NAME = NUMBERS[0]
OPERATORS = "write =, !=, <, <=, >, >=, 'in' or 'is empty' there"
VALUES = "write a number, a 'text', true or false there"
CONNECTORS = "write 'and', 'or', ')' or the end there"


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (f"{NUMBERS[0]} = 'x'", "compared with a text", "it is a number"),
        (f"{NUMBERS[0]}x = 1", "there is no column", f"did you mean {NUMBERS[0]}?"),
        (f"{NUMBERS[0]} >", "at character", "a number"),
        (f"{NUMBERS[0]} = 1e999", "too large", "a smaller one"),
        ("segment = 'Loyal", "is not understood", "close it"),
        ("(" * 41 + f"{NUMBERS[0]} = 1", "nested 40 deep", "parentheses"),
        (" " * 4001, "4,001 characters", "at most 4,000"),
        ("", "at character 1 stands the end", "write a column's name there"),
        ("segment = Loyal", "at character 11 stands 'Loyal'", VALUES),
        ("segment >= 'Loyal'", "at character 9 stands '›='", "write = or != (segment is no number) there"),
        ("segment 'Loyal'", "at character 9 stands '’Loyal’'", OPERATORS),
        ("segment", "at character 8 stands the end", OPERATORS),
        ("segment between 'a' and 'b'", "at character 9 stands 'between'", OPERATORS),
        ("segment in 'Loyal'", "at character 12 stands '’Loyal’'", "write '(' there"),
        ("segment in ()", "at character 13 stands ')'", VALUES),
        ("segment in ('a' 'b')", "at character 17 stands '’b’'", "write ',' or ')' there"),
        ("segment in ('a',)", "at character 17 stands ')'", VALUES),
        ("segment in (label)", "at character 13 stands 'label'", VALUES),
        ("segment not = 'a'", "at character 13 stands '='", "write 'in' there"),
        ("segment is 'a'", "at character 12 stands '’a’'", "write 'empty' or 'not empty' there"),
        ("segment is not 1", "at character 16 stands '1'", "write 'empty' there"),
        ("segment = empty", "at character 11 stands 'empty'", VALUES),
        ("segment = label", "at character 11 stands 'label'", VALUES),
        ("'Loyal' = segment", "at character 1 stands '’Loyal’'", "write a column's name there"),
        ("segment = 'a' = 'b'", "at character 15 stands '='", CONNECTORS),
        ("segment = 'a' or", "at character 17 stands the end", "write a column's name there"),
        ("segment = 'a' or and label = 'b'", "at character 18 stands 'and'", "write a column's name there"),
        ("(segment = 'a'", "at character 15 stands the end", "write ')' there"),
        ("segment = 'a') or (label = 'b'", "at character 14 stands ')'", CONNECTORS),
        ("everyone and segment = 'a'", "at character 1, there is no column everyone", "docs/campaigns.md lists the columns"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_position_and_a_remedy(text: str, message: str, remedy: str) -> None:
    with pytest.raises(AudienceError) as caught:
        parse_audience(text, SHOP)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


HOSTILE = [
    "segment = 'a' -- and nothing more",
    "segment = 'a' /* or everyone */",
    "segment /**/ = 'a'",
    "segment = 'a' # or everyone",
    "segment = 'a'; drop table customer_features",
    "segment = 'a';",
    "segment = (select 'a')",
    "segment in (select segment from rfm_segments)",
    "exists (select 1)",
    "(select true)",
    "segment = 'a' union select 1",
    "upper(segment) = 'A'",
    "segment = upper('a')",
    "pg_sleep(9) = 1",
    "read_csv('/etc/passwd') = 1",
    "getenv('HOME') = 'x'",
    "cast(segment as int) = 1",
    "segment::int = 1",
    "try_cast(segment as date) = date '2026-01-01'",
    "segment = date '2026-01-01'",
    "interval '1 day' = 1",
    "case when true then 1 end = 1",
    "segment = ‘a’",
    "segment = “a”",
    "segment = 'a’",
    'segment = "a"',
    "\"segment\" = 'a'",
    "segment = $$a$$",
    "segment = e'\\x41'",
    "segment = n'a'",
    "segment = x'41'",
    "segment = 'a' || 'b'",
    "segment like '%'",
    "segment ilike '%'",
    "segment similar to '%'",
    "segment glob '*'",
    "segment between 'a' and 'b'",
    "segment is distinct from 'a'",
    "segment is null",
    "segment <> 'a'",
    "segment == 'a'",
    "rfm_segments.segment = 'a'",
    "customer_features.* = 1",
    "segment[1] = 'a'",
    "segment = ?",
    "segment = $1",
    "segment = :name",
    "segment = {{ var('x') }}",
    "(segment, label) = ('a', 'b')",
    "row(segment) = 'a'",
    "lambda x: x = 1",
    "segment = 'a' order by 1",
    "segment = 'a' limit 1",
    "segment = 'a' for update",
    "from customer_features",
    "select",
    "values (1)",
    "pivot",
    "copy (select 1) to '/tmp/x'",
    "attach '/tmp/x'",
    "install httpfs",
    "segment = 'a' qualify true",
    "segment\u00a0= 'a'",
    "sеgment = 'a'",  # a Cyrillic letter
    "segment = '\u0661' and frequency = \u0661",
    "segment = 'a' and\x00 label = 'b'",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_but_the_language_of_filters_is_accepted(text: str) -> None:
    with pytest.raises(AudienceError):
        parse_audience(text, SHOP)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_tree_alone_refuses_it_too(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sqlglot makes of a text is refused by its kind of node, without the check of the words' places."""
    monkeypatch.setattr("customer360.campaigns.audience._check_places", lambda words: None)
    with pytest.raises(AudienceError):
        parse_audience(text, SHOP)


@pytest.mark.parametrize("value", ["'; drop table x --", "/* */", "(select 1)", "‘’“”", "\x00", "$$", "\\'"])
def test_a_text_may_hold_anything_and_is_bound(value: str) -> None:
    audience = parse_audience(f"segment = '{value.replace(chr(39), chr(39) * 2)}'", SHOP)
    assert (audience.sql, audience.values) == ('("rfm_segments"."segment" = ?)', [value])


def test_columns_named_as_keywords_of_sql_are_columns() -> None:
    audience = parse_audience("date in ('x') AND Not case >= 2 or vip and not vip = FALSE", ODD_SHOP)
    assert audience.values == ["x", 2.0, True, False]
    name = '"customer_features"."{}"'.format
    left = f"({name('date')} in (?)) and (not ({name('case')} >= ?))"
    right = f"({name('vip')} = ?) and (not ({name('vip')} = ?))"
    assert audience.sql == f"(({left}) or ({right}))"


def test_nesting_counts_parentheses_and_negations_together_and_long_chains_are_none() -> None:
    test = f"{NAME} = 1"
    deep = "not (" * 19 + "(" + test + ")" * 20
    assert parse_audience(deep, SHOP).values == [1.0]
    for text in (f"not {deep}", "(" * 2_000, "not " * 900 + test, "not (" * 600):
        with pytest.raises(AudienceError, match="nested 40 deep"):
            parse_audience(text, SHOP)
    chain = " or ".join(["frequency = 1"] * 150)
    assert parse_audience(chain, SHOP).values == [1.0] * 150
    assert parse_audience(f"({NAME} in (1)) and " * 40 + test, SHOP).values == [1.0] * 41


def test_the_longest_text_is_read() -> None:
    value = "x" * (4_000 - len("segment = ''"))
    assert parse_audience(f"segment = '{value}'", SHOP).values == [value]
    with pytest.raises(AudienceError, match="4,001 characters"):
        parse_audience(f"segment = '{value}x'", SHOP)
