"""The asset of the services' store: only of a shop that serves, refreshed by what changed."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import yaml

from assets.publishing.profile_store import PROFILE_STORE, profile_store_assets
from customer360.services.store.layout import store_folder
from customer360.services.store.reading import StoreReader
from customer360.settings import REPOSITORY, Settings
from orchestration.resources import Platform
from tests.services.served_shop import ServedShop

TINY = REPOSITORY / "tests" / "shops" / "tiny"


def test_a_shop_that_does_not_serve_has_no_store(tmp_path: Path) -> None:
    assert profile_store_assets(Settings.load(TINY, tmp_path).shop) == []


def test_the_asset_writes_the_rows_that_changed_since_the_last_run(tmp_path: Path) -> None:
    served = ServedShop(tmp_path, customers={"C1": {}, "C2": {}}, visitors={"V1": "C1"}, consented={"C1"})
    values = served.settings.shop.model_dump(mode="json", by_alias=True, exclude_none=True)
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    platform = Platform(shop_folder=str(tmp_path), data_dir=str(served.settings.place.root))
    assets = profile_store_assets(served.settings.shop)

    def run() -> dict[str, object]:
        result = dg.materialize(assets, resources={"platform": platform})
        (made,) = result.get_asset_materialization_events()
        assert made.asset_key == PROFILE_STORE
        return {name: value.value for name, value in made.materialization.metadata.items()}

    served.publish()
    first = run()
    assert (first["changed"], first["dagster/row_count"], first["built_because"]) == (3, 3, "there was none")
    served.customers["C2"] = {"segment": "Lost"}
    served.publish()
    second = run()
    assert (second["changed"], second["version"], second["built_because"]) == (1, 2, "only changed rows were written")
    with StoreReader(store_folder(served.settings.place)).view() as view:
        profile = view.profile("C2")
    assert profile is not None
    assert json.loads(profile)["segment"] == "Lost"
