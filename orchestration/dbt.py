"""dbt in Dagster: the manifest, the translator, and what runs have compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings

from customer360.lake.atomic import exclusive
from customer360.lake.warehouse.unchanged import PROJECT, project_fingerprint
from customer360.settings import REPOSITORY, Settings
from orchestration import groups
from orchestration.dbt_command import dbt_environment
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SLICES
from orchestration.runtime.code_files import LINEAGE

SLICE_GRAIN, SLICE_CHECK, DAILY = "slice_grain", "slice_check", "daily"
CLICKS, CLICK_HISTORY = dg.AssetKey(["raw", "clicks"]), dg.AssetKey(["raw", "click_history"])
QUOTES = "\"'"
GROUPS = {**dict.fromkeys(("staging", "intermediate", "seeds"), groups.TRANSFORM), "marts": groups.MARTS}


def manifest_path(settings: Settings) -> Path:
    """Dbt's manifest for this shop, parsed anew when the project, the shop's variables or the code that makes them changed.

    Raises ``RuntimeError`` with dbt's own words when the project does not parse.
    """
    target = settings.place.dbt_target
    path, stamp = target / "manifest.json", target / "manifest.stamp"
    target.mkdir(parents=True, exist_ok=True)
    fingerprint = project_fingerprint(settings)
    with exclusive(target / ".lock"):
        if not path.exists() or not stamp.exists() or stamp.read_text(encoding="utf-8") != fingerprint:
            place = {"SHOP": str(settings.shop_folder), "DATA_DIR": str(settings.place.root)}
            environment = {**os.environ, **dbt_environment(settings), **place}
            parsed = subprocess.run(
                [sys.executable, "-m", "orchestration.dbt_command", "parse", "--quiet"],
                env=environment,
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                check=False,
            )
            if parsed.returncode:
                raise RuntimeError(f"dbt could not parse {PROJECT}:\n{parsed.stdout}\n{parsed.stderr}")
            stamp.write_text(fingerprint, encoding="utf-8")
    return path


class ShopTranslator(DagsterDbtTranslator):
    """dbt's names as the asset graph shows them: key = [layer, name], slice-grain models partitioned by slice."""

    def __init__(self, lineage: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_source_tests_as_checks=False))
        self.lineage = lineage or {}

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """[schema, name]; the source of pending clicks is the asset that writes them."""
        if dbt_resource_props["resource_type"] == "source":
            schema, name = dbt_resource_props["source_name"], dbt_resource_props["name"]
            return dg.AssetKey([schema, "clicks" if name == "clicks_pending" else name])
        return dg.AssetKey([dbt_resource_props["config"]["schema"] or "transform", dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Group by layer."""
        return GROUPS.get(dbt_resource_props["config"].get("schema") or "", groups.RAW)

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        """The data team owns all dbt models."""
        return [DATA_TEAM]

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition[str] | None:
        """Slices for slice-grain models, nothing for current state."""
        return SLICES if SLICE_GRAIN in dbt_resource_props.get("tags", []) else None

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: Any
    ) -> dg.AssetCheckSpec | None:
        """Tests of current state are checks. Those of slice-grain models run too, but are recorded as observations.

        A check of a partitioned asset cannot be recorded by a run without a partition, as history_job is.
        """
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None or asset_spec.partitions_def is not None:
            return None
        node = manifest["nodes"][unique_id]
        is_in_slices = SLICE_CHECK in node["tags"]
        when = "Runs with every slice, before its tables are published" if is_in_slices else "Runs every night (warehouse_job)"
        return dg.AssetCheckSpec(
            spec.name,
            asset=spec.asset_key,
            description=f"{described_test(node)}. {when}.",
            additional_deps=spec.additional_deps,
            metadata=spec.metadata,
            blocking=spec.blocking and is_in_slices,
        )

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, str]:
        """Dbt's tags, and ``personal_data`` as the project's meta declares it."""
        meta = dbt_resource_props.get("config", {}).get("meta") or dbt_resource_props.get("meta", {})
        return {**super().get_tags(dbt_resource_props), "personal_data": "yes" if meta.get("personal_data") else "no"}

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """Add the history beside the clicks: both feed one dbt source. Control tables are no assets. Link the model's file."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        deps = [dep for dep in spec.deps if dep.asset_key.path[0] != "ops" and dep.asset_key != CLICKS]
        if any(dep.asset_key == CLICKS for dep in spec.deps):
            # What is read is whatever is pending, which no mapping can say. Without one a run without a partition, as
            # history_job is, fails; and a mapping to all has every run list all slices, .8 s and more with each year.
            deps += [dg.AssetDep(CLICKS, partition_mapping=dg.LastPartitionMapping()), dg.AssetDep(CLICK_HISTORY)]
        node = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
        file = dg.LocalFileCodeReference(file_path=str(PROJECT / node["original_file_path"]), label="SQL")
        references = {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[file])}
        metadata = {**spec.metadata, **references, **self.lineage.get(unique_id, {})}
        return spec.replace_attributes(deps=deps, kinds={"dbt", "duckdb"}, metadata=metadata)


def lineage_file(settings: Settings) -> Path:
    """What each column of each dbt model is made from; see ``orchestration.column_lineage``."""
    return settings.place.dbt_target / LINEAGE


def lineage_metadata(settings: Settings) -> dict[str, dict[str, Any]]:
    """Dbt id of a model -> its column lineage, as of the newest maintenance_job; nothing before the first.

    ``dagster/column_lineage`` is for Dagster+ and GraphQL: the open-source UI does not show it, and has the table instead.
    """
    file = lineage_file(settings)
    models = json.loads(file.read_text(encoding="utf-8"))["models"] if file.exists() else {}
    return {unique_id: _lineage_metadata(columns) for unique_id, columns in models.items()}


def _lineage_metadata(columns: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Any]:
    deps = {column: [dg.TableColumnDep(dg.AssetKey(path), name) for *path, name in parts] for column, parts in columns.items()}
    sources = {column: ", ".join(f"`{'/'.join(path)}.{name}`" for *path, name in parts) for column, parts in columns.items()}
    rows = "\n".join(f"| `{column}` | {text or 'no column'} |" for column, text in sources.items())
    return {
        "dagster/column_lineage": dg.TableColumnLineage(deps),
        "columns_made_from": dg.MetadataValue.md(f"| column | made from |\n|---|---|\n{rows}"),
    }


def described_test(node: Mapping[str, Any]) -> str:
    """A test's description, without a full stop; of a generic test without one, what it tests by its arguments."""
    if description := node.get("description"):
        return str(description).rstrip(". ")
    metadata, column = node.get("test_metadata") or {}, node.get("column_name")
    arguments = metadata.get("kwargs", {})
    names, values = arguments.get("columns", [""]), ", ".join(map(str, arguments.get("values", [])))
    other = f", or {arguments['or_value']}" if "or_value" in arguments else ""
    tested = {
        "not_null": f"{column} has a value in every row",
        "unique": f"{column} occurs once",
        "unique_combination": f"One row per {', '.join(names[:-1])} and {names[-1]}",
        "relationships": f"Every {column} has a row in {arguments.get('to', '').removeprefix('ref(').strip(')' + QUOTES)}",
        "accepted_values": f"Every {column} is one of {values}",
        "in_shop": f"Every {column} is one of the {arguments.get('variable')} of shop.yaml{other}",
    }
    return tested.get(metadata.get("name", ""), str(node["name"]).replace("_", " ").capitalize())


def project_relations(manifest: Path) -> set[tuple[str, str]]:
    """Schema and name of every model and seed of the project."""
    nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"].values()
    return {(node["schema"], node["alias"]) for node in nodes if node["resource_type"] in ("model", "seed")}


def untagged(assets: dg.AssetsDefinition, tag: str) -> list[dg.AssetKey]:
    """Models and seeds without a dbt tag."""
    return [spec.key for spec in assets.specs if tag not in spec.tags]


def tagged_checks(assets: dg.AssetsDefinition, manifest: Path, tag: str) -> list[dg.AssetCheckKey]:
    """Checks whose dbt test has a tag."""
    nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"].values()
    names = {node["name"] for node in nodes if node["resource_type"] == "test" and tag in node["tags"]}
    return [spec.key for spec in assets.check_specs if spec.name in names]


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
    target = folder / f"{assets_name}-{run_id}"
    newest_first = sorted(folder.glob(f"{assets_name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    targets = [target] if target.is_dir() else newest_first
    files = [file for target in targets for file in target.glob(f"compiled/*/models/**/{model}.sql")]
    if not files:
        raise FileNotFoundError(f"no run in {folder} has compiled {model}; build it, with training_job or in the UI")
    manifest = json.loads(manifest_path(settings).read_text(encoding="utf-8"))
    (node,) = (node for node in manifest["nodes"].values() if node["resource_type"] == "model" and node["name"] == model)
    parents = [{**manifest["nodes"], **manifest["sources"]}[name] for name in manifest["parent_map"][node["unique_id"]]]
    relations = {
        (parent["schema"], parent.get("identifier") or parent["alias"]) for parent in parents if parent["schema"] != "ops"
    }
    return CompiledModel(files[0].read_text(encoding="utf-8"), node["database"], tuple(sorted(relations)))
