"""A place that the code before 0.1.0 made is opened by this code; its slices, plans and sending go on from where they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from customer360.campaigns.ledger import APPROVED, SENT, read_ledger
from customer360.campaigns.sending import send
from customer360.lake.publishing.version import open_version
from customer360.lake.warehouse.unchanged import DBT_SCHEMAS
from customer360.place_format import FORMAT, place_format
from ml.versions.shop_models import servable_for_shop
from orchestration.dbt import manifest_path, project_relations
from tests.orchestration.place import TinyShop
from tests.upgrade.earlier_place import BEFORE_0_1_0, SLICES, has_commit, make_earlier_place

Rows = list[tuple[Any, ...]]

pytestmark = pytest.mark.skipif(
    not has_commit(BEFORE_0_1_0), reason=f"commit {BEFORE_0_1_0} is not in this clone's history: fetch it whole (not shallow)"
)


@dataclass
class Upgrade:
    """A place that the earlier code made, and what its files held then."""

    place: TinyShop
    published: dict[str, Rows]
    version: int
    ledger: Rows
    slices: Rows
    relations: set[tuple[str, str]]


def read_folder(folder: Path) -> tuple[int, dict[str, Rows]]:
    """Version and tables of a published folder of the earlier code, read by DuckDB alone: every row, in a fixed order."""
    document = json.loads((folder / "version.json").read_text(encoding="utf-8"))
    tables: dict[str, Rows] = {}
    with duckdb.connect() as connection:
        connection.execute(f"attach '{folder / 'customer360.duckdb'}' as earlier (read_only)")
        for name in document["rows"]:
            tables[name] = connection.execute(f'select * from earlier.main."{name}" order by all').fetchall()
        for name in document["parquet_only"]:
            files = f"read_parquet('{folder}/parquet/{name}/*.parquet', union_by_name = true, hive_partitioning = false)"
            tables[name] = connection.execute(f"select * from {files} order by all").fetchall()
    return document["version"], tables


def read_rows(sql: str) -> Rows:
    """Rows of a query on files, by DuckDB alone."""
    with duckdb.connect() as connection:
        return connection.execute(sql).fetchall()


def dbt_relations(data: Path) -> set[tuple[str, str]]:
    """Schema and name of what dbt has built in the warehouse."""
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        query = "select table_schema, table_name from information_schema.tables where list_contains(?, table_schema)"
        return set(connection.execute(query, [list(DBT_SCHEMAS)]).fetchall())


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    data = make_earlier_place(tmp_path_factory.mktemp("earlier"))
    version, tables = read_folder((data / "published" / "current").resolve())
    parts = f"from read_parquet('{data}/campaigns/ledger/*.parquet', union_by_name = true)"
    ledger = read_rows(f"select entry_id, event, campaign_id, customer_id, plan_version {parts} order by all")
    slices = read_rows(f"select * from read_parquet('{data}/raw/clicks/*/*.parquet', hive_partitioning = false) order by all")
    found = Upgrade(TinyShop(data.parent), tables, version, ledger, slices, dbt_relations(data))
    code, words = found.place.command("upgrade")
    assert (code, place_format(found.place.settings.place)) == (0, FORMAT), words
    yield found
    found.place.close()


def test_the_earlier_place_holds_what_can_be_lost(upgrade: Upgrade) -> None:
    assert {event for _, event, *_ in upgrade.ledger} >= {APPROVED, SENT}
    assert len(upgrade.slices) > 20
    filled = {name for name, rows in upgrade.published.items() if rows}
    assert filled >= {
        *(
            "customer_features",
            "customer_profiles",
            "customer_scores",
            "customer_scores_daily",
            "campaign_plan",
            "campaign_ledger",
        ),
        *("model_versions", "training_features", "drift_metrics", "monitoring_activity", "slice_log", "campaign_touch_history"),
    }


def test_every_published_row_is_read_before_anything_runs(upgrade: Upgrade) -> None:
    with open_version(upgrade.place.settings.place) as opened:
        assert opened.publication.version == upgrade.version
        for name, rows in upgrade.published.items():
            assert opened.connection.execute(f'select * from "{name}" order by all').fetchall() == rows, name


def test_the_champion_serves_and_the_ledger_is_whole(upgrade: Upgrade) -> None:
    settings = upgrade.place.settings
    assert servable_for_shop(settings, "affinity").loaded is not None
    columns = ["entry_id", "event", "campaign_id", "customer_id", "plan_version"]
    entries = read_ledger(settings.place)[columns].astype(object)
    found = entries.where(entries.notna(), None).itertuples(index=False, name=None)
    assert sorted(found, key=str) == sorted(upgrade.ledger, key=str)


def test_training_waits_for_the_first_slice(upgrade: Upgrade) -> None:
    run = upgrade.place.run("training_job", assets=[["marts", "training_features"]])
    assert run.wait() == 1
    assert "the warehouse was made by another release of the models" in run.log.read_text(encoding="utf-8")


def test_a_slice_goes_on_from_the_earlier_warehouse(upgrade: Upgrade) -> None:
    place = upgrade.place
    place.land(SLICES)
    place.run("slice_job", place.key(SLICES)).succeed()
    with open_version(place.settings.place) as opened:
        assert opened.publication.version == upgrade.version + 1
        assert set(opened.publication.rows) >= set(upgrade.published)

        def keys(table: str, columns: str) -> set[tuple[Any, ...]]:
            return set(opened.connection.execute(f"select {columns} from {table}").fetchall())

        earlier = {row[0] for row in upgrade.published["customer_features"]}
        assert {key for (key,) in keys("customer_features", "customer_id")} >= earlier
        assert {key for (key,) in keys("customer_profiles", "customer_id")} >= earlier
        assert len(keys("slice_log", "slice")) == len(upgrade.published["slice_log"]) + 1
        assert all(done for _, done in keys("slice_log", "slice, is_transformed"))
        for name in ("customer_scores_daily", "training_features", "campaign_ledger", "model_versions"):
            (count,) = opened.connection.execute(f"select count(*) from {name}").fetchone() or (0,)
            assert count >= len(upgrade.published[name]), name
    raw = f"read_parquet('{place.data}/raw/clicks/*/*.parquet', hive_partitioning = false, union_by_name = true)"
    newest = place.slice(SLICES).replace(tzinfo=None)
    # The column decision_id came later: the files of the earlier release do not have it, and stay as they are.
    kept = f"select * exclude (decision_id) from {raw} where slice < timestamp '{newest}' order by all"
    assert read_rows(kept) == upgrade.slices


def test_tables_of_models_that_are_no_more_are_dropped_with_it(upgrade: Upgrade) -> None:
    models = project_relations(manifest_path(upgrade.place.settings))
    assert ("intermediate", "int_customer_time_zones") in upgrade.relations - models
    assert upgrade.relations & models <= dbt_relations(upgrade.place.data) <= models


def test_a_training_set_is_made_after_it(upgrade: Upgrade) -> None:
    upgrade.place.run("training_job", assets=[["marts", "training_features"]]).succeed()
    with open_version(upgrade.place.settings.place) as opened:
        found = opened.connection.execute("select count(*), count(lifetime_spend) from training_features").fetchone()
    # Customers whom the earlier release took for known from the beginning of time are left out of cut-offs before they came.
    assert found is not None
    assert 0 < found[0] == found[1] <= len(upgrade.published["training_features"])


def test_the_next_day_is_planned_and_what_was_approved_is_judged_and_sent_on(upgrade: Upgrade) -> None:
    place = upgrade.place
    settings = place.settings
    with open_version(settings.place) as opened:
        as_of = opened.publication.as_of
    assert as_of is not None
    day = as_of.astimezone(settings.shop.zone).date()
    place.run("daily_job", f"{day:%Y-%m-%d}").succeed()
    (campaign,) = {row[2] for row in upgrade.ledger if row[1] == APPROVED}
    with open_version(settings.place) as opened:
        judged = opened.connection.execute(
            "select distinct campaign_id from campaign_results where planned > 0 and not is_reported"
        ).fetchall()
        planned = {row[0] for row in opened.connection.execute("select distinct plan_date from campaign_plan").fetchall()}
    assert judged == [(campaign,)]
    assert planned == {day}
    sent_before = {row[3] for row in upgrade.ledger if row[1] == SENT}
    approved = {row[3] for row in upgrade.ledger if row[1] == APPROVED}
    done = send(settings, as_of, as_of + timedelta(days=2), "somebody")
    assert done.contacts > 0
    sent = set(read_ledger(settings.place, [SENT])["customer_id"])
    assert sent_before < sent <= approved


def test_runs_of_the_earlier_code_are_still_listed(upgrade: Upgrade) -> None:
    with upgrade.place.instance() as instance:
        jobs = {run.job_name for run in instance.get_runs()}
    assert jobs >= {"history_job", "training_job", "slice_job", "daily_job", "warehouse_job"}
