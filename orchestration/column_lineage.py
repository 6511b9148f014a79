"""Column lineage of the dbt models, found in their compiled SQL with sqlglot.

It follows from the code and the shop alone. The first maintenance_job after a change of either makes it: dbt compiles, holding
the warehouse for 4 CPU seconds, and sqlglot takes 1. Definitions that are loaded afterwards show it with the assets
(``orchestration.dbt.lineage_metadata``). dagster-dbt's own function parses a model again for each of its columns: 27 seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import duckdb
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.schema import MappingSchema

from customer360.lake.atomic import write_text
from customer360.lake.warehouse.unchanged import project_fingerprint
from customer360.settings import Settings
from orchestration.dbt import ShopTranslator, lineage_file, manifest_path
from orchestration.runtime.dbt_run import failure_text, invoke

LINEAGE_TARGET = "column-lineage"
DIALECT = "duckdb"


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
    translator, schema = ShopTranslator(), MappingSchema(columns, dialect=DIALECT)
    relations = {**manifest["nodes"], **manifest["sources"]}
    found, problems = {}, []
    for unique_id, node in manifest["nodes"].items():
        schema_name, table = _name(node)
        built = columns.get(schema_name, {}).get(table)
        if node["resource_type"] != "model" or built is None:  # training_features, before the first training
            continue
        parents = [relations[parent] for parent in node["depends_on"]["nodes"]]
        assets = {_name(parent): translator.get_asset_key(parent).path for parent in parents}
        sql = target / "compiled" / node["package_name"] / node["original_file_path"]
        try:
            # Without trimming, whose copies of each query take 20 times as long and leave the sources as they are.
            lineages = lineage(None, sql.read_text(encoding="utf-8"), schema, dialect=DIALECT, trim_selects=False)
        except SqlglotError as error:
            problems.append(f"{node['name']}: {error}")
            continue
        found[unique_id] = {name: sorted(_sources(lineages[name], assets)) if name in lineages else [] for name in built}
    write_text(file, json.dumps({"stamp": stamp, "models": found}))
    return problems


def _sources(column: Node, assets: Mapping[tuple[str, str], Sequence[str]]) -> set[tuple[str, ...]]:
    """Asset path and name of the columns that a column is made from; ``assets`` are the parents by schema and name."""
    leaves = [node for node in column.walk() if not node.downstream]
    tables = [(node, node.expression.find(exp.Table)) for node in leaves]
    return {
        (*assets[table.db, table.name], exp.to_column(node.name).name)
        for node, table in tables
        if table is not None and (table.db, table.name) in assets
    }


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Schema -> relation -> column -> type."""
    query = "select table_schema, table_name, column_name, data_type from information_schema.columns order by ordinal_position"
    columns: dict[str, Any] = {}
    for schema, table, column, data_type in connection.execute(query).fetchall():
        columns.setdefault(schema, {}).setdefault(table, {})[column] = data_type
    return columns


def _name(node: Mapping[str, Any]) -> tuple[str, str]:
    return node["schema"], node.get("identifier") or node["alias"]
