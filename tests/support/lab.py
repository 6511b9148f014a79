"""A shop in a temporary folder, run step by step as a slice's run does it: raw, plan, dbt, mark. dbt runs in this process.

The project is parsed once for all shops: dbt renders the SQL with the variables of each invocation, and what it parses before
that is the same for every shop. The manifest is handed to every further invocation.
"""

from __future__ import annotations

import functools
import gc
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from customer360.features import dbt_vars, feature_list
from customer360.lake.atomic import exclusive
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.raw.history import History, write_history
from customer360.lake.raw.raw_clicks import SliceCounts, write_raw_slice
from customer360.lake.reference.reference import load_reference
from customer360.lake.warehouse.slice_log import Plan, mark_transformed, plan_transform
from customer360.lake.warehouse.warehouse import open_warehouse, warehouse_lock
from customer360.settings import REPOSITORY, Place, Settings, Shop, load_shop
from tests.support.oracle import BY_CATEGORY, SHORT_WINDOWS, Row, Table, nonzero

PROJECT = REPOSITORY / "dbt_project"
SYNTHETIC = REPOSITORY / "shops" / "synthetic" / "shop.yaml"
SLICE_RUN = ("build", "--selector", "slice", "--exclude-resource-type", "unit_test")
TRAINING_RUN = ("run", "--select", "training_features")
BY_EVENT_SLICE = ("purchases", "visitors", "revenue")
OUTCOMES = ("label", "spend", "is_churned")
SCORES = ("recency_score", "frequency_score", "monetary_score")


class Crash(RuntimeError):  # noqa: N818  a crash is no error of the code under test
    """Stands for the death of a run between two of its steps."""


def run_dbt(*arguments: str, shop: Shop, manifest: Manifest | None = None) -> Any:
    """The result of a dbt command for a shop; raises ``RuntimeError`` with dbt's own words when it fails."""
    options = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--vars", json.dumps(dbt_vars(shop)), "--quiet"]
    result = dbtRunner(manifest=manifest).invoke([*arguments, *options, "--log-level-file", "none"])
    if not result.success:
        runs = getattr(result.result, "results", None) or []
        failed = [f"{run.node.name}: {run.message}" for run in runs if run.status not in ("success", "pass", "skipped")]
        raise RuntimeError(f"dbt {' '.join(arguments)} failed: {result.exception or ''}\n" + "\n".join(failed))
    return result.result


def dbt_folders(folder: Path, warehouse: Path) -> dict[str, str]:
    """The environment variables of dbt that say where it writes."""
    return {
        "CUSTOMER360_WAREHOUSE": str(warehouse),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
    }


def shared_folder(base: Path) -> Path:
    """The temporary folder of all parallel test processes, given the one that this process has from pytest."""
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@functools.cache
def parsed_project(base: Path) -> Manifest:
    """The project, parsed by the first of the parallel test processes; the others read what dbt keeps of that."""
    parsed = shared_folder(base) / "dbt-parsed"
    with exclusive(parsed / "lock"), patch.dict(os.environ, dbt_folders(parsed, parsed / "warehouse.duckdb")):
        manifest: Manifest = run_dbt("parse", "--no-write-json", shop=load_shop(SYNTHETIC))
    gc.collect()
    gc.freeze()  # the manifest stays: without it a collection takes a tenth of a second instead of one
    return manifest


@dataclass
class Dbt:
    """dbt for any shop, invoked on any warehouse."""

    factory: pytest.TempPathFactory

    def __post_init__(self) -> None:
        self.folder = self.factory.mktemp("dbt")

    def __call__(self, *arguments: str, shop: Shop, warehouse: Path) -> None:
        """Run dbt; raises ``RuntimeError`` with dbt's own words when it fails."""
        try:
            with patch.dict(os.environ, dbt_folders(self.folder, warehouse)):
                run_dbt(*arguments, "--no-write-json", shop=shop, manifest=self.manifest)
        finally:
            DuckDBConnectionManager.close_all_connections()
            gc.collect()  # both let go of dbt's handle: two connections to one file must have the same settings

    @property
    def manifest(self) -> Manifest:
        """Of the project; a change to it lasts for all tests of the process."""
        return parsed_project(self.factory.getbasetemp())

    @property
    def models(self) -> list[str]:
        """Names of the models that a slice builds, in the order of the graph."""
        nodes = {node.unique_id: node for node in self.manifest.nodes.values() if node.resource_type in ("model", "seed")}
        inputs = {name: set(getattr(node.depends_on, "nodes", ())) & nodes.keys() for name, node in nodes.items()}
        ordered = list(TopologicalSorter({name: sorted(inputs[name]) for name in sorted(nodes)}).static_order())
        return [nodes[name].name for name in ordered if not {"daily", "training"} & set(nodes[name].tags)]


@dataclass
class Lab:
    """One shop's data in ``root``. Each step can be taken alone: a crash between two of them is a step not taken."""

    shop: Shop
    root: Path
    dbt: Dbt
    now: datetime = field(default_factory=lambda: datetime(2026, 5, 1, tzinfo=UTC))

    @property
    def settings(self) -> Settings:
        """The settings that the library gets."""
        return Settings(shop=self.shop, place=Place(root=self.root), shop_folder=self.root)

    @property
    def landing(self) -> Path:
        """Where producers write."""
        return self.root / "landing"

    def load_references(self, now: datetime | None = None) -> None:
        """All reference tables; ``now`` (UTC) is the moment from which changed rows are valid."""
        for table in reference_tables(self.shop):
            load_reference(self.settings, table, now or self.now)

    def history(self) -> History:
        """``landing/history`` to raw."""
        return write_history(self.settings)

    def write_raw(self, slices: Iterable[datetime]) -> SliceCounts:
        """Landing to raw for these slices (naive UTC)."""
        settings = self.settings
        with ThreadPoolExecutor(2) as pool:
            made = pool.map(lambda start: write_raw_slice(settings, start.replace(tzinfo=UTC)), list(dict.fromkeys(slices)))
            return sum(made, SliceCounts(0, 0, 0, 0, 0))

    def plan(self) -> Plan:
        """Bring the slice log up to raw."""
        self.now += timedelta(minutes=1)
        with self.opened() as connection:
            return plan_transform(connection, self.settings, self.now)

    def transform(self, *arguments: str) -> None:
        """dbt, by default everything that a slice's run builds."""
        self.dbt(*(arguments or SLICE_RUN), shop=self.shop, warehouse=self.settings.place.warehouse)

    def mark(self) -> int:
        """Note that what was planned is done."""
        with self.opened() as connection:
            return mark_transformed(connection, self.now)

    def run(self, slices: Iterable[datetime] = (), crash: Callable[[str], None] = lambda _: None) -> Plan:
        """A whole run for these slices. ``crash`` is called with the name of the step to come, and may raise."""
        with warehouse_lock(self.settings.place, "lab"):
            self.write_raw(slices)
            crash("plan")
            plan = self.plan()
            crash("dbt")
            self.transform()
            crash("mark")
            self.mark()
        return plan

    def opened(self) -> duckdb.DuckDBPyConnection:
        """The warehouse."""
        return open_warehouse(self.settings.place)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the warehouse."""
        with self.opened() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return rows

    def tables(self) -> dict[str, Table]:
        """The marts as ``oracle.state`` gives them: name -> key -> the columns that the oracle works out."""
        with self.opened() as connection:
            return {
                **{name: nonzero(_table(connection, name, *columns)) for name, columns in ACTIVITY.items()},
                "rfm_segments": _table(
                    connection, "rfm_segments", ("customer_id",), ("recency_days", "frequency", "monetary", *SCORES)
                ),
                "customer_features": _table(
                    connection, "customer_features", ("customer_id",), [feature.name for feature in feature_list(self.shop)]
                ),
            }

    def slice_grain(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every table that slices rewrite, row by row."""
        names = self.query(
            "select table_schema, table_name from information_schema.tables where table_schema in ('intermediate', 'marts') "
            "and table_name similar to '.*_by_slice|traffic(_sources)?|(product|offer)_activity'"
        )
        with self.opened() as connection:
            return {name: connection.execute(f"from {schema}.{name} order by all").fetchall() for schema, name in sorted(names)}

    def training_features(self, cutoffs: Sequence[datetime]) -> dict[datetime, Table]:
        """``training_features`` at these points (naive UTC), by point and customer, with ``OUTCOMES``."""
        with self.opened() as connection:
            connection.execute("delete from ops.training_cutoffs")
            rows = [[number, moment, 0.5 + number] for number, moment in enumerate(cutoffs, start=1)]
            connection.executemany("insert into ops.training_cutoffs values (?, ?, ?)", rows)
        self.transform(*TRAINING_RUN)
        names = [feature.name for feature in feature_list(self.shop)]
        with self.opened() as connection:
            table = _table(connection, "training_features", ("as_of", "customer_id"), [*names, *OUTCOMES])
        return {moment: {(who,): row for (at, who), row in table.items() if at == moment} for moment in cutoffs}


def windows(*measures: str) -> list[str]:
    """Columns of the measures in the short windows."""
    return [f"{measure}_{name}" for name in SHORT_WINDOWS for measure in measures]


ACTIVITY: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "customer_category_activity": (("customer_id", "category_id", "window_days"), BY_CATEGORY),
    "customer_product_activity": (("customer_id", "product_id"), windows("views", "carts", "orders")),
    "customer_offer_activity": (("customer_id", "offer_id"), windows("shown", "clicked")),
    "product_activity": (("event_slice", "product_id"), ("views", "carts", *BY_EVENT_SLICE)),
    "offer_activity": (("event_slice", "offer_id"), ("shown", "clicked", *BY_EVENT_SLICE)),
    "traffic": (("event_slice",), ("page_and_product_views", "offers_clicked", *BY_EVENT_SLICE)),
    "traffic_sources": (
        ("event_slice", "utm_source", "utm_medium", "device"),
        ("visits", "page_and_product_views", *BY_EVENT_SLICE),
    ),
}


def _table(connection: duckdb.DuckDBPyConnection, name: str, keys: Sequence[str], columns: Sequence[str]) -> Table:
    rows = connection.execute(f"select {', '.join([*keys, *columns])} from marts.{name}").fetchall()
    table = {row[: len(keys)]: Row(zip(columns, row[len(keys) :], strict=True)) for row in rows}
    assert len(table) == len(rows), f"{name} has more than one row for a key"
    return table
