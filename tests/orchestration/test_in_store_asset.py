"""The asset of the published store: a lost store is a warning, later an error, never a failed run, and is made good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.publishing.copies import copy_assets
from customer360.lake.engine import connect
from customer360.lake.publishing.copies import last_copied
from customer360.lake.publishing.publishing import publish
from customer360.settings import REPOSITORY, Settings
from orchestration.resources import Platform
from tests.support.object_store import ACCESS_KEY, SECRET_KEY, SECRET_VARIABLE, ObjectStore, empty_store, storage_yaml

TINY = REPOSITORY / "tests" / "shops" / "tiny" / "shop.yaml"


class PlatformAt(Platform):
    """A platform whose clock stands where the test put it."""

    moment: str

    def now(self) -> datetime:
        return datetime.fromisoformat(self.moment)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    return empty_store(monkeypatch)


def settings_with(folder: Path, storage: dict[str, object]) -> Settings:
    (folder / "shop").mkdir(exist_ok=True)
    shop = yaml.safe_load(TINY.read_text(encoding="utf-8")) | {"object_storage": storage}
    (folder / "shop" / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    return Settings.load(folder / "shop", folder / "data")


def run(settings: Settings, now: datetime) -> dg.ExecuteInProcessResult:
    platform = PlatformAt(shop_folder=str(settings.shop_folder), data_dir=str(settings.place.root), moment=now.isoformat())
    return dg.materialize(copy_assets(settings.shop), resources={"platform": platform}, raise_on_error=False)


def check_of(result: dg.ExecuteInProcessResult) -> tuple[bool, str, str]:
    assert result.success
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.asset_key) == ("store_is_up_to_date", dg.AssetKey(["publishing", "in_store"]))
    return found.passed, found.severity.value, found.description or ""


def test_a_lost_store_warns_then_fails_its_check_and_the_next_run_makes_it_good(
    server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    well = settings_with(tmp_path, storage_yaml(server))
    with connect(tmp_path / ".tmp") as connection:
        publish(well.place, connection, {"rfm_segments": "select 1 as x"}, now, now)
    first = run(well, now)
    assert check_of(first) == (True, "WARN", "")
    (made,) = first.get_asset_materialization_events()
    assert made.materialization.metadata["version"].value == 1
    assert made.materialization.metadata["sent"].value == 2

    with connect(tmp_path / ".tmp") as connection:
        publish(well.place, connection, {"rfm_segments": "select 2 as x"}, now, now + timedelta(minutes=15))
    lost = settings_with(tmp_path, storage_yaml(server, endpoint="http://127.0.0.1:1"))
    for minutes, severity in ((15, "WARN"), (61, "ERROR")):
        result = run(lost, now + timedelta(minutes=minutes))
        passed, as_said, words = check_of(result)
        assert (passed, as_said) == (False, severity)
        assert "s3://acme/published at http://127.0.0.1:1: current.json cannot be read: the store does not answer" in words
        assert result.get_asset_materialization_events() == []
    with monkeypatch.context() as patch:
        patch.setenv(SECRET_VARIABLE, "canary-wrong-77")
        refused = run(settings_with(tmp_path, storage_yaml(server)), now + timedelta(minutes=20))
    assert "SignatureDoesNotMatch" in check_of(refused)[2]
    everything = "".join(str(event) for event in [*result.all_events, *refused.all_events])
    assert not any(secret in everything for secret in (ACCESS_KEY, SECRET_KEY, "canary-wrong-77"))

    assert check_of(run(settings_with(tmp_path, storage_yaml(server)), now + timedelta(minutes=75))) == (True, "WARN", "")
    remembered = last_copied(well.place, "store")
    assert remembered is not None
    assert remembered.version == 2


def test_there_is_no_such_asset_where_shop_yaml_names_no_store_to_publish_to(server: ObjectStore, tmp_path: Path) -> None:
    assert copy_assets(Settings.load(TINY.parent, tmp_path).shop) == []
    assert copy_assets(settings_with(tmp_path, storage_yaml(server, publish=None)).shop) == []
