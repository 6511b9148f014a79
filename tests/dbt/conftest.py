"""A temporary warehouse with a little hand-made data, and dbt run in this process against it."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult

from customer360.features import dbt_vars
from customer360.lake.contracts import CLICK_COLUMNS, RAW_LINEAGE, reference_tables
from customer360.settings import REPOSITORY, Shop, load_shop

PROJECT = REPOSITORY / "dbt_project"
SLICE = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the warehouse holds plain UTC timestamps
WITHOUT_UNIT_TESTS = ("--exclude-resource-type", "unit_test")


@dataclass
class Warehouse:
    """Raw events by arrival slice and reference rows, written to a DuckDB file as the steps before dbt leave them."""

    path: Path
    shop: Shop
    target: Path
    events: dict[datetime, list[dict[str, Any]]] = field(default_factory=dict)
    references: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    cutoffs: list[datetime] = field(default_factory=list)

    def prepare(self, pending: Sequence[datetime], last: datetime, touched: Sequence[datetime] = ()) -> None:
        """Write the raw and ops schemas, with ``pending`` slices to transform and ``last`` as the last slice."""
        columns = [*CLICK_COLUMNS, *RAW_LINEAGE]
        names = [column.name for column in columns]
        keys: dict[str, int] = {}
        rows: list[tuple[Any, ...]] = []
        ids: list[tuple[datetime, int]] = []
        for start, events in sorted(self.events.items()):
            for event in events:
                key = int.from_bytes(event["event_id"].encode()[-7:], "big")
                keys[event["event_id"]] = key
                ids.append((start, key))
                if start in pending:
                    rows.append(tuple({**event, "slice": start, "event_key": key}.get(name) for name in names))
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set TimeZone = 'UTC'; create schema if not exists raw; create schema if not exists ops")
            declared = ", ".join(f"{column.name} {column.type}" for column in columns)
            self._table(connection, "raw.clicks_pending", declared, rows)
            for table in reference_tables(self.shop).values():
                declared = ", ".join(f'"{c.name}" {c.type}' for c in table.columns) + ", valid_from TIMESTAMP, valid_to TIMESTAMP"
                names = [*(c.name for c in table.columns), "valid_from", "valid_to"]
                held = [{"valid_from": EPOCH, **row} for row in self.references.get(table.name, [])]
                self._table(connection, f"raw.{table.name}", declared, [tuple(row.get(n) for n in names) for row in held])
            log = [(start,) for start in sorted(self.events)]
            self._table(connection, "ops.slice_log", "slice TIMESTAMP", log)
            self._table(connection, "ops.pending_slices", "slice TIMESTAMP", [(start,) for start in pending])
            self._table(connection, "ops.click_ids", "slice TIMESTAMP, event_key BIGINT", ids)
            self._table(connection, "ops.clock", "slice TIMESTAMP, as_of TIMESTAMP", [(last, last + SLICE)])
            cutoffs = list(enumerate(self.cutoffs, start=1))
            self._table(connection, "ops.training_cutoffs", "cutoff_no INTEGER, as_of TIMESTAMP", cutoffs)
            self._table(connection, "ops.touched_event_slices", "event_slice TIMESTAMP", [(at,) for at in touched])

    @staticmethod
    def _table(connection: duckdb.DuckDBPyConnection, name: str, declared: str, rows: list[tuple[Any, ...]]) -> None:
        connection.execute(f"create or replace table {name} ({declared})")
        if rows:
            connection.executemany(f"insert into {name} values ({', '.join('?' * len(rows[0]))})", rows)

    def dbt(self, *arguments: str) -> dbtRunnerResult:
        """Run dbt in this process; fails the test with dbt's own messages."""
        result = dbtRunner().invoke(
            [
                *arguments,
                "--project-dir",
                str(PROJECT),
                "--profiles-dir",
                str(PROJECT),
                "--vars",
                json.dumps(dbt_vars(self.shop)),
                "--quiet",
            ]
        )
        gc.collect()  # dbt's handle on the file; the next connection has other settings
        if not result.success:
            statuses = getattr(result.result, "results", None) or []
            failed = [f"{r.node.name}: {r.message}" for r in statuses if r.status not in ("success", "pass", "skipped")]
            pytest.fail(f"dbt {arguments[0]} failed: {result.exception or ''}\n" + "\n".join(failed))
        return result

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the warehouse."""
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def columns(self, table: str) -> list[str]:
        """Column names of a table, in order."""
        return [row[0] for row in self.query(f"describe {table}")]


@pytest.fixture
def shop_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("CUSTOMER360_WAREHOUSE", str(tmp_path / "w.duckdb"))
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path / "target"))
    monkeypatch.setenv("DBT_LOG_PATH", str(tmp_path / "logs"))
    w = Warehouse(tmp_path / "w.duckdb", load_shop(REPOSITORY / "shops/synthetic/shop.yaml"), tmp_path / "target")
    t = datetime(2026, 5, 1, 12)
    ev = dict(event_id="e1", event_name="view_item", event_at=t + timedelta(minutes=5), customer_id="C1", visitor_id="V1", product_id="P1", dwell_seconds=12.5)
    w.events = {t: [ev, {**ev, "event_id": "e2", "event_name": "purchase", "order_id": "O1", "amount": 10}], t + SLICE: [{**ev, "customer_id": None, "event_id": "e3", "event_at": t + SLICE}]}
    w.references["customers"] = [dict(customer_id="C1", age=33, gender="f")]
    w.references["products"] = [dict(product_id="P1", category_id="beauty")]
    return w
