"""Keys of reference rows that point nowhere: a purchase of a product that ``products`` does not list, a contact of nobody.

Such rows are used: a product that is not listed has the category "other", and a customer with a purchase is a customer. They
are counted, since ids that are written in two ways look the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from customer360.lake.engine import connect, quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.reference.reference_history import reference_relation
from customer360.settings import Settings
from customer360.text import many, printable

SHOWN_KEYS = 3
# Table, its column, and the tables of which one must list the value, under the same name.
POINTERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("purchases", "product_id", ("products",)),
    ("purchases", "customer_id", ("customers",)),
    ("purchases", "category_id", ("categories",)),
    ("products", "category_id", ("categories",)),
    ("offers", "product_id", ("products",)),
    ("offers", "category_id", ("categories",)),
    ("campaigns", "offer_id", ("offers",)),
    ("campaign_touches", "campaign_id", ("campaigns",)),
    ("campaign_touches", "customer_id", ("customers", "purchases")),
    ("suppressions", "customer_id", ("customers", "purchases")),
)
Ids = Mapping[str, int]  # id -> rows that have it


@dataclass(frozen=True)
class UnknownKeys:
    """Of ``rows`` rows with a value, ``unknown_rows`` have one of ``values``, which no table of ``listed_in`` has."""

    table: str
    column: str
    listed_in: tuple[str, ...]
    rows: int
    unknown_rows: int
    values: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of the rows with a value, those whose value is unknown."""
        return self.unknown_rows / self.rows

    def __str__(self) -> str:
        """As a sentence, with examples."""
        shown = ", ".join(printable(value) for value in self.values[:SHOWN_KEYS])
        return (
            f"{self.table}: {self.unknown_rows:,} of {many(self.rows, 'row')} ({self.share:.1%}) name a {self.column} that "
            f"{' and '.join(self.listed_in)} do{'es' * (len(self.listed_in) == 1)} not list, {many(len(self.values), 'value')} "
            f"such as {shown}"
        )


def unknown_keys(ids: Mapping[str, Mapping[str, Ids]]) -> Iterator[UnknownKeys]:
    """The pointers with values that are listed nowhere; ``ids``: table -> column -> its values.

    A pointer to tables without rows is left out: there is nothing to compare with.
    """
    for table, column, targets in POINTERS:
        values = ids.get(table, {}).get(column, {})
        listed = set().union(*(ids.get(target, {}).get(column, {}) for target in targets))
        unknown = sorted(values.keys() - listed, key=lambda value: (-values[value], value)) if listed else []
        if unknown:
            rows = sum(values[value] for value in unknown)
            yield UnknownKeys(table, column, targets, sum(values.values()), rows, tuple(unknown))


def loaded_ids(settings: Settings) -> dict[str, dict[str, dict[str, int]]]:
    """The ids of the reference rows in force, by table and column, for ``unknown_keys``."""
    tables = reference_tables(settings.shop)
    wanted = {(table, column) for table, column, _ in POINTERS}
    wanted |= {(target, column) for _, column, targets in POINTERS for target in targets}
    found: dict[str, dict[str, dict[str, int]]] = {}
    with connect(settings.place.scratch) as connection:
        for table, column in sorted(wanted):
            relation = reference_relation(settings.place, tables[table])
            found.setdefault(table, {})[column] = dict(
                connection.execute(
                    f"select {quoted(column)}, count(*) from ({relation}) "
                    f"where valid_to is null and {quoted(column)} is not null group by all"
                ).fetchall()
            )
    return found
