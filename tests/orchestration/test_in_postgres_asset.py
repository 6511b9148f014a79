"""The asset of the published tables in PostgreSQL: a lost server fails no run, and is made good by the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.publishing.copies import copy_assets
from customer360.lake.engine import connect
from customer360.lake.operations.status import read_status, status_lines
from customer360.lake.publishing.publishing import publish
from customer360.settings import REPOSITORY, PublishTo, Settings
from orchestration.resources import Platform
from tests.support.postgres import PASSWORD, postgres_server

TINY = REPOSITORY / "tests" / "shops" / "tiny" / "shop.yaml"
DSN = "BI_POSTGRES_DSN"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class PlatformAt(Platform):
    """A platform whose clock stands where the test put it."""

    moment: str

    def now(self) -> datetime:
        return datetime.fromisoformat(self.moment)


def run(settings: Settings, minutes: int) -> tuple[dg.ExecuteInProcessResult, tuple[bool, str, str]]:
    moment = (NOON + timedelta(minutes=minutes)).isoformat()
    platform = PlatformAt(shop_folder=str(settings.shop_folder), data_dir=str(settings.place.root), moment=moment)
    result = dg.materialize(copy_assets(settings.shop), resources={"platform": platform}, raise_on_error=False)
    assert result.success
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.asset_key) == ("postgres_is_up_to_date", dg.AssetKey(["publishing", "in_postgres"]))
    return result, (found.passed, found.severity.value, found.description or "")


def test_a_lost_server_warns_then_fails_its_check_and_the_next_run_makes_it_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    shop = yaml.safe_load(TINY.read_text(encoding="utf-8")) | {"publish_to": {"postgres": {"dsn": DSN, "schema": "bi"}}}
    (tmp_path / "shop" / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    settings = Settings.load(tmp_path / "shop", tmp_path / "data")

    def published(number: int) -> None:
        with connect(tmp_path / ".tmp") as connection:
            tables = {"rfm_segments": f"select {number} as x"}
            publish(settings.place, connection, tables, NOON, NOON + timedelta(minutes=15 * (number - 1)))

    def copied_line() -> str:
        lines = status_lines(settings, read_status(settings, NOON), NOON)
        return next(line for line in lines if line.startswith("in postgres"))

    with postgres_server() as server:
        monkeypatch.setenv(DSN, server.dsn)
        published(1)
        first, check = run(settings, 0)
        assert check == (True, "WARN", "")
        (made,) = first.get_asset_materialization_events()
        assert {name: made.materialization.metadata[name].value for name in ("version", "schema", "files", "rows")} == {
            "version": 1,
            "schema": "bi",
            "files": 2,
            "rows": 2,
        }
        assert copied_line() == "in postgres version 1; schema bi"
        published(2)
        server.kill()
        for minutes, severity in ((15, "WARN"), (61, "ERROR")):
            lost, (passed, actual, words) = run(settings, minutes)
            assert (passed, actual) == (False, severity)
            assert words == f"schema bi in PostgreSQL ({DSN}): Connection refused"
            assert lost.get_asset_materialization_events() == []
            assert not any(PASSWORD in str(event) for event in [*first.all_events, *lost.all_events])
        assert copied_line() == "in postgres version 1, published 2026-05-01 12:00 UTC; schema bi"
        server.start()
        assert run(settings, 75)[1] == (True, "WARN", "")
        assert server.sql("select x, version from bi.rfm_segments, bi.publication") == "2|2"
    assert copied_line() == "in postgres version 2; schema bi"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dsn": "postgresql://shop:canary@db/bi"}, "give the name of an environment variable"),
        ({"dsn": DSN, "schema": "pg_temp"}, "not beginning with pg_"),
        ({"dsn": DSN, "timeout_seconds": 5}, "greater than or equal to 10"),
        ({"dsn": DSN, "table": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_named_without_their_value(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as failed:
        PublishTo.model_validate({"postgres": given})
    assert "canary" not in str(failed.value)
