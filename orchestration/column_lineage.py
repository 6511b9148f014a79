"""Column lineage of the dbt models, found in their compiled SQL as dagster-dbt does it with sqlglot.

It follows from the code and the shop alone. The first maintenance_job after a change of either makes it, in 27 CPU seconds for
the synthetic shop, of which dbt holds the warehouse for 4. Definitions that are loaded afterwards show it with the assets
(``orchestration.dbt.lineage_metadata``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import duckdb
from dagster_dbt.core.dbt_cli_event import EventHistoryMetadata, _build_column_lineage_metadata
from sqlglot.errors import SqlglotError

from customer360.lake.atomic import write_text
from customer360.lake.warehouse.unchanged import project_fingerprint
from customer360.settings import Settings
from orchestration.dbt import ShopTranslator, lineage_file, manifest_path
from orchestration.runtime.dbt_run import failure_text, invoke

LINEAGE_TARGET = "column-lineage"

Columns = dict[str, dict[str, str]]


def update_column_lineage(settings: Settings, warehouse_lock: AbstractContextManager[None]) -> list[str]:
    """Make the lineage anew where the models or the shop changed and the warehouse has been built.

    Returns the models whose SQL sqlglot cannot follow, with its reason. Raises ``RuntimeError`` where dbt cannot compile.
    """
    file, stamp = lineage_file(settings), project_fingerprint(settings)
    if not settings.place.warehouse.exists():
        return []
    if file.exists() and json.loads(file.read_text(encoding="utf-8"))["stamp"] == stamp:
        return []
    target = settings.place.dbt_target / LINEAGE_TARGET
    with warehouse_lock:
        outcome = invoke(settings, ["compile"], target, lambda _: None)
        if not outcome.success:
            raise RuntimeError(failure_text(outcome, target))
        with duckdb.connect(str(settings.place.warehouse), read_only=True) as connection:
            columns = _columns(connection)
    manifest = json.loads(manifest_path(settings).read_text(encoding="utf-8"))
    relations = {**manifest["nodes"], **manifest["sources"]}
    found, problems = {}, []
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] != "model" or _name(node) not in columns:  # training_features, before the first training
            continue
        parents = [relations[parent] for parent in node["depends_on"]["nodes"]]
        of_parents = {parent["relation_name"]: columns.get(_name(parent), {}) for parent in parents}
        known = EventHistoryMetadata(columns=columns[_name(node)], parents=of_parents)
        try:
            metadata = _build_column_lineage_metadata(known, node, manifest, ShopTranslator(), target, None)
        except SqlglotError as error:
            problems.append(f"{node['name']}: {error}")
            continue
        lineage = metadata["dagster/column_lineage"].deps_by_column
        deps = {column: lineage.get(column, []) for column in known.columns}
        found[unique_id] = {column: sorted([*dep.asset_key.path, dep.column_name] for dep in deps[column]) for column in deps}
    write_text(file, json.dumps({"stamp": stamp, "models": found}))
    return problems


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], Columns]:
    """Column -> its type, as dagster-dbt has it, by schema and name of the relation."""
    query = "select table_schema, table_name, column_name, data_type from information_schema.columns order by ordinal_position"
    columns: dict[tuple[str, str], Columns] = {}
    for schema, table, column, data_type in connection.execute(query).fetchall():
        columns.setdefault((schema, table), {})[column] = {"data_type": data_type}
    return columns


def _name(node: Mapping[str, Any]) -> tuple[str, str]:
    return node["schema"], node.get("identifier") or node["alias"]
