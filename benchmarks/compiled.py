"""The SQL of a slice's models as dbt compiled it, in the order in which they are built."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter
from pathlib import Path

from customer360.settings import Settings


def write_compiled(settings: Settings, target: Path) -> None:
    """Gather what the newest run of the place compiled into ``target``, with ``order.json``; see ``bare_slice``."""
    from orchestration.dbt import manifest_path  # noqa: PLC0415  of the shop that the environment names by now

    target.mkdir()
    manifest = json.loads(manifest_path(settings).read_text(encoding="utf-8"))
    newest = max(settings.place.dbt_target.glob("warehouse_models-*"), key=lambda path: path.stat().st_mtime)
    compiled = {path.stem: path for path in newest.glob("compiled/*/models/**/*.sql")}
    order = []
    for unique_id in TopologicalSorter(manifest["parent_map"]).static_order():
        node = manifest["nodes"].get(unique_id)
        if node and node["resource_type"] == "model" and node["name"] in compiled and node["config"]["materialized"] != "view":
            order.append([node["config"]["schema"], node["name"], node["config"].get("unique_key")])
            (target / f"{node['name']}.sql").write_bytes(compiled[node["name"]].read_bytes())
    (target / "order.json").write_text(json.dumps(order), encoding="utf-8")
