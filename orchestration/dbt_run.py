"""dbt in the run's own process: it needs no interpreter of its own, no second parse, and it dies with its run.

Starting dbt as a child cost 4 to 5 CPU seconds a run: its imports, its manifest, and its artifacts as JSON.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import raise_interrupts_as
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import get_manifest_and_translator_from_dbt_assets
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from customer360.errors import OperatorError
from customer360.features import dbt_vars
from customer360.lake.atomic import exclusive
from customer360.lake.discretion import without_values
from customer360.lake.warehouse.unchanged import PROJECT
from customer360.settings import REPOSITORY, Settings
from orchestration.dbt import SLICE_CHECK, manifest_path
from orchestration.dbt_command import dbt_environment
from orchestration.dbt_log import SEE, dbt_log

FAILED = {"error", "fail", "runtime error"}


class DbtError(OperatorError, dg.Failure):
    """A model could not be built or a test could not be run. The message has dbt's own words."""


class Dbt(dg.ConfigurableResource):  # type: ignore[type-arg]  # dagster's generic parameter is the resource itself
    """The shop's dbt project; ``build`` brings the selected models up to date in this process."""

    shop_folder: str
    data_dir: str

    @classmethod
    def of(cls, settings: Settings) -> Dbt:
        """The project for a shop and the place of its data."""
        return cls(shop_folder=str(settings.shop_folder), data_dir=str(settings.place.root))

    def build(self, context: dg.AssetExecutionContext, unchanged: Sequence[str] = ()) -> Iterator[Any]:
        """Build what the run selected; dbt's results as Dagster's events.

        Models tagged with one of ``unchanged`` are not built, but handed on as they are: Dagster skips what waits for an asset
        of which it hears nothing. Raises ``DbtError`` once the events of everything that was done have been handed on.
        """
        settings = Settings.load(Path(self.shop_folder), Path(self.data_dir))
        described, translator, project = get_manifest_and_translator_from_dbt_assets([context.assets_def])
        nodes = selected_nodes(context.assets_def, described, translator, unchanged)
        results: list[DbtCoreCliEventMessage] = []
        target = settings.place.dbt_target / f"{context.op_execution_context.op_handle.name}-{context.run.run_id}"
        outcome = None
        if nodes:
            outcome = invoke(settings, ["build", "--select", *nodes, "--indirect-selection", "empty"], target, results.append)
        events = {name: [output] for name, output in _unchanged_outputs(context, described, translator, unchanged)}
        for result in results:
            events[result.raw_event["data"]["node_info"]["unique_id"]] = list(
                result.to_default_asset_events(
                    manifest=described, dagster_dbt_translator=translator, context=context, target_path=None, project=project
                )
            )
        for unique_id in TopologicalSorter(described["parent_map"]).static_order():
            yield from events.get(unique_id, [])
        if outcome is not None and not outcome.success:
            raise DbtError(failure_text(outcome, target))


def _unchanged_outputs(
    context: dg.AssetExecutionContext, manifest: Mapping[str, Any], translator: DagsterDbtTranslator, unchanged: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] in ("model", "seed") and set(unchanged) & set(node["tags"]):
            key = translator.get_asset_key(node)
            if key in context.selected_asset_keys:
                yield unique_id, dg.Output(None, key.to_python_identifier(), metadata={"status": "unchanged"})


def selected_nodes(
    assets: dg.AssetsDefinition, manifest: Mapping[str, Any], translator: DagsterDbtTranslator, unchanged: Sequence[str]
) -> list[str]:
    """Names of the models, seeds and tests that ``assets``, a run's part of the project, stand for.

    Tests that are no checks, such as those of slice-grain models, run where no check of the selected models is left out; those
    that must hold before each publication run always.
    """
    checks = {key.name for key in assets.check_keys}
    left_out = {spec.name for spec in assets.node_check_specs_by_output_name.values()} - checks
    models = {
        unique_id: node
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed") and translator.get_asset_key(node) in assets.keys
    }
    tests = {
        node["name"]: node["tags"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and _tested(node) & models.keys()
    }
    if left_out & tests.keys():
        is_check = checks | left_out
        tests = {name: tags for name, tags in tests.items() if name in checks or (SLICE_CHECK in tags and name not in is_check)}
    return [node["name"] for node in models.values() if not set(unchanged) & set(node["tags"])] + list(tests)


def _tested(node: Mapping[str, Any]) -> set[str]:
    return {node["attached_node"]} if node.get("attached_node") else set(node["depends_on"]["nodes"])


def invoke(settings: Settings, arguments: Sequence[str], target: Path, on_result: Any, warehouse: Path | None = None) -> Any:
    """Run one dbt command in this process, on a copy of the warehouse where one is named; results go to ``on_result``.

    An interrupt has dbt cancel the queries at hand, and is raised when its threads have ended.
    """
    from dbt.cli.main import dbtRunner  # noqa: PLC0415  1 CPU second that only runs of dbt need
    from dbt_common.events.functions import msg_to_dict  # noqa: PLC0415

    def hear(message: Any) -> None:
        if message.info.name in ("LogSeedResult", "LogModelResult", "LogTestResult"):
            on_result(DbtCoreCliEventMessage(raw_event=msg_to_dict(message), event_history_metadata={}))

    outcome = None
    try:
        # Of all interrupts dbt knows this one only; another would leave its threads at work on the warehouse.
        with _environment(settings, warehouse), dbt_log(target) as log, raise_interrupts_as(KeyboardInterrupt):
            runner = dbtRunner(manifest=parsed_manifest(settings), callbacks=[hear, log])
            outcome = runner.invoke([*arguments, *_flags(settings, target), "--no-write-json"])
        if isinstance(outcome.exception, KeyboardInterrupt):
            raise outcome.exception
    except KeyboardInterrupt as interrupt:
        raise DagsterExecutionInterruptedError from interrupt
    finally:
        _let_go_of_the_warehouse(has_failed=outcome is None or not outcome.success)
    return outcome


def parsed_manifest(settings: Settings) -> Any:
    """The project as dbt's own object, parsed once a process and again when the project or the shop changed."""
    path = manifest_path(settings)
    return _parsed(
        settings.shop_folder, settings.place.root, path, path.with_name("manifest.stamp").read_text(encoding="utf-8")
    )


@lru_cache(maxsize=1)
def _parsed(shop_folder: Path, root: Path, path: Path, stamp: str) -> Any:
    from dbt.cli.main import dbtRunner  # noqa: PLC0415

    settings = Settings.load(shop_folder, root)
    with exclusive(path.with_name(".lock")), _environment(settings):
        outcome = dbtRunner().invoke(["parse", *_flags(settings, path.parent), "--no-write-json"])
    if not outcome.success:
        raise RuntimeError(f"dbt could not parse {PROJECT}: {outcome.exception}")
    return outcome.result


def _flags(settings: Settings, target: Path) -> list[str]:
    project = str(REPOSITORY / "dbt_project")
    return [
        *("--project-dir", project, "--profiles-dir", project),
        *("--target-path", str(target), "--log-path", str(target)),
        *("--log-level", "none", "--log-level-file", "none"),  # its words go through ``DbtLog``
        *("--vars", json.dumps(dbt_vars(settings.shop), sort_keys=True)),
    ]


@contextmanager
def _environment(settings: Settings, warehouse: Path | None = None) -> Iterator[None]:
    """The variables that the project reads, for as long as dbt works."""
    wanted = {**dbt_environment(settings), **({"CUSTOMER360_WAREHOUSE": str(warehouse)} if warehouse else {})}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _let_go_of_the_warehouse(has_failed: bool) -> None:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415

    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    if has_failed:
        gc.collect()  # a failed model's frames hold a handle in a circle; with it nobody here opens the file otherwise


def failure_text(outcome: Any, target: Path) -> str:
    """What failed, in dbt's words, and where its whole log is."""
    results = getattr(outcome.result, "results", None) or []
    failed = [f"{result.node.name}: {result.message}" for result in results if str(result.status) in FAILED]
    said = "\n".join(without_values(text, SEE) for text in ([str(outcome.exception)] if outcome.exception else failed))
    return f"dbt failed.\n{said}\nIts log is {target / 'dbt.log'}"
