"""A temporary warehouse with a little hand-made data, and dbt run in this process against it."""

from __future__ import annotations

import gc
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.contracts.graph.manifest import Manifest

from customer360.lake.landing.contracts import CLICK_COLUMNS, RAW_LINEAGE, reference_tables
from customer360.settings import Shop, load_shop
from tests.support.lab import SYNTHETIC, dbt_folders, parsed_project, run_dbt

SLICE = timedelta(minutes=15)
REFERENCE_LINES = {
    "event_slice": "TIMESTAMP",
    "order_id": "VARCHAR",
    "product_id": "VARCHAR",
    "line_no": "BIGINT",
    "quantity": "DOUBLE",
    "amount": "DECIMAL(18,2)",
}
BEGINNING = datetime.fromisoformat("1970-01-01")

Row = dict[str, Any]


@dataclass
class Warehouse:
    """Raw events by arrival slice and reference rows, written to a DuckDB file as the steps before dbt leave them."""

    path: Path
    shop: Shop
    manifest: Manifest
    monkeypatch: pytest.MonkeyPatch
    events: dict[datetime, list[Row]] = field(default_factory=dict)
    references: dict[str, list[Row]] = field(default_factory=dict)
    cutoffs: list[datetime] = field(default_factory=list)
    matured: list[datetime] = field(default_factory=list)
    first_listing: datetime = BEGINNING

    def run(self, *arguments: str, pending: Sequence[datetime], last: datetime, touched: Sequence[datetime] = ()) -> Any:
        """Write the raw and ops schemas, with ``pending`` slices to transform as of the end of ``last``, and run dbt."""
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set TimeZone = 'UTC'; create schema if not exists raw; create schema if not exists ops")
            self._write_clicks(connection, pending)
            self._write_references(connection)
            self._write_control(connection, pending, last, touched)
        self.monkeypatch.setenv("CUSTOMER360_WAREHOUSE", str(self.path))
        try:
            result = run_dbt(*arguments, shop=self.shop, manifest=self.manifest)
        finally:
            DuckDBConnectionManager.close_all_connections()
            gc.collect()  # both let go of dbt's handle: two connections to one file must have the same settings
        return result

    def _write_clicks(self, connection: duckdb.DuckDBPyConnection, pending: Sequence[datetime]) -> None:
        columns = [*CLICK_COLUMNS, *RAW_LINEAGE]
        rows: list[Row] = [
            {**event, "slice": start, "event_key": zlib.crc32(event["event_id"].encode())}
            for start, events in self.events.items()
            for event in events
        ]
        declared = {column.name: column.type for column in columns}
        write(connection, "raw.clicks_pending", declared, [row for row in rows if row["slice"] in pending])
        write(connection, "ops.click_ids", {"slice": "TIMESTAMP", "event_key": "BIGINT"}, rows)
        write(connection, "ops.slice_log", {"slice": "TIMESTAMP"}, [{"slice": start} for start in self.events])

    def _write_references(self, connection: duckdb.DuckDBPyConnection) -> None:
        for table in reference_tables(self.shop).values():
            declared = {c.name: c.type for c in table.columns} | {"valid_from": "TIMESTAMP", "valid_to": "TIMESTAMP"}
            rows = [{"valid_from": BEGINNING, **row} for row in self.references.get(table.name, [])]
            write(connection, f"raw.{table.name}", declared, rows)

    def _write_control(
        self, connection: duckdb.DuckDBPyConnection, pending: Sequence[datetime], last: datetime, touched: Sequence[datetime]
    ) -> None:
        time = "TIMESTAMP"
        write(connection, "ops.pending_slices", {"slice": time}, [{"slice": start} for start in pending])
        write(connection, "ops.clock", {"slice": time, "as_of": time}, [{"slice": last, "as_of": last + SLICE}])
        write(connection, "ops.first_listing", {"listed_at": time}, [{"listed_at": self.first_listing}])
        write(connection, "ops.touched_event_slices", {"event_slice": time}, [{"event_slice": start} for start in touched])
        write(connection, "ops.touched_orders", {"order_id": "VARCHAR"}, [])
        write(connection, "ops.reference_lines", REFERENCE_LINES, [])
        cutoffs = [{"cutoff_no": number, "as_of": as_of, "weight": 2.5} for number, as_of in enumerate(self.cutoffs, start=1)]
        columns = {"cutoff_no": "INTEGER", "as_of": time, "weight": "DOUBLE"}
        write(connection, "ops.training_cutoffs", columns, cutoffs)
        matured = [{"cutoff_no": number, "as_of": as_of} for number, as_of in enumerate(self.matured, start=1)]
        write(connection, "ops.matured_cutoffs", {"cutoff_no": "INTEGER", "as_of": time}, matured)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the warehouse."""
        with duckdb.connect(str(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def tables(self, *schemas: str) -> dict[str, list[tuple[Any, ...]]]:
        """Every table of the schemas with its rows in a fixed order."""
        query = "select schema_name, table_name from duckdb_tables() where schema_name = any (?)"
        with duckdb.connect(str(self.path)) as connection:
            names = connection.execute(query, [list(schemas)]).fetchall()
            return {
                f"{schema}.{name}": connection.execute(f"from {schema}.{name} order by all").fetchall()
                for schema, name in names
            }


def write(connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], rows: list[Row]) -> None:
    """Replace a table; columns that a row does not have are null."""
    connection.execute(f"create or replace table {table} ({', '.join(f'{name} {type_}' for name, type_ in columns.items())})")
    if rows:
        places = ", ".join("?" * len(columns))
        connection.executemany(f"insert into {table} values ({places})", [[row.get(name) for name in columns] for row in rows])


@pytest.fixture(scope="session")
def shop() -> Shop:
    return load_shop(SYNTHETIC)


@pytest.fixture(scope="session")
def dbt_environment(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("dbt")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in dbt_folders(folder, folder / "warehouse.duckdb").items():
            monkeypatch.setenv(name, value)
        yield monkeypatch


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return parsed_project(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def new_warehouse(
    shop: Shop, manifest: Manifest, dbt_environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Warehouse]:
    def make() -> Warehouse:
        return Warehouse(tmp_path_factory.mktemp("place") / "warehouse.duckdb", shop, manifest, dbt_environment)

    return make
