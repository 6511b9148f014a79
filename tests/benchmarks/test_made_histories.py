"""Histories that benchmarks make by SQL are those that the pipeline would have made."""

from __future__ import annotations

import csv
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.dense import EVENTS_PER_SLICE, densify
from benchmarks.enlarged import enlarge
from customer360.lake.slices import naive
from customer360.settings import REPOSITORY, Shop, load_shop
from customer360.simulation import Simulation, simulate_history
from tests.support.lab import Dbt, Lab

DAYS, TIMES = 3, 3
IDS = ("customer_id", "visitor_id", "session_id", "order_id", "event_id", "touch_id")


@pytest.fixture(scope="module")
def shop() -> Shop:
    return load_shop(REPOSITORY / "shops" / "synthetic" / "shop.yaml")


@pytest.fixture(scope="module")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    return Dbt(tmp_path_factory)


@pytest.fixture(scope="module")
def loaded(shop: Shop, dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with three days of 60 customers, loaded."""
    lab = Lab(shop, tmp_path_factory.mktemp("loaded"), dbt)
    simulate_history(Simulation(customers=60, days=DAYS, seed=5), shop, lab.settings.place)
    load(lab)
    return lab.root


def load(lab: Lab, *slices: datetime) -> None:
    lab.load_references()
    lab.history()
    lab.run(slices)


def copy_of(place: Path, shop: Shop, dbt: Dbt, target: Path) -> Lab:
    shutil.copytree(place, target)
    return Lab(shop, target, dbt)


def of_replica(row: dict[str, Any], number: int, start: datetime) -> dict[str, Any]:
    """A landed event, or a row of a reference file, as the replica of that number has it."""
    own = {name: f"{value}-{number}" if number and value and name in IDS else value for name, value in row.items()}
    if "event_at" in row:
        day = (row["event_at"] - start) // timedelta(days=1)
        own["event_at"] = row["event_at"] + timedelta(days=(day + number) % DAYS - day)
    return own


def land_replicas(landing: Path, start: datetime) -> None:
    """Land what producers would have written for all replicas, row by row."""
    for path in (landing / "history").glob("*.parquet"):
        table = pq.read_table(path)
        rows = [of_replica(row, number, start) for number in range(TIMES) for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    for name in ("customers", "campaign_touches"):
        path = landing / "reference" / name / f"{name}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            reader_ = csv.DictReader(file)
            rows = [of_replica(row, number, start) for row in reader_ for number in range(TIMES)]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(reader_.fieldnames or []))
            writer.writeheader()
            writer.writerows(rows)


def shape(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.query(
        "select table_schema, table_name, column_name, data_type from information_schema.columns "
        "where table_schema in ('ops', 'intermediate', 'marts') order by all"
    )


def without_keys(lab: Lab) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that slices rewrite, without the keys of event ids, which are hashes."""
    tables = [table for table in lab.slice_grain() if table != "int_purchases_by_slice"]
    rows = {table: lab.slice_grain()[table] for table in tables}
    return {
        **rows,
        "purchases": lab.query("select * exclude (event_key) from intermediate.int_purchases_by_slice order by all"),
    }


@pytest.mark.exhaustive  # of benchmarks alone
def test_an_enlarged_history_equals_what_the_pipeline_makes_of_the_replicas_events(
    loaded: Path, shop: Shop, dbt: Dbt, tmp_path: Path
) -> None:
    made = copy_of(loaded, shop, dbt, tmp_path / "made")
    before = shape(made)
    enlarge(made.settings, TIMES)
    first = naive(shop.slices_start)  # the replicas' last slice of the history may have no event: one clock for both
    load(made, first)
    landed = Lab(shop, tmp_path / "landed", dbt)
    shutil.copytree(loaded / "landing", landed.landing)
    land_replicas(landed.landing, naive(shop.slices_start) - timedelta(days=DAYS))
    load(landed, first)
    assert shape(made) == before == shape(landed)
    assert without_keys(made) == without_keys(landed)
    assert made.tables() == landed.tables()
    assert len(made.tables()["customer_features"]) == 60 * TIMES
    counted = "select slice, lines, good, quarantined, duplicates from ops.slice_log where lines > 0 order by all"
    assert set(made.query(counted)) <= set(landed.query(counted))
    ids = "select slice, count(*), count(distinct event_key), min(event_key) >= 0 from ops.click_ids group by all order by all"
    assert made.query(ids) == landed.query(ids)


@pytest.mark.exhaustive  # of benchmarks alone
def test_a_dense_history_has_the_pipelines_tables_and_the_reference_density(
    loaded: Path, shop: Shop, dbt: Dbt, tmp_path: Path
) -> None:
    lab = copy_of(loaded, shop, dbt, tmp_path / "dense")
    before = shape(lab)
    made = densify(lab.settings, 1, customers=30)
    lab.run([naive(shop.slices_start)])
    assert shape(lab) == before
    assert made.activity_rows == 96 * 30 * 6  # slices x customers x five products and what has none
    assert made.events == pytest.approx(96 * EVENTS_PER_SLICE * 30 / 6_000, rel=0.01)
    (views,) = lab.query("select sum(views_3d) from marts.customer_features")[0]
    assert views == lab.query("select sum(views) from intermediate.int_activity_by_slice")[0][0]
    assert lab.query("select count(*) from marts.customer_product_activity where views_30d > 0") == [(30 * 5,)]
