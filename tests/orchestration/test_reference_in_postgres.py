"""The asset of a table in PostgreSQL: a lost server is a warning with its words, and an error only before the first load."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.raw.reference import reference_asset
from customer360.lake.landing.contracts import reference_tables
from customer360.settings import REPOSITORY, Settings
from orchestration.resources import Platform
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server

TINY = REPOSITORY / "tests" / "shops" / "tiny" / "shop.yaml"
DSN = "SHOP_POSTGRES_DSN"
CUSTOMERS = dg.AssetKey(["raw", "customers"])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shop = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    shop["reference"] = {"customers": {"postgres": {"dsn": DSN, "table": "customers", "cursor": "updated_at"}}}
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    return Settings.load(tmp_path / "shop", tmp_path / "data")


def run(settings: Settings) -> dg.ExecuteInProcessResult:
    """Load the customers, then whatever relies on them."""

    @dg.asset(deps=[CUSTOMERS])
    def plan() -> None:
        """Stands behind the customers, as the campaign plan does."""

    asset = reference_asset(settings.shop, reference_tables(settings.shop)["customers"])
    platform = Platform(shop_folder=str(settings.shop_folder), data_dir=str(settings.place.root))
    return dg.materialize([asset, plan], resources={"platform": platform}, raise_on_error=False)


def words(result: dg.ExecuteInProcessResult) -> str:
    """All that the run's events tell."""
    return "".join(str(event) for event in result.all_events)


def made(server: PostgresServer) -> str:
    server.sql("""
        create table customers (customer_id text, consent_email boolean, updated_at timestamptz);
        insert into customers values ('C1', true, '2026-05-01'), ('C2', false, '2026-05-01')""")
    return server.dsn


def test_a_lost_server_warns_and_the_run_goes_on_with_the_last_good_version(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_server() as server:
        monkeypatch.setenv(DSN, f"{made(server)} port=1")
        never = run(settings)
        assert not never.success
        assert "customers was never loaded, so there is no version to go on with" in words(never)

        monkeypatch.setenv(DSN, server.dsn)
        good = run(settings)
        assert good.success
    lost = run(settings)
    assert lost.success
    assert [event.asset_key for event in lost.get_asset_materialization_events()] == [CUSTOMERS, dg.AssetKey("plan")]
    for result, is_read in ((good, True), (lost, False)):
        rows_check, check = sorted(result.get_asset_check_evaluations(), key=lambda found: found.check_name)
        assert (rows_check.check_name, rows_check.passed) == ("no_row_set_aside", True)
        assert (check.check_name, check.passed, check.severity) == ("source_was_read", is_read, dg.AssetCheckSeverity.WARN)
        metadata = result.get_asset_materialization_events()[0].materialization.metadata
        assert metadata["dagster/row_count"].value == 2
        assert ("not_read" in metadata) is not is_read
    assert check.description is not None
    assert "customers in PostgreSQL (SHOP_POSTGRES_DSN) cannot be read: Connection refused. The last good" in check.description
    for result in (never, good, lost):
        assert PASSWORD not in words(result)
        assert "c4nary" not in words(result)
