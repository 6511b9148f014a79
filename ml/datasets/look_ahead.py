"""Whether features use data that became known after their cut-off: computed again with all of that altered, they stay equal.

A feature that looks ahead makes a model look better than it is (Kaufman et al., Leakage in Data Mining, 2012). What became
known later is altered in every relation that the features are made of; see ``customer360.lake.warehouse.altered_future``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import duckdb
import pandas as pd

from customer360.lake.engine import connect, literal, quoted, row_count
from customer360.lake.warehouse.altered_future import Timed, altered_future, without_future
from customer360.lake.warehouse.sampled_copy import Relation
from customer360.text import many

# A leak that concerns one customer in a hundred is missed by 1,000 in .99 ** 1000 = one of 23,000 training sets.
CUSTOMERS = 1_000
KEYS = ("cutoff_no", "customer_id")


@dataclass(frozen=True)
class ChangedFeature:
    """A feature that changed with the future: for how many customers, at the cut-off (UTC) after which all was altered.

    ``feature`` is "customer_id" where customers came or went.
    """

    cutoff: datetime
    feature: str
    customers: int


@dataclass(frozen=True)
class LookAhead:
    """The result. ``added``: rows that were added, beside all later ones being altered; ``labels``: labels that changed.

    Labels lie after the cut-off and may change; that labels change shows that the altered rows matter.
    """

    cutoffs: tuple[datetime, ...]
    added: int
    labels: int
    changed: tuple[ChangedFeature, ...]

    @property
    def verdict(self) -> str:
        """The result in a sentence, without values of a customer."""
        if not self.changed:
            return f"no feature uses data that became known after a cut-off; {many(self.labels, 'label')} changed with it"
        names = sorted({feature.feature for feature in self.changed})
        return (
            f"{many(len(names), 'feature')} use data that became known after a cut-off: {', '.join(names[:5])}"
            f"{' and others' if len(names) > 5 else ''}. See macros/as_of: each relation is read as of the cut-off"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a cut-off and feature that changed with the future."""
        return pd.DataFrame(
            [(feature.cutoff, feature.feature, feature.customers) for feature in self.changed],
            columns=["cutoff", "feature", "customers"],
        )


def look_ahead(
    sampled: Path, sql: str, *, database: str, relations: Sequence[Relation], features: Sequence[str], horizon: timedelta
) -> LookAhead:
    """Compare the features of ``sql`` with those of another future, and of none, after its newest and its oldest cut-off.

    ``sampled`` is a DuckDB file with the ``relations`` that ``sql`` reads in ``database``; it is only read. ``sql`` has one row
    a cut-off and customer: cutoff_no, as_of, customer_id, the ``features``, and labels. Older cut-offs must not see what is
    altered after a newer one either, so that all cut-offs are looked at.

    Raises ``UntimedRelationError`` where the columns of a relation do not tell when its rows became known.
    """
    with connect(sampled.parent / f"{sampled.stem}-spill") as connection:
        connection.execute(f"attach {literal(str(sampled))} as sampled (read_only); attach ':memory:' as {quoted(database)}")
        timed = {relation: Timed.read(connection, f"sampled.{'.'.join(relation)}") for relation in relations}
        for schema, name in relations:
            connection.execute(f"create schema if not exists {database}.{schema}")
            connection.execute(f"create table {database}.{schema}.{name} as from sampled.{schema}.{name}")
        connection.execute(f"create temp table before as {sql}")
        columns = [name for name, *_ in connection.execute("describe before").fetchall()]
        label_columns = [name for name in columns if name not in {*KEYS, "as_of", *features}]
        moments = [
            moment for (moment,) in connection.execute("select distinct as_of from before order by as_of desc").fetchall()
        ]
        added, labels, changed = 0, 0, dict[tuple[datetime, str], int]()
        for moment, is_empty in product(dict.fromkeys([*moments[:1], *moments[-1:]]), (False, True)):
            for (schema, name), timed_relation in timed.items():
                own = f"{database}.{schema}.{name}"
                future = without_future(timed_relation, moment) if is_empty else altered_future(timed_relation, moment, horizon)
                connection.execute(f"create or replace table {own} as {future}")
                added += max(row_count(connection, own) - row_count(connection, timed_relation.name), 0)
            connection.execute(f"create or replace temp table after as from ({sql}) where as_of <= timestamp '{moment}'")
            for feature, customers in _changed_features(connection, moment, features).items():
                changed[moment, feature] = max(customers, changed.get((moment, feature), 0))
            labels += sum(_changed_customers(connection, moment, label_columns).values())
    return LookAhead(
        tuple(moments), added, labels, tuple(ChangedFeature(*key, customers) for key, customers in changed.items())
    )


def _changed_features(connection: duckdb.DuckDBPyConnection, moment: datetime, features: Sequence[str]) -> dict[str, int]:
    columns = ", ".join([*KEYS, *map(quoted, features)])
    old, new = f"(select {columns} from before where as_of <= timestamp '{moment}')", f"(select {columns} from after)"
    (rows,) = connection.execute(
        f"select count(*) from ((from {old} except all from {new}) union all (from {new} except all from {old}))"
    ).fetchone() or (0,)
    if not rows:
        return {}
    changed = _changed_customers(connection, moment, ["customer_id", *features])
    return {name: customers for name, customers in changed.items() if customers}


def _changed_customers(connection: duckdb.DuckDBPyConnection, moment: datetime, columns: Sequence[str]) -> dict[str, int]:
    """For how many customers each column differs; who came, went or is there twice is counted under customer_id alone."""
    keys = " and ".join(f"before.{key} = after.{key}" for key in KEYS)
    if not columns:
        return {}
    counted = ", ".join(
        f"count(distinct coalesce(before.customer_id, after.customer_id)) filter (where {_differs(name)})" for name in columns
    )
    counts = connection.execute(
        f"select {counted} from (from before where as_of <= timestamp '{moment}') as before "
        f"full join (select *, count(*) over (partition by {', '.join(KEYS)}) as copies from after) as after on {keys}"
    ).fetchone()
    return dict(zip(columns, counts or (), strict=True))


def _differs(name: str) -> str:
    if name == "customer_id":
        return "before.customer_id is null or after.customer_id is null or after.copies > 1"
    both = "before.customer_id is not null and after.customer_id is not null"
    return f"{both} and before.{quoted(name)} is distinct from after.{quoted(name)}"
