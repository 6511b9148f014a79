"""A relation with all facts altered that were not known at a moment: a test against look-ahead in features.

When a row became known is read from the relation's columns, so that a relation or a column that is added is covered:

- ``slice``: the row became known when its arrival slice ended;
- ``valid_from``, ``valid_to``: it was known from ``valid_from`` on, and that it ends only at ``valid_to``;
- ``known_since``: says who is left out of the past, and is no fact of it;
- any other timestamp: the time of an event, which is not known before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from customer360.lake.engine import column_types, literal, quoted
from customer360.lake.landing.contracts import KNOWN_SINCE

ARRIVAL, VALID_FROM, VALID_TO = "slice", "valid_from", "valid_to"
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "U")
MOMENTS = ("TIMESTAMP",)


class UntimedRelationError(ValueError):
    """A relation has no columns that say when its rows became known. The message names it and the remedy."""


@dataclass(frozen=True)
class Timed:
    """A relation by its SQL name, with the types of its columns."""

    name: str
    columns: dict[str, str]

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection, name: str) -> Timed:
        """Raises ``UntimedRelationError`` where the relation has neither arrival slices nor validity."""
        columns = column_types(connection, name)
        if ARRIVAL not in columns and not {VALID_FROM, VALID_TO} <= columns.keys():
            raise UntimedRelationError(
                f"training_features reads {name}, which has neither {ARRIVAL} nor {VALID_FROM} and {VALID_TO}, so "
                "that what of it was known at a cut-off cannot be told. Read it as of the cut-off, from relations that do"
            )
        return cls(name, columns)

    @property
    def arrives(self) -> bool:
        """True for rows of arrival slices, False for versions of reference rows."""
        return ARRIVAL in self.columns

    @property
    def happened(self) -> list[str]:
        """The columns that say when something happened."""
        own = {ARRIVAL, VALID_FROM, VALID_TO, KNOWN_SINCE}
        return [name for name, kind in self.columns.items() if kind.startswith(MOMENTS) and name not in own]

    @property
    def texts(self) -> list[str]:
        """Ids, categories and other texts."""
        return [name for name, kind in self.columns.items() if kind == "VARCHAR"]


def altered_future(relation: Timed, moment: datetime, horizon: timedelta) -> str:
    """SQL of the relation's columns with all that was not known at ``moment`` (naive UTC) altered.

    - Rows known then stay, but a version that was in force then ends at another time after it.
    - Rows that became known later are there twice: with other numbers and, moved to other customers, products and the like.
    - Added are facts from before the moment that become known after it, at once or a day later, and facts of the ``horizon``
      after it: each row known then once more with other numbers, once with the texts of other rows, and once with new texts.
    """
    at = f"timestamp '{moment}'"
    known, width = _known(relation, at), f"interval '{int(horizon.total_seconds())}' second"
    soon = at if relation.arrives else f"{at} + interval '1' microsecond"
    late = f"{at} + interval '1' day"
    parts = [
        _known_rows(relation, at),
        _rows(relation, f"not {known}", "same", {}),
        _rows(relation, f"not {known}", "other", {}),
        _rows(relation, known, "same", _known_from(relation, soon)),
        _rows(relation, known, "other", _known_from(relation, soon)),
        _rows(relation, known, "new", _known_from(relation, late)),
    ]
    if relation.arrives or relation.happened:
        moved = {name: _within(name, at, width) for name in relation.happened + ([ARRIVAL] if relation.arrives else [])}
        exact = dict.fromkeys(moved, at)
        parts += [_rows(relation, known, "same", moved), _rows(relation, known, "new", exact)]
    others = [
        f"{_others(name)} as (select value, coalesce(lead(value) over (order by value), min(value) over ()) as other "
        f"from (select distinct {quoted(name)} as value from {relation.name} where {quoted(name)} is not null))"
        for name in relation.texts
    ]
    return f"{'with ' if others else ''}{', '.join(others)} {' union all '.join(parts)}"


def without_future(relation: Timed, moment: datetime) -> str:
    """SQL of the relation had nothing become known after ``moment`` (naive UTC); ends of versions are other ones."""
    return _known_rows(relation, f"timestamp '{moment}'")


def _known_rows(relation: Timed, at: str) -> str:
    ends = {} if relation.arrives else {VALID_TO: _other_end(at)}
    return _rows(relation, _known(relation, at), "same", ends, is_altered=False)


def _known(relation: Timed, at: str) -> str:
    if relation.arrives:
        return f"({ARRIVAL} < {at})"
    happened = "".join(f" and coalesce({quoted(name)} < {at}, true)" for name in relation.happened)
    return f"({VALID_FROM} <= {at}{happened})"


def _other_end(at: str) -> str:
    """An open end gets an end, a later end is opened: the version is in force at the moment either way."""
    return f"case when {VALID_TO} is null then {at} + interval '1' day when {VALID_TO} > {at} then null else {VALID_TO} end"


def _known_from(relation: Timed, moment: str) -> dict[str, str]:
    return {ARRIVAL: moment} if relation.arrives else {VALID_FROM: moment, VALID_TO: "cast(null as timestamp)"}


def _within(name: str, at: str, length: str) -> str:
    """The time moved into [at, at + length) by a whole number of lengths."""
    return f"{at} + ({quoted(name)} - time_bucket({length}, {quoted(name)}, {at}))"


def _rows(relation: Timed, where: str, texts: str, values: dict[str, str], *, is_altered: bool = True) -> str:
    """A selection of the relation: columns in ``values`` by their SQL, the others altered or as they are."""
    columns = [
        f"cast({values.get(name) or (_altered(name, kind, texts) if is_altered else quoted(name))} as {kind}) as {quoted(name)}"
        for name, kind in relation.columns.items()
    ]
    joins = [
        f"left join {_others(name)} on {quoted(name)} = {_others(name)}.value"
        for name in (relation.texts if texts == "other" else [])
    ]
    return f"select {', '.join(columns)} from {relation.name} {' '.join(joins)} where {where}"


def _altered(name: str, kind: str, texts: str) -> str:
    own = quoted(name)
    if kind == "VARCHAR":
        return {"same": own, "other": f"{_others(name)}.other", "new": f"coalesce({own}, '') || {literal(' (new)')}"}[texts]
    if kind == "BOOLEAN":
        return f"not coalesce({own}, false)"
    if kind == "DATE":
        return f"{own} + interval '37' day"
    if kind.startswith(NUMBERS):
        return f"coalesce(try(cast(coalesce({own}, 0) * 3 + 7 as {kind})), {own})"  # unless that is too large for the type
    return own


def _others(name: str) -> str:
    return quoted(f"others of {name}")
