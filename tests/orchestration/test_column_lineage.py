"""Column lineage of the dbt models, as the assets show it."""

from __future__ import annotations

from contextlib import nullcontext

import dagster as dg

from orchestration.column_lineage import update_column_lineage
from orchestration.dbt import lineage_file, lineage_metadata
from tests.orchestration.place import TinyShop


def test_maintenance_finds_which_columns_each_column_is_made_from_once(shop: TinyShop) -> None:
    shop.restore("ready")
    assert lineage_metadata(shop.settings) == {}
    shop.run("maintenance_job").succeed()
    found = {unique_id.rpartition(".")[2]: metadata for unique_id, metadata in lineage_metadata(shop.settings).items()}
    lineage = found["rfm_segments"]["dagster/column_lineage"].deps_by_column
    assert lineage["monetary"] == [dg.TableColumnDep(dg.AssetKey(["intermediate", "int_customer_rfm"]), "monetary")]
    table = found["customer_orders"]["columns_made_from"].value
    assert "| `order_id` | `intermediate/int_orders.order_id` |" in table
    made = lineage_file(shop.settings).stat().st_mtime_ns
    assert update_column_lineage(shop.settings, nullcontext()) == []
    assert lineage_file(shop.settings).stat().st_mtime_ns == made
