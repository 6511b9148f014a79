"""Audiences: nothing of their text reaches SQL but known columns, and they choose whom plain Python would choose."""

from __future__ import annotations

import operator
import re
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer360.campaigns.audience import members, parse_audience
from customer360.campaigns.audience_columns import audience_columns
from customer360.campaigns.audience_text import AudienceError
from tests.support.random_shop import small_shop

SHOP = small_shop()
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


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_whatever_is_written_the_sql_holds_known_columns_and_placeholders_only(text: str) -> None:
    try:
        sql, values = parse_audience(text, SHOP).condition()
    except AudienceError as error:
        assert error.message
        assert error.remedy
        return
    known = {f'"{column.table}"."{column.name}"' for column in COLUMNS.values()}
    assert set(re.findall(r'"[^"]*"\."[^"]*"', sql)) <= known
    rest = re.sub(r'"[^"]*"\."[^"]*"', "", sql)
    assert set(re.findall(r"[A-Za-z_]+", rest)) <= {"and", "or", "not", "in", "is", "null", "true"}
    assert re.fullmatch(r"[A-Za-z\s()<>=!?,]*", rest)
    assert sql.count("?") == len(values)


TESTS = st.one_of(
    st.tuples(st.just("compare"), st.integers(0, 1), st.sampled_from(sorted(SIGNS)), st.integers(-3, 3)),
    st.tuples(st.just("in"), st.integers(0, 1), st.lists(st.integers(-3, 3), min_size=1, max_size=3)),
    st.tuples(st.just("empty"), st.integers(0, 1)),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    TESTS,
    lambda one: st.one_of(st.tuples(st.just("not"), one), st.tuples(st.sampled_from(["and", "or"]), one, one)),
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
        case ("not", one):
            return f"not ({written(one)})"
        case (word, one, other):
            return f"({written(one)}) {word} ({written(other)})"
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
        case ("not", one):
            found = answer(one, row)
            return None if found is None else not found
        case (word, one, other):
            decides = word == "or"
            both = (answer(one, row), answer(other, row))
            return decides if decides in both else None if None in both else not decides
    raise AssertionError(tree)


@settings(deadline=None, max_examples=60)
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
    ],
)
def test_what_is_no_filter_is_told_with_a_remedy(text: str, message: str, remedy: str) -> None:
    with pytest.raises(AudienceError) as caught:
        parse_audience(text, SHOP)
    assert message in caught.value.message
    assert remedy in caught.value.remedy
