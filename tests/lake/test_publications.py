"""What a slice, a training and a change of files publish, and which tables they link."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from customer360.lake.publishing.publications import publish_files, publish_training_set, publish_warehouse
from customer360.lake.publishing.version import current_folder, current_publication, open_version
from customer360.lake.warehouse.frames import write_parquet
from customer360.lake.warehouse.unchanged import built_contents, drop_removed_models, set_built_contents
from customer360.settings import Settings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse with a table of each slice, one of each night, and a training set."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            create schema ops; create schema marts;
            create table ops.clock as select timestamp '2026-05-01 11:45' as as_of;
            create table ops.code as select 'f' as fingerprint;
            create table ops.slice_log (slice timestamp, source varchar, raw_fingerprint varchar, is_archived boolean,
                transformed_fingerprint varchar, files integer, lines bigint, good bigint, quarantined bigint,
                duplicates bigint, repeats bigint, planned_at timestamp, transformed_at timestamp, repaired_at timestamp);
            create table marts.traffic as select 1 as n;
            create table marts.customer_orders as select 1 as n;
            create table marts.training_features as select 1 as n;
            """
        )
        yield connection


def inode(settings: Settings, table: str) -> int:
    return (current_folder(settings.place) / "parquet" / table / "part.parquet").stat().st_ino


def test_a_slice_links_a_model_that_no_run_has_built_since_and_writes_the_others(
    settings: Settings, warehouse: duckdb.DuckDBPyConnection
) -> None:
    set_built_contents(warehouse, ["customer_orders"], "night 1")
    first = publish_warehouse(warehouse, settings, NOW, {})
    assert (first.version, first.as_of, first.contents["customer_orders"]) == (1, NOW.replace(hour=11, minute=45), "night 1")
    orders, traffic = inode(settings, "customer_orders"), inode(settings, "traffic")
    publish_warehouse(warehouse, settings, NOW, {})
    assert (inode(settings, "customer_orders") == orders, inode(settings, "traffic") == traffic) == (True, False)
    set_built_contents(warehouse, ["customer_orders"], "night 2")
    publish_warehouse(warehouse, settings, NOW, {})
    assert inode(settings, "customer_orders") != orders


def test_a_build_that_fails_leaves_no_content_version_so_that_the_table_is_published_anew(
    settings: Settings, warehouse: duckdb.DuckDBPyConnection
) -> None:
    set_built_contents(warehouse, ["customer_orders", "traffic"], "night 1")
    publish_warehouse(warehouse, settings, NOW, {})
    orders = inode(settings, "customer_orders")
    set_built_contents(warehouse, ["customer_orders"], None)  # before a build, which then fails half-way
    assert built_contents(warehouse) == {"traffic": "night 1"}
    warehouse.execute("create or replace table marts.customer_orders as select 2 as n")
    publish_warehouse(warehouse, settings, NOW, {})
    assert inode(settings, "customer_orders") != orders
    with open_version(settings.place) as version:
        assert version.connection.execute("from customer_orders").fetchall() == [(2,)]


def test_a_training_publishes_its_set_and_takes_over_all_else(settings: Settings, warehouse: duckdb.DuckDBPyConnection) -> None:
    first = publish_training_set(warehouse, settings, NOW, {})
    assert sorted(first.rows) == ["customer_orders", "slice_log", "traffic", "training_features"]
    traffic = inode(settings, "traffic")
    warehouse.execute(
        "create or replace table marts.training_features as select unnest([1, 2]) as n; delete from marts.traffic"
    )
    second = publish_training_set(warehouse, settings, NOW, {})
    assert (second.rows["training_features"], second.rows["traffic"], inode(settings, "traffic")) == (2, 1, traffic)
    assert publish_warehouse(warehouse, settings, NOW, {}).rows["training_features"] == 2


def drift_report(settings: Settings, day: int) -> Path:
    """A report as ``ml`` writes it: the day is a midnight; of an older release, whose file lacks columns."""
    folder = settings.place.reports / "drift"
    frame = pd.DataFrame({"report_date": [pd.Timestamp(2026, 5, day)], "column": ["views"], "value": [0.5]})
    write_parquet(folder / f"2026-05-{day:02}.parquet", frame)
    return folder


def test_files_are_published_with_their_declared_types_and_only_where_one_was_replaced(
    settings: Settings, warehouse: duckdb.DuckDBPyConnection
) -> None:
    assert publish_files(settings.place, NOW) is None  # before the first slice
    publish_warehouse(warehouse, settings, NOW, {})
    drift_report(settings, 1)
    publish_files(settings.place, NOW)
    first = inode(settings, "drift_metrics")
    publish_files(settings.place, NOW)
    assert inode(settings, "drift_metrics") == first
    drift_report(settings, 2)
    made = publish_files(settings.place, NOW)
    assert made is not None
    assert (made.rows["drift_metrics"], made.as_of) == (2, NOW.replace(hour=11, minute=45))
    with open_version(settings.place) as version:
        found = version.connection.execute(
            "select typeof(report_date), report_date::varchar, kind, value from drift_metrics"
        ).fetchall()
    assert found == [("DATE", "2026-05-01", None, 0.5), ("DATE", "2026-05-02", None, 0.5)]


def test_a_table_that_this_release_does_not_know_is_dropped_by_the_next_slice(
    settings: Settings, warehouse: duckdb.DuckDBPyConnection
) -> None:
    publish_warehouse(warehouse, settings, NOW, {})
    document = current_folder(settings.place) / "version.json"
    document.write_text(document.read_text(encoding="utf-8").replace('"traffic": 1', '"traffic": 1, "retired": 1'))
    (current_folder(settings.place) / "parquet" / "retired").mkdir()
    publish_warehouse(warehouse, settings, NOW, {})
    publication = current_publication(settings.place)
    assert publication is not None
    assert "retired" not in publication.rows


def test_what_dbt_no_longer_builds_is_dropped_and_nothing_of_others(warehouse: duckdb.DuckDBPyConnection) -> None:
    warehouse.execute(
        """
        create schema intermediate; create schema predictions;
        create table intermediate."int gone" as select 1 as n; create view marts.gone as from intermediate."int gone";
        create table predictions.gone as select 1 as n;
        """
    )
    models = {("marts", "traffic"), ("marts", "customer_orders"), ("marts", "training_features"), ("marts", "not_built_yet")}
    assert drop_removed_models(warehouse, models) == ["intermediate.int gone", "marts.gone"]
    assert drop_removed_models(warehouse, models) == []
    found = warehouse.execute("select schema_name || '.' || table_name from duckdb_tables() order by all").fetchall()
    assert found == [
        *(("marts.customer_orders",), ("marts.traffic",), ("marts.training_features",)),
        *(("ops.clock",), ("ops.code",), ("ops.slice_log",), ("predictions.gone",)),
    ]
