"""A shop whose producers land in an object store and whose readers read from it: whole runs of its jobs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import duckdb_extensions
import pytest
import yaml

from customer360.settings import REPOSITORY, Place, Settings
from customer360.simulation import Faults, simulate_history, simulate_slice
from orchestration.resources import Platform
from sensors.click_slices import RANGE_END, RANGE_START, click_slices
from tests.orchestration.place import SIMULATION, TINY, TinyShop
from tests.support.object_store import (
    ACCESS_KEY,
    ACCESS_VARIABLE,
    SECRET_KEY,
    SECRET_VARIABLE,
    ObjectStore,
    object_store,
    storage_yaml,
    upload,
)

LAST = 3


@dataclass
class StoreShop(TinyShop):
    """The tiny shop with landing and published versions in a store; nothing is ever landed on its own disk."""

    store: ObjectStore = field(default_factory=lambda: pytest.fail("needs a store"))
    cursor: str | None = None

    @property
    def folder(self) -> Path:
        return self.root / "shop"

    @property
    def settings(self) -> Settings:
        return Settings.load(self.folder, self.data)

    @property
    def environment(self) -> dict[str, str]:
        keys = {ACCESS_VARIABLE: ACCESS_KEY, SECRET_VARIABLE: SECRET_KEY}
        return {**super().environment, "SHOP": str(self.folder), **keys}

    def put_slice(self, number: int, faults: Faults | None = None) -> list[str]:
        """What ``TinyShop.land`` writes, as objects."""
        producer = Place(root=self.root / f"producer-{number}")
        simulate_slice(SIMULATION, self.settings.shop, producer, self.slice(number), faults)
        return upload(self.store, producer.landing)

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate the sensor as the daemon does."""
        platform = Platform(shop_folder=str(self.folder), data_dir=str(self.data))
        with self.instance() as instance, dg.build_sensor_context(instance=instance, cursor=self.cursor) as context:
            result = click_slices(context, platform=platform)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or [])

    def fulfil(self, request: dg.RunRequest) -> None:
        """The run that was asked for."""
        self.run("slice_job", request.partition_key, {**request.tags, "dagster/run_key": str(request.run_key)}).succeed()

    def pointer(self) -> dict[str, Any]:
        return dict(json.loads(self.store.get("published/current.json")))

    def as_bi_reads(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every table of the store's current version, by URL alone, as docs/bi.md shows it."""
        with duckdb.connect() as connection:
            connection.execute(f"set extension_directory = '{self.root / 'extensions'}'; set TimeZone = 'UTC'")
            duckdb_extensions.import_extension("httpfs", con=connection)
            connection.load_extension("httpfs")
            connection.execute(
                f"create secret (type s3, key_id '{ACCESS_KEY}', secret '{SECRET_KEY}', region 'us-east-1', "
                f"endpoint '{self.store.endpoint.removeprefix('http://')}', use_ssl false, url_style 'path')"
            )
            (url,) = connection.execute("select database from read_json('s3://acme/published/current.json')").fetchone() or (
                "",
            )
            connection.execute(f"attach '{url}' as customer360 (read_only)")
            names = connection.execute("select table_name from duckdb_tables() where database_name = 'customer360'").fetchall()
            return {name: connection.execute(f"from customer360.{name} order by all").fetchall() for (name,) in sorted(names)}

    def local(self) -> dict[str, list[tuple[Any, ...]]]:
        names = self.published("select table_name from duckdb_tables() order by all")
        return {name: self.published(f"from {name} order by all") for (name,) in names}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreShop]:
    """A shop with its history and reference tables loaded from the store."""
    with object_store() as store:
        place = StoreShop(tmp_path_factory.mktemp("in-store"), store=store)
        place.home.mkdir(parents=True)
        shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", place.home)
        place.folder.mkdir()
        shop = yaml.safe_load((TINY / "shop.yaml").read_text(encoding="utf-8"))
        shop["object_storage"] = storage_yaml(store)
        (place.folder / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
        producer = Place(root=place.root / "producer")
        simulate_history(SIMULATION, place.settings.shop, producer)
        upload(store, producer.landing)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ACCESS_VARIABLE, ACCESS_KEY)
            patch.setenv(SECRET_VARIABLE, SECRET_KEY)
            place.run("history_job", place.key(-1)).succeed()
            yield place
            place.close()


def test_a_slice_goes_from_the_store_to_the_store_and_a_second_run_changes_nothing(shop: StoreShop) -> None:
    assert not (shop.data / "landing").exists()
    for number in range(LAST + 1):
        shop.put_slice(number, Faults.everyday())
    (request,) = shop.tick()
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == (shop.key(0), shop.key(LAST - 1))
    shop.fulfil(request)
    assert shop.tick() == []
    assert shop.published("select count(*), min(lines) > 0 from slice_log where source = 'clicks'") == [(LAST, True)]
    first = shop.as_bi_reads()
    assert first == shop.local()
    assert len(first["customer_profiles"]) > 100

    before = shop.tables()
    shop.run_range(0, LAST - 1).succeed()
    assert shop.tick() == []
    assert shop.tables() == before
    assert shop.as_bi_reads() == shop.local()
    assert list((shop.data / ".tmp").glob(".tmp-*")) == []
