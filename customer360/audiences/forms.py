"""Conditions as a form has them: groups of which all, any or none must hold, joined by all or any. Deeper trees stay text."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from customer360.campaigns.audience import AudienceError, Column
from customer360.campaigns.conditions import (
    COMPARISONS,
    EMPTINESS,
    LISTS,
    Condition,
    Group,
    Negation,
    Tree,
    Value,
    written,
)
from customer360.translation import gettext as _

Joined = Literal["and", "or"]
Mode = Literal["all", "any", "none"]
_JOINED: dict[str, Joined] = {"all": "and", "any": "or", "none": "or"}


@dataclass(frozen=True)
class ConditionGroup:
    """Conditions of which all, any or none must hold."""

    mode: Mode
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class ConditionForm:
    """Groups of conditions; without any it is everyone."""

    joined: Joined = "and"
    groups: tuple[ConditionGroup, ...] = ()

    @property
    def tree(self) -> Tree:
        """What the form says."""
        return _joined(self.joined, [part for group in self.groups if group.conditions for part in self._parts(group)])

    def _parts(self, group: ConditionGroup) -> list[Tree]:
        if group.mode == "none":
            return [Negation(_joined("or", group.conditions))]
        joined = _JOINED[group.mode]
        return [*group.conditions] if joined == self.joined else [_joined(joined, group.conditions)]


def _joined(joined: Joined, parts: Sequence[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else Group(joined, tuple(parts))


def form_of(tree: Tree) -> ConditionForm | None:
    """The form that says the same; None where a tree is nested deeper than forms are."""
    if isinstance(tree, Group) and (not tree.parts or not all(isinstance(part, Condition) for part in tree.parts)):
        groups: list[ConditionGroup] = []
        own: Mode = "all" if tree.joined == "and" else "any"
        for part in tree.parts:
            found = _group(part)
            if found is None:
                return None
            if isinstance(part, Condition):
                found = replace(found, mode=own)
                if groups and groups[-1].mode == own:
                    groups[-1] = ConditionGroup(own, (*groups[-1].conditions, *found.conditions))
                    continue
            groups.append(found)
        return ConditionForm(tree.joined, tuple(groups))
    only = _group(tree)
    if only is None:
        return None
    return ConditionForm("or" if only.mode == "any" else "and", (only,))


def _group(part: Tree) -> ConditionGroup | None:
    if isinstance(part, Condition):
        return ConditionGroup("all", (part,))
    if isinstance(part, Negation):
        inside = _group(part.part)
        is_any = inside is not None and (inside.mode == "any" or len(inside.conditions) == 1) and inside.mode != "none"
        return ConditionGroup("none", inside.conditions) if inside is not None and is_any else None
    conditions = tuple(each for each in part.parts if isinstance(each, Condition))
    return ConditionGroup("all" if part.joined == "and" else "any", conditions) if len(conditions) == len(part.parts) else None


def operators_of(column: Column) -> tuple[str, ...]:
    """The operators that a condition on a column may have."""
    comparisons = COMPARISONS if column.kind == "number" else COMPARISONS[:2]
    return (*comparisons, *(() if column.kind == "boolean" else LISTS), *EMPTINESS)


def condition_of(name: str, operator: str, value: str, columns: Mapping[str, Column]) -> Condition:
    """The condition that the fields of a form say; of a list the values are separated by commas, quoted by ``"`` if need be.

    Raises ``AudienceError`` that names the column.
    """
    if name not in columns:
        raise AudienceError(_("there is no column %(name)s", name=name), _("choose one of the list"))
    column = columns[name]
    if operator not in operators_of(column):
        wrong = _("%(column)s cannot be compared by %(operator)s", column=name, operator=operator)
        raise AudienceError(wrong, _("choose one of %(names)s", names=", ".join(operators_of(column))))
    if operator in EMPTINESS:
        return Condition(name, operator)
    texts = [value.strip()]
    if operator in LISTS:
        texts = [text.strip() for text in next(csv.reader([value], skipinitialspace=True), []) if text.strip()]
    if not texts or not all(texts):
        wrong = _("%(column)s %(operator)s has no value", column=name, operator=operator)
        raise AudienceError(wrong, _("write one, or remove the condition"))
    return Condition(name, operator, tuple(_value(text, column) for text in texts))


def value_text(condition: Condition) -> str:
    """The values of a condition as the field of a form has them: ``condition_of`` reads the same."""
    texts = [value if isinstance(value, str) else written(value) for value in condition.values]
    if condition.operator not in LISTS:
        return "".join(texts)
    return ", ".join('"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text for text in texts)


def _value(text: str, column: Column) -> Value:
    if column.kind == "text":
        return text
    if column.kind == "boolean":
        if text.lower() not in ("true", "false"):
            wrong = _("%(column)s is true or false, not %(text)s", column=column.name, text=text)
            raise AudienceError(wrong, _("write true or false"))
        return text.lower() == "true"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise AudienceError(_("%(column)s is a number, not %(text)s", column=column.name, text=text), _("write 25 or .5"))
    return number
