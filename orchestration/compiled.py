"""A model's SQL as a run of dbt compiled it, and the relations that dbt's manifest says it is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass

from customer360.settings import Settings
from orchestration.dbt import manifest_path


@dataclass(frozen=True)
class CompiledModel:
    """``sql`` reads ``relations``, (schema, name), in ``database``; control tables are read by dbt and not by the SQL."""

    sql: str
    database: str
    relations: tuple[tuple[str, str], ...]


def compiled_model(settings: Settings, assets_name: str, run_id: str, model: str) -> CompiledModel:
    """What the run's dbt assets of that name compiled ``model`` to; where that run did not, what the newest one did.

    Raises ``FileNotFoundError`` when no run did that is still kept.
    """
    folder = settings.place.dbt_target
    own = folder / f"{assets_name}-{run_id}"
    runs = (
        [own] if own.is_dir() else sorted(folder.glob(f"{assets_name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    )
    files = [file for run in runs for file in run.glob(f"compiled/*/models/**/{model}.sql")]
    if not files:
        raise FileNotFoundError(f"no run in {folder} has compiled {model}; build it, with training_job or in the UI")
    manifest = json.loads(manifest_path(settings).read_text(encoding="utf-8"))
    (node,) = [one for one in manifest["nodes"].values() if one["resource_type"] == "model" and one["name"] == model]
    parents = [{**manifest["nodes"], **manifest["sources"]}[name] for name in manifest["parent_map"][node["unique_id"]]]
    relations = {(one["schema"], one.get("identifier") or one["alias"]) for one in parents if one["schema"] != "ops"}
    return CompiledModel(files[0].read_text(encoding="utf-8"), node["database"], tuple(sorted(relations)))
