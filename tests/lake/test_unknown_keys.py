"""Keys of reference rows that point nowhere are counted, and the rows are used; too many broken rows fail their check."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.raw.reference import _set_aside
from customer360.lake.reference.reference import load_reference
from customer360.lake.reference.reference_history import ReferenceLoad
from customer360.lake.reference.unknown_keys import loaded_ids, unknown_keys
from customer360.settings import Place, Settings
from tests.support.random_shop import small_shop

PURCHASES = (
    "order_id,product_id,line_no,customer_id,purchased_at,amount\n"
    "o1,p1,1,c1,2026-04-01,5\no2,p9,1,c1,2026-04-01,5\no3,p9,1,,2026-04-01,5\no4,p8,1,c2,2026-04-01,5\n"
)


def test_unlisted_keys_are_counted_by_rows_and_values_and_empty_ones_are_none(tmp_path: Path) -> None:
    settings = Settings(shop=small_shop(), place=Place(root=tmp_path), shop_folder=tmp_path)
    tables = {
        "purchases": PURCHASES,
        "products": "product_id,category_id\np1,books\np2,\n",
        "customers": "customer_id\nc1\n",
        "suppressions": "customer_id\nc2\nc3\n",  # c2 has a purchase
    }
    for table, text in tables.items():
        file = tmp_path / "landing" / "reference" / table / "a.csv"
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        load_reference(settings, table, datetime(2026, 5, 1, tzinfo=UTC))
    found = {(keys.table, keys.column): keys for keys in unknown_keys(loaded_ids(settings))}
    assert {key: (keys.rows, keys.unknown_rows, keys.values) for key, keys in found.items()} == {
        ("purchases", "product_id"): (4, 3, ("p9", "p8")),
        ("purchases", "customer_id"): (3, 1, ("c2",)),
        ("suppressions", "customer_id"): (2, 1, ("c3",)),
    }  # no table of categories: nothing to compare with
    assert str(found["purchases", "product_id"]) == (
        "purchases: 3 of 4 rows (75.0%) name a product_id that products does not list, 2 values such as p9, p8"
    )


@pytest.mark.parametrize(
    ("set_aside", "passed", "severity"),
    [(0, True, "WARN"), (5, False, "WARN"), (6, False, "ERROR")],
)
def test_a_share_of_broken_rows_above_the_shop_s_limit_fails(set_aside: int, passed: bool, severity: str) -> None:
    loaded = ReferenceLoad("customers", 1, 100 - set_aside, 0, 0, "v", [], set_aside=set_aside)
    result = _set_aside(loaded, 0.05)
    assert (result.passed, result.severity) == (passed, dg.AssetCheckSeverity[severity])


def test_a_table_without_rows_has_no_share_of_rows_set_aside() -> None:
    result = _set_aside(ReferenceLoad("customers", 0, 0, 0, 0, "v", []), 0.05)
    assert (result.passed, result.metadata["share_set_aside"].value) == (True, "none: there are no rows")
