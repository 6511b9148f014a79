"""The language of audiences: from text to a tree whose columns and types are checked, with positions in its errors.

    filter     := "everyone" | choice
    choice     := all ("or" all)*
    all        := one ("and" one)*
    one        := "not" one | "(" choice ")" | test
    test       := column ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | column ["not"] "in" "(" value ("," value)* ")"
                | column "is" ["not"] "empty"
                | column                                              (one that is true or false)
    value      := number | 'text' | "true" | "false"

Words may be written in capitals; a quotation mark within a text is doubled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from customer360.campaigns.audience_columns import Column, Kind
from customer360.words import inert

Value = bool | int | float | str
LONGEST, DEEPEST = 4_000, 40
_COMPARISONS = ("<=", ">=", "!=", "=", "<", ">")
_WORDS = {"and", "or", "not", "in", "is", "empty", "everyone", "true", "false"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)(?![A-Za-z0-9_.])"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|!=|=|<|>|\(|\)|,))",
    re.ASCII,
)


class AudienceError(ValueError):
    """An audience that is no filter of this shop: ``message`` names the position, ``remedy`` what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message, self.remedy = message, remedy


@dataclass(frozen=True)
class Everyone:
    """All known customers."""


@dataclass(frozen=True)
class Several:
    """``one and another and ...``, or the same with ``or``."""

    word: Literal["and", "or"]
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    """The opposite."""

    one: Node


@dataclass(frozen=True)
class Comparison:
    """``column sign value``."""

    column: Column
    sign: str
    value: Value


@dataclass(frozen=True)
class OneOf:
    """``column in (...)``."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Empty:
    """``column is empty``."""

    column: Column


Node = Everyone | Several | Not | Comparison | OneOf | Empty


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(text: str, columns: Mapping[str, Column]) -> Node:
    """The tree of an audience. Raises ``AudienceError``."""
    if len(text) > LONGEST:
        raise AudienceError(f"the filter has {len(text):,} characters", f"at most {LONGEST:,} are read; split the campaign")
    return _Parser(_tokens(text), columns, len(text)).whole()


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None or found.end() > end:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            shown = inert(text[start : start + 12], 12)
            remedy = "close it with '" if text[start] == "'" else "write names, numbers, 'texts' and = != < <= > >= ( ) ,"
            raise AudienceError(f"at character {start + 1}, {shown!r} is not understood", remedy)
        kind = str(found.lastgroup)
        word = found[kind]
        if kind == "name" and word.lower() in _WORDS:
            kind, word = "word", word.lower()
        tokens.append(_Token(kind, word, found.start(found.lastgroup or 0)))
        position = found.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: Sequence[_Token], columns: Mapping[str, Column], length: int) -> None:
        self.tokens, self.columns, self.place, self.depth = tokens, columns, 0, 0
        self.end = _Token("end", "the end", length)

    def whole(self) -> Node:
        if [(token.kind, token.text) for token in self.tokens] == [("word", "everyone")]:
            return Everyone()
        node = self.choice()
        if self.next.kind != "end":
            raise self.unexpected("'and', 'or' or the end")
        return node

    @property
    def next(self) -> _Token:
        return self.tokens[self.place] if self.place < len(self.tokens) else self.end

    def take(self, *texts: str) -> bool:
        """Go past the next token if it is one of these signs or words."""
        found = self.next.kind in {"sign", "word"} and self.next.text in texts
        self.place += found
        return found

    def unexpected(self, wanted: str) -> AudienceError:
        shown = self.next.text if self.next.kind == "end" else repr(inert(self.next.text, 40))
        return AudienceError(f"at character {self.next.position + 1} stands {shown}", f"write {wanted} there")

    def choice(self) -> Node:
        parts = [self.all()]
        while self.take("or"):
            parts.append(self.all())
        return parts[0] if len(parts) == 1 else Several("or", tuple(parts))

    def all(self) -> Node:
        parts = [self.one()]
        while self.take("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else Several("and", tuple(parts))

    def one(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            at = self.next.position + 1
            raise AudienceError(f"at character {at} the filter is nested {DEEPEST} deep", "leave out parentheses and 'not'")
        try:
            if self.take("not"):
                return Not(self.one())
            if self.take("("):
                node = self.choice()
                if not self.take(")"):
                    raise self.unexpected("'and', 'or' or ')'")
                return node
            return self.test()
        finally:
            self.depth -= 1

    def test(self) -> Node:
        column = self.column()
        if self.next.kind == "sign" and self.next.text in _COMPARISONS:
            sign = self.next.text
            if column.kind != "number" and sign not in {"=", "!="}:
                raise self.unexpected(f"= or != ({column.name} is {_a(column.kind)})")
            self.place += 1
            return Comparison(column, sign, self.value(column))
        if self.take("is"):
            negated = self.take("not")
            if not self.take("empty"):
                raise self.unexpected("'empty'" if negated else "'empty' or 'not empty'")
            return Not(Empty(column)) if negated else Empty(column)
        negated = self.take("not")
        if self.take("in"):
            values = self.values(column)
            return Not(OneOf(column, values)) if negated else OneOf(column, values)
        if negated or column.kind != "boolean":
            raise self.unexpected("'in'" if negated else "=, !=, <, <=, >, >=, 'in' or 'is empty'")
        return Comparison(column, "=", True)

    def column(self) -> Column:
        token = self.next
        if token.kind != "name":
            raise self.unexpected("a column's name")
        if token.text not in self.columns:
            close = get_close_matches(token.text, self.columns, n=1, cutoff=0.5)
            remedy = f"did you mean {close[0]}?" if close else "docs/campaigns.md lists the columns"
            raise AudienceError(f"at character {token.position + 1}, there is no column {inert(token.text, 60)}", remedy)
        self.place += 1
        return self.columns[token.text]

    def values(self, column: Column) -> tuple[Value, ...]:
        if not self.take("("):
            raise self.unexpected("'('")
        values = [self.value(column)]
        while self.take(","):
            values.append(self.value(column))
        if not self.take(")"):
            raise self.unexpected("',' or ')'")
        return tuple(values)

    def value(self, column: Column) -> Value:
        token = self.next
        value: Value
        if token.kind == "number":
            value = _number(token)
        elif token.kind == "text":
            value = token.text[1:-1].replace("''", "'")
        elif token.kind == "word" and token.text in {"true", "false"}:
            value = token.text == "true"
        else:
            raise self.unexpected("a number, a 'text', true or false")
        if _kind(value) != column.kind:
            raise AudienceError(
                f"at character {token.position + 1}, {column.name} is compared with {_a(_kind(value))}",
                f"it is {_a(column.kind)}: {_EXAMPLES[column.kind]}",
            )
        self.place += 1
        return value


_EXAMPLES: dict[Kind, str] = {
    "number": "write 25 or .5",
    "text": "write it in quotation marks, 'so'",
    "boolean": "write true or false",
}


def _number(token: _Token) -> float:
    number = float(token.text)
    if not math.isfinite(number):
        raise AudienceError(f"at character {token.position + 1}, the number is too large", "write a smaller one")
    return number


def _kind(value: Value) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _a(kind: Kind) -> str:
    return {"number": "a number", "text": "a text", "boolean": "true or false"}[kind]
