"""The audience of a campaign: a filter as text over the published tables of customers, run as SQL that holds none of the text.

    segment in ('Champions', 'Loyal') and age >= 25 and not (probability_fitness < 0.2)

A filter is ``everyone``, or conditions joined by ``and``, ``or``, ``not`` and parentheses. A condition is ``column = value``
(or != < <= > >=), ``column [not] in (value, ...)``, ``column is [not] empty``, or a column that is true or false. Keywords may
be in capitals; a quotation mark within a text is doubled. An empty value satisfies no comparison, nor its opposite:
``not (age < 25)`` leaves out customers whose age is not known, ``age is empty`` finds them.

The SQL consists of quoted names from the list of columns and of ``?``, to which the values are bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import duckdb
import pandas as pd
from sqlglot import ParseError, Parser, Token, TokenType, exp

from customer360.campaigns.conditions import EVERYONE, Condition, Group, Negation, Tree, Value, conditions_of, sql_of
from customer360.features import feature_list
from customer360.lake.engine import quoted
from customer360.settings import NONE, AttributeType, Shop, slug
from customer360.text import nearest, without_markup
from customer360.translation import gettext as _
from customer360.translation import gettext_noop

Kind = Literal["number", "text", "boolean"]
LONGEST, DEEPEST = 4_000, 40
FEATURES, SEGMENTS, VALUE, SCORES = "customer_features", "rfm_segments", "customer_value", "customer_scores"
PUBLISHED = {name: name for name in (FEATURES, SEGMENTS, VALUE, SCORES)}
# Columns of rfm_segments and customer_value that are not in customer_features too, and the class that the affinity model names.
_OTHER_COLUMNS: dict[str, tuple[str, Kind]] = {
    "segment": (SEGMENTS, "text"),
    **dict.fromkeys(("recency_score", "frequency_score", "monetary_score", "fm_score"), (SEGMENTS, "number")),
    **dict.fromkeys(("purchase_probability", "expected_spend", "churn_probability"), (VALUE, "number")),
    "label": (SCORES, "text"),
}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(?![A-Za-z0-9_.])"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|!=|[=<>(),]))",
    re.ASCII,
)
_TYPES = {
    **{word: TokenType[word.upper()] for word in ("and", "or", "not", "in", "is")},
    **{"empty": TokenType.NULL, "(": TokenType.L_PAREN, ")": TokenType.R_PAREN, ",": TokenType.COMMA},
    **{"=": TokenType.EQ, "!=": TokenType.NEQ, "<": TokenType.LT, "<=": TokenType.LTE, ">": TokenType.GT, ">=": TokenType.GTE},
}
_COMPARISONS: dict[type[exp.Expr], str] = {exp.EQ: "=", exp.NEQ: "!=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
Follower = tuple[frozenset[TokenType], str]  # what may stand at a place, and the same in the words of an error
_CONNECTORS = frozenset({TokenType.AND, TokenType.OR, TokenType.R_PAREN})
_CONDITION: Follower = frozenset({TokenType.NOT, TokenType.L_PAREN, TokenType.IDENTIFIER}), gettext_noop("a column's name")
_OPERATOR: Follower = (
    _CONNECTORS.union(_TYPES.values()) - {TokenType.NULL, TokenType.L_PAREN, TokenType.COMMA},
    gettext_noop("=, !=, <, <=, >, >=, 'in' or 'is empty'"),
)
_VALUE: Follower = frozenset({TokenType.IDENTIFIER}), gettext_noop("a number, a 'text', true or false")
_AFTER: dict[TokenType, Follower] = {
    **dict.fromkeys((TokenType.L_PAREN, TokenType.AND, TokenType.OR, TokenType.NOT), _CONDITION),
    **dict.fromkeys(
        (TokenType.R_PAREN, TokenType.NULL, TokenType.IDENTIFIER), (_CONNECTORS, gettext_noop("'and', 'or', ')' or the end"))
    ),
    TokenType.IN: (frozenset({TokenType.L_PAREN}), "'('"),
    TokenType.IS: (frozenset({TokenType.NULL, TokenType.NOT}), gettext_noop("'empty' or 'not empty'")),
}
_KINDS: dict[type[Value], tuple[Kind, str, str]] = {
    float: ("number", gettext_noop("a number"), gettext_noop("write 25 or .5")),
    str: ("text", gettext_noop("a text"), gettext_noop("write it in quotation marks, 'so'")),
    bool: ("boolean", gettext_noop("true or false"), gettext_noop("write true or false")),
}


class AudienceError(ValueError):
    """An audience that is no filter of this shop: ``message`` names the position, ``remedy`` what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message, self.remedy = message, remedy


@dataclass(frozen=True)
class Column:
    """A column of a published table. ``category``: the class of customer_scores that ``probability_<category>`` is of."""

    name: str
    table: str
    kind: Kind
    category: str | None = None


def audience_columns(shop: Shop) -> dict[str, Column]:
    """Every column that an audience may ask for, by name."""
    columns = [Column("customer_id", FEATURES, "text")]
    for feature in feature_list(shop):
        attribute = shop.attributes.get(feature.name)
        is_boolean = attribute is not None and attribute.type is AttributeType.BOOLEAN
        kind: Kind = "boolean" if is_boolean else "text" if feature.kind == "categorical" else "number"
        columns.append(Column(feature.name, FEATURES, kind))
    columns += [Column(name, table, kind) for name, (table, kind) in _OTHER_COLUMNS.items()]
    columns += [Column(f"probability_{slug(name)}", SCORES, "number", name) for name in (*shop.category_ids, NONE)]
    # Of two columns of one name the first is taken: an attribute of the shop.
    return {column.name: column for column in reversed(columns)}


@dataclass(frozen=True)
class Filter:
    """A parsed audience: SQL over the published tables by their names, the values of its ``?``, and the columns in it."""

    sql: str
    values: list[Value]
    columns: list[Column]


def parse_audience(text: str, shop: Shop) -> Filter:
    """The filter that ``text`` says. Raises ``AudienceError`` that names the position, what is wrong there and the remedy."""
    tree, known = audience_tree(text, shop), audience_columns(shop)
    conditions = list(conditions_of(tree))
    values = [value for condition in conditions for value in condition.values]
    columns = [known[name] for name in dict.fromkeys(condition.column for condition in conditions)]
    return Filter(sql_of(tree, {column.name: column.table for column in columns}), values, columns)


def audience_tree(text: str, shop: Shop) -> Tree:
    """The conditions that ``text`` says, each of a column of the shop with values of its kind. Raises as ``parse_audience``."""
    if len(text) > LONGEST:
        raise AudienceError(
            _("the filter has %(count)s characters", count=f"{len(text):,}"),
            _("at most %(most)s are read; split the campaign", most=f"{LONGEST:,}"),
        )
    if text.strip().lower() == "everyone":
        return EVERYONE
    words = _words(text)
    _check_places(words)
    tokens = [Token(word.type, str(place), line=place) for place, word in enumerate(words)]
    try:
        (tree,) = Parser().parse_into(exp.Condition, tokens, text)
    except ParseError as error:
        raise _unexpected(words, int(error.errors[0]["line"])) from error
    return _TreeReader(words, audience_columns(shop)).condition(tree)


def members(
    connection: duckdb.DuckDBPyConnection, text: str, shop: Shop, tables: Mapping[str, str] = PUBLISHED
) -> pd.Index[str]:
    """Ids of the customers of an audience, sorted. ``tables``: where the published tables are, by their published names.

    Raises ``AudienceError`` when the text is no filter, or asks for a table that is not there yet.
    """
    query, values = members_query(text, shop, tables)
    with naming_missing_tables(text, shop, tables):
        rows = connection.execute(f"{query} order by 1", values).fetchnumpy()["customer_id"]
    return pd.Index(rows, dtype="str")


def members_query(text: str, shop: Shop, tables: Mapping[str, str] = PUBLISHED) -> tuple[str, list[Value]]:
    """SQL of the customer_id of each customer of an audience, and the values of its ``?``. Raises ``AudienceError``."""
    audience = parse_audience(text, shop)
    relation, bound = audience_relation(audience.columns, tables)
    return f"select {quoted(FEATURES)}.customer_id from {relation} where {audience.sql}", [*bound, *audience.values]


@contextmanager
def naming_missing_tables(text: str, shop: Shop, tables: Mapping[str, str] = PUBLISHED) -> Iterator[None]:
    """Raise ``AudienceError`` in place of DuckDB's error where an audience asks for a table that is not there yet."""
    try:
        yield
    except duckdb.CatalogException as error:
        missing = next((name for name in tables if f"{name} does not exist" in str(error)), _("a table"))
        columns = parse_audience(text, shop).columns
        asked = ", ".join(column.name for column in columns if column.table == missing) or _("what is asked for")
        raise AudienceError(
            _("%(table)s is not published yet, which has %(columns)s", table=missing, columns=asked),
            _("train the models and run a slice, or ask for other columns"),
        ) from error


def audience_relation(columns: Iterable[Column], tables: Mapping[str, str] = PUBLISHED) -> tuple[str, list[Value]]:
    """SQL of the tables that hold these columns, one row a customer, each under its published name; the values of its ``?``."""
    columns = list(columns)
    used = {column.table for column in columns}
    parts = [f"{tables[FEATURES]} as {quoted(FEATURES)}"]
    parts += [f"left join {tables[name]} as {quoted(name)} using (customer_id)" for name in (SEGMENTS, VALUE) if name in used]
    values: list[Value] = []
    if SCORES in used:
        asked = [column for column in columns if column.category is not None]
        selected = [f"max(probability) filter (category_id = ?) as {quoted(column.name)}" for column in asked]
        values = [str(column.category) for column in asked * 2]
        rows = [f"category_id in ({', '.join('?' * len(asked))})"] if asked else []
        if any(column.table == SCORES and column.category is None for column in columns):
            selected.append("max(category_id) filter (is_label) as label")
            rows.append("is_label")
        wide = f"select customer_id, {', '.join(selected)} from {tables[SCORES]} where {' or '.join(rows)} group by customer_id"
        parts.append(f"left join ({wide}) as {quoted(SCORES)} using (customer_id)")
    return " ".join(parts), values


@dataclass(frozen=True)
class _Word:
    """A word of a filter: what it is to sqlglot, and its character, counted from 1. Names and values are identifiers there."""

    type: TokenType
    text: str
    position: int
    value: Value | None = None

    @property
    def is_name(self) -> bool:
        return self.type is TokenType.IDENTIFIER and self.value is None


def _words(text: str) -> list[_Word]:
    """The words between two parentheses, which stand for the beginning and the end of the text."""
    words = [_Word(TokenType.L_PAREN, "", 0)]
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.end() > end:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            shown = without_markup(text[start : start + 12], 12)
            is_text = text[start] == "'"
            remedy = _("close it with '") if is_text else _("write names, numbers, 'texts' and = != < <= > >= ( ) ,")
            wrong = _("at character %(place)s, %(text)s is not understood", place=start + 1, text=repr(shown))
            raise AudienceError(wrong, remedy)
        group = str(match.lastgroup)
        word, start = match[group], match.start(group) + 1
        value: Value | None = None
        if group == "number":
            value = float(word)
            if not math.isfinite(value):
                raise AudienceError(_("at character %(place)s, the number is too large", place=start), _("write a smaller one"))
        elif group == "text":
            value = word[1:-1].replace("''", "'")
        elif word.lower() in ("true", "false"):
            value = word.lower() == "true"
        words.append(_Word(_TYPES.get(word.lower(), TokenType.IDENTIFIER), word, start, value))
        position = match.end()
    return [*words, _Word(TokenType.R_PAREN, "", len(text) + 1)]


def _check_places(words: list[_Word]) -> None:
    """Raise where a word may not follow the one before, and where parentheses do not match or are nested too deep."""
    levels = [0]  # at each level of parentheses the words "not" that apply to what comes next
    for place, word in enumerate(words[1:], 1):
        follower = _after(words, place)
        if word.type not in follower[0] or (follower is _CONDITION and word.value is not None):
            raise _unexpected(words, place)
        if word.type is TokenType.NOT:
            levels[-1] += 1
        elif word.type is TokenType.L_PAREN:
            levels.append(-1 if words[place - 1].type is TokenType.IN else 0)  # a list is no level
        elif word.type is TokenType.R_PAREN:
            levels.pop()
            if not levels and word is not words[-1]:
                raise _unexpected(words, place)
        else:
            levels[-1] = min(levels[-1], 0)
        if len(levels) - 1 + sum(levels) >= DEEPEST:
            wrong = _("at character %(place)s the filter is nested %(most)s deep", place=word.position, most=DEEPEST)
            raise AudienceError(wrong, _("leave out parentheses and 'not'"))
    if levels:
        raise AudienceError(_("at character %(place)s stands the end", place=words[-1].position), _("write ')' there"))


def _after(words: list[_Word], place: int) -> Follower:
    """What may stand at a place, by the words before it."""
    first, earlier, before = words[max(place - 3, 0)], words[max(place - 2, 0)], words[place - 1]
    if before.is_name:
        return _OPERATOR
    if before.type is TokenType.NOT and earlier.is_name:
        return frozenset({TokenType.IN}), "'in'"
    if before.type is TokenType.NOT and earlier.type is TokenType.IS:
        return frozenset({TokenType.NULL}), "'empty'"
    if before.value is not None and (earlier.type is TokenType.COMMA or first.type is TokenType.IN):
        return frozenset({TokenType.COMMA, TokenType.R_PAREN}), "',' or ')'"
    if before.type is TokenType.L_PAREN and earlier.type is TokenType.IN:
        return _VALUE
    return _AFTER.get(before.type, _VALUE)


def _unexpected(words: list[_Word], place: int, expected: str = "") -> AudienceError:
    """What stands at a place, and what may stand there."""
    shown = _("the end") if place == len(words) - 1 else repr(without_markup(words[place].text, 40))
    remedy = _("write %(expected)s there", expected=expected or _(_after(words, place)[1]))
    return AudienceError(_("at character %(place)s stands %(text)s", place=words[place].position, text=shown), remedy)


@dataclass(frozen=True)
class _TreeReader:
    """Reads sqlglot's tree; every kind of node that is not named here is refused."""

    words: list[_Word]
    known: Mapping[str, Column]

    def condition(self, node: exp.Expr | None) -> Tree:
        """The conditions of a node."""
        match node:
            case exp.And() | exp.Or():
                parts = tuple(self.condition(part) for part in node.flatten(unnest=False))
                return Group("and" if isinstance(node, exp.And) else "or", parts)
            case exp.Not(this=exp.Is() | exp.In()):
                plain = self._simple(node.this)
                return Condition(plain.column, {"in": "not in"}.get(plain.operator, "is not empty"), plain.values)
            case exp.Not():
                return Negation(self.condition(node.this))
            case exp.Paren():
                return self.condition(node.this)
        return self._simple(node)

    def _simple(self, node: exp.Expr | None) -> Condition:
        match node:
            case exp.Is(expression=exp.Null()):
                return Condition(self.column(node.this).name, "is empty")
            case exp.In():
                column = self.column(node.this)
                return Condition(column.name, "in", tuple(self.value(item, column) for item in node.expressions))
            case exp.Column():
                column = self.column(node)
                if column.kind != "boolean":
                    raise _unexpected(self.words, _place(node) + 1)
                return Condition(column.name, "=", (True,))
            case exp.Expr() if type(node) in _COMPARISONS:
                column, sign = self.column(node.this), _COMPARISONS[type(node)]
                if column.kind != "number" and sign not in ("=", "!="):
                    raise _unexpected(self.words, _place(node) + 1, _("= or != (%(column)s is no number)", column=column.name))
                return Condition(column.name, sign, (self.value(node.expression, column),))
        raise AudienceError(_("the filter holds what is no condition"), _("write <column> = <value>, joined by 'and' or 'or'"))

    def column(self, node: exp.Expr) -> Column:
        """The column on the left of a condition."""
        word = self.words[_place(node)]
        if not isinstance(node, exp.Column) or not word.is_name:
            raise _unexpected(self.words, _place(node), _(_CONDITION[1]))
        if word.text not in self.known:
            close = nearest(word.text, self.known, cutoff=0.5)
            remedy = _("did you mean %(name)s?", name=close) if close else _("docs/campaigns.md lists the columns")
            shown = without_markup(word.text, 60)
            wrong = _("at character %(place)s, there is no column %(name)s", place=word.position, name=shown)
            raise AudienceError(wrong, remedy)
        return self.known[word.text]

    def value(self, node: exp.Expr, column: Column) -> Value:
        """A value that the column is compared with."""
        word = self.words[_place(node)]
        if not isinstance(node, exp.Column) or word.value is None:
            raise _unexpected(self.words, _place(node), _(_VALUE[1]))
        kind, words, _example = _KINDS[type(word.value)]
        if kind != column.kind:
            _kind, expected, example = next(kind for kind in _KINDS.values() if kind[0] == column.kind)
            given = {"place": word.position, "column": column.name, "kind": _(words)}
            raise AudienceError(
                _("at character %(place)s, %(column)s is compared with %(kind)s", **given),
                _("it is %(kind)s: %(example)s", kind=_(expected), example=_(example)),
            )
        return word.value


def _place(node: exp.Expr) -> int:
    """The place among the words of the first name or value below a node."""
    return int(next(node.find_all(exp.Column, bfs=False)).name)
