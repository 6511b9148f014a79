"""The conditions of an audience as a tree, which forms edit: from text by ``audience_tree``, to text by ``text_of``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from customer360.lake.engine import quoted

Value = bool | float | str
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
LISTS, EMPTINESS = ("in", "not in"), ("is empty", "is not empty")
OPERATORS = (*COMPARISONS, *LISTS, *EMPTINESS)


@dataclass(frozen=True)
class Condition:
    """A column, one of ``OPERATORS``, and the values: one for a comparison, one or more for a list, none for emptiness."""

    column: str
    operator: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Group:
    """Two or more parts, all of which (``and``) or any of which (``or``) must hold. Without parts it is everyone."""

    joined: Literal["and", "or"]
    parts: tuple[Tree, ...] = ()


@dataclass(frozen=True)
class Negation:
    """What must not hold."""

    part: Tree


Tree = Condition | Group | Negation
EVERYONE = Group("and")


def text_of(tree: Tree) -> str:
    """The tree in the language of audiences: ``audience_tree`` reads the same tree from it."""
    match tree:
        case Group(parts=()):
            return "everyone"
        case Group():
            return f" {tree.joined} ".join(
                f"({text_of(part)})" if isinstance(part, Group) else text_of(part) for part in tree.parts
            )
        case Negation():
            return f"not ({text_of(tree.part)})"
    if tree.operator in EMPTINESS:
        return f"{tree.column} {tree.operator}"
    values = ", ".join(map(written, tree.values))
    return f"{tree.column} {tree.operator} " + (f"({values})" if tree.operator in LISTS else values)


def written(value: Value) -> str:
    """A value as the language has it: ``25``, ``.5``, ``'so'`` or ``true``."""
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value).removesuffix(".0")


def conditions_of(tree: Tree) -> Iterator[Condition]:
    """The conditions of a tree, in the order of its text."""
    match tree:
        case Group():
            for part in tree.parts:
                yield from conditions_of(part)
        case Negation():
            yield from conditions_of(tree.part)
        case Condition():
            yield tree


def sql_of(tree: Tree, tables: dict[str, str]) -> str:
    """SQL with a ``?`` for each value, in the order of ``conditions_of``; ``tables``: the published table of each column."""
    match tree:
        case Group(parts=()):
            return "true"
        case Group():
            return "(" + f" {tree.joined} ".join(sql_of(part, tables) for part in tree.parts) + ")"
        case Negation():
            return f"(not {sql_of(tree.part, tables)})"
    name = f"{quoted(tables[tree.column])}.{quoted(tree.column)}"
    if tree.operator in EMPTINESS:
        return f"({name} {tree.operator.replace('empty', 'null')})"
    marks = ", ".join("?" * len(tree.values))
    return f"({name} {tree.operator} " + (f"({marks}))" if tree.operator in LISTS else f"{marks})")
