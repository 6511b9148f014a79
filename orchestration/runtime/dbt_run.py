"""dbt in the process of the run: no second interpreter, no second parse, and dbt ends when its run ends.

Starting dbt as a child, as dagster-dbt's ``DbtCliResource`` does, costs 4 to 5 CPU seconds a run: its imports, its manifest,
and its artifacts as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import raise_interrupts_as
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import get_manifest_and_translator_from_dbt_assets
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from customer360 import progress
from customer360.errors import OperatorError
from customer360.features import dbt_vars
from customer360.lake.atomic import exclusive
from customer360.lake.redaction import redacted
from customer360.lake.warehouse.unchanged import PROJECT
from customer360.settings import REPOSITORY, Settings
from orchestration.dbt import SLICE_CHECK, described_test, manifest_path
from orchestration.dbt_command import dbt_environment
from orchestration.resources import Platform

FAILED = {"error", "fail", "runtime error"}
RESULTS = {"LogSeedResult", "LogModelResult", "LogTestResult"}
DBT_UNIT = "models and tests"
SHOWN_LEVELS = {"info", "warn", "error"}
SEE = "customer360 dbt build --select <the model> shows it"


class DbtError(OperatorError, dg.Failure):
    """A model could not be built or a test could not be run. The message has dbt's own words."""


def build(context: dg.AssetExecutionContext, platform: Platform, unchanged: Sequence[str] = ()) -> Iterator[Any]:
    """Build the models and tests that the run selected; dbt's results as Dagster's events, with row counts.

    Models tagged with one of ``unchanged`` are not built, but handed on as they are: Dagster skips what waits for an asset of
    which it hears nothing. Raises ``DbtError`` once the events of everything that was done have been handed on.
    """
    settings = platform.settings()
    manifest, translator, project = get_manifest_and_translator_from_dbt_assets([context.assets_def])
    nodes = selected_nodes(context.assets_def, manifest, translator, unchanged)
    results: list[DbtCoreCliEventMessage] = []
    target = settings.place.dbt_target / f"{context.op_execution_context.op_handle.name}-{context.run.run_id}"
    outcome = None
    if nodes:
        outcome = invoke(settings, ["build", "--select", *nodes, "--indirect-selection", "empty"], target, results.append)
    checks = {key.name for key in context.selected_asset_check_keys}
    events: dict[str, list[Any]] = {
        name: [output] for name, output in _unchanged_outputs(context, manifest, translator, unchanged)
    }
    for result in results:
        node = manifest["nodes"][result.raw_event["data"]["node_info"]["unique_id"]]
        if node["resource_type"] == "test" and node["name"] not in checks:
            events[node["unique_id"]] = _observations(result, node, manifest, translator)
            continue
        events[node["unique_id"]] = list(
            result.to_default_asset_events(
                manifest=manifest, dagster_dbt_translator=translator, context=context, target_path=None, project=project
            )
        )
    is_failed = outcome is not None and not outcome.success
    ordered = [event for name in TopologicalSorter(manifest["parent_map"]).static_order() for event in events.get(name, [])]
    yield from ordered if is_failed else _with_row_counts(context, ordered, platform)
    if outcome is not None and is_failed:
        raise DbtError(failure_text(outcome, target))


def _unchanged_outputs(
    context: dg.AssetExecutionContext, manifest: Mapping[str, Any], translator: DagsterDbtTranslator, unchanged: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] in ("model", "seed") and set(unchanged) & set(node["tags"]):
            key = translator.get_asset_key(node)
            if key in context.selected_asset_keys:
                yield unique_id, dg.Output(None, key.to_python_identifier(), metadata={"status": "unchanged"})


def _observations(
    result: DbtCoreCliEventMessage, node: Mapping[str, Any], manifest: Mapping[str, Any], translator: DagsterDbtTranslator
) -> list[dg.AssetObservation]:
    """What a test that is no check found, at each model that it reads."""
    data = result.raw_event["data"]
    metadata = {"test": node["name"], "status": data["status"], "failed_rows": data.get("num_failures") or 0}
    models = [manifest["nodes"][name] for name in node["depends_on"]["nodes"] if name in manifest["nodes"]]
    keys = [translator.get_asset_key(model) for model in models]
    return [dg.AssetObservation(key, description=described_test(node), metadata=metadata) for key in keys]


def _with_row_counts(context: dg.AssetExecutionContext, events: Sequence[Any], platform: Platform) -> Iterator[Any]:
    """The events, those of tables with their rows; dbt has let go of the warehouse by now."""
    paths = {
        event.output_name: context.asset_key_for_output(event.output_name).path
        for event in events
        if isinstance(event, dg.Output)
    }
    tables = {name: (schema, table) for name, (schema, table) in paths.items()}
    rows = platform.count_rows(list(tables.values())) if tables else {}
    for event in events:
        if isinstance(event, dg.Output) and tables[event.output_name] in rows:
            yield event.with_metadata({**event.metadata, "dagster/row_count": rows[tables[event.output_name]]})
        else:
            yield event


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


def invoke(
    settings: Settings,
    arguments: Sequence[str],
    target: Path,
    on_result: Callable[[DbtCoreCliEventMessage], Any],
    warehouse: Path | None = None,
) -> Any:
    """Run one dbt command in this process, on a copy of the warehouse where one is named; results go to ``on_result``.

    ``dbt.log`` in ``target`` gets all messages of dbt, standard output those that matter, and neither a value of a row. An
    interrupt has dbt cancel the queries at hand, and is raised when its threads have ended. An error of the log or of
    ``on_result`` is raised when dbt has ended.
    """
    from dbt.cli.main import dbtRunner  # noqa: PLC0415  1 CPU second that only runs of dbt need

    target.mkdir(parents=True, exist_ok=True)
    outcome = None
    try:
        # Of all interrupts dbt knows this one only; another would leave its threads at work on the warehouse.
        with (
            (target / "dbt.log").open("a", encoding="utf-8", buffering=1) as log,
            _environment(settings, warehouse),
            raise_interrupts_as(KeyboardInterrupt),
        ):
            listener = _Listener(log, on_result)
            runner = dbtRunner(manifest=parsed_manifest(settings), callbacks=[listener])
            outcome = runner.invoke([*arguments, *_flags(settings, target), "--no-write-json"])
        if isinstance(outcome.exception, KeyboardInterrupt):
            raise outcome.exception
    except KeyboardInterrupt as interrupt:
        raise DagsterExecutionInterruptedError from interrupt
    finally:
        _let_go_of_the_warehouse(has_failed=outcome is None or not outcome.success)
    if listener.error is not None:
        raise listener.error
    return outcome


class _Listener:
    """Writes dbt's messages and hands on its results; called by all of dbt's threads.

    It keeps the first error instead of raising it: dbt's main thread waits for ever for a model whose thread has raised outside
    of the model's own work, and a disk without room for the log makes it raise.
    """

    def __init__(self, log: TextIO, on_result: Callable[[DbtCoreCliEventMessage], None]) -> None:
        self.error: Exception | None = None
        self._log, self._on_result, self._lock = log, on_result, Lock()
        self._done, self._total, self._detail = 0, 0, ""

    def __call__(self, message: Any) -> None:
        try:
            self._write(message)
            if message.info.name == "LogStartLine":
                self._total, self._detail = message.data.total, message.data.description
                progress.report(self._done, self._total, DBT_UNIT, self._detail)
            if message.info.name in RESULTS:
                self._done += 1
                progress.report(self._done, self._total, DBT_UNIT, self._detail)
                from dbt_common.events.functions import msg_to_dict  # noqa: PLC0415  loaded with dbt

                self._on_result(DbtCoreCliEventMessage(raw_event=msg_to_dict(message), event_history_metadata={}))
        except Exception as error:  # noqa: BLE001  raised by ``invoke`` once dbt has ended
            self.error = self.error or error

    def _write(self, message: Any) -> None:
        text = redacted(message.info.msg, SEE)
        moment = message.info.ts.ToJsonString()
        with self._lock:
            self._log.write(f"{moment} [{message.info.level:<5}] {message.info.thread}: {text}\n")
            if text and message.info.level in SHOWN_LEVELS:
                sys.stdout.write(f"{moment[11:19]}  {text}\n")


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
    if isinstance(outcome.exception, KeyboardInterrupt):
        raise outcome.exception
    if not outcome.success:
        raise RuntimeError(f"dbt could not parse {PROJECT}: {outcome.exception}")
    return outcome.result


def _flags(settings: Settings, target: Path) -> list[str]:
    project = str(REPOSITORY / "dbt_project")
    return [
        *("--project-dir", project, "--profiles-dir", project),
        *("--target-path", str(target), "--log-path", str(target)),
        *("--log-level", "none", "--log-level-file", "none"),  # its messages go through ``_Listener``
        *("--vars", json.dumps(dbt_vars(settings.shop), sort_keys=True)),
    ]


@contextmanager
def _environment(settings: Settings, warehouse: Path | None = None) -> Iterator[None]:
    """The variables that the project reads, for as long as dbt works."""
    variables = {**dbt_environment(settings), **({"CUSTOMER360_WAREHOUSE": str(warehouse)} if warehouse else {})}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
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
    """What failed, in dbt's words, a line each, and where the complete log is. Alerts show the first line."""
    results = getattr(outcome.result, "results", None) or []
    failed = [f"{result.node.name}: {result.message}" for result in results if str(result.status) in FAILED]
    messages = [str(outcome.exception)] if outcome.exception else failed
    reasons = [" ".join(redacted(message, SEE).split()) for message in messages] or ["it named no model"]
    return "\n".join([f"dbt failed: {reasons[0]}", *reasons[1:], f"Its log is {target / 'dbt.log'}"])
