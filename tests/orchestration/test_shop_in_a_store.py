"""A shop whose producers land in an object store and whose readers read from it: whole runs of its jobs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import duckdb
import duckdb_extensions
import pytest
import yaml

from customer360.lake.object_store import StoreError
from customer360.lake.slices import FOLDER_FORMAT
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
CAMPAIGN = "title: All\naudience: everyone\nvalue_per_conversion: 10\nchannels:\n  email: {cost: 0.02}\n"


@dataclass
class StoreShop(TinyShop):
    """The tiny shop with landing and published versions in a store; nothing is ever landed on its own disk."""

    store: ObjectStore = field(default_factory=lambda: pytest.fail("needs a store"))
    cursor: str | None = None

    @property
    def shop_folder(self) -> Path:
        return self.root / "shop"

    @property
    def settings(self) -> Settings:
        return Settings.load(self.shop_folder, self.data)

    @property
    def environment(self) -> dict[str, str]:
        keys = {ACCESS_VARIABLE: ACCESS_KEY, SECRET_VARIABLE: SECRET_KEY}
        return {**super().environment, "SHOP": str(self.shop_folder), **keys}

    def put_slice(self, number: int, faults: Faults | None = None) -> list[str]:
        """What ``TinyShop.land`` writes, as objects."""
        producer = Place(root=self.root / f"producer-{number}")
        simulate_slice(SIMULATION, self.settings.shop, producer, self.slice(number), faults)
        return upload(self.store, producer.landing)

    def begin(self) -> tuple[int, str]:
        """Exit code and output of ``customer360 start``."""
        command = [str(Path(sys.executable).with_name("customer360")), "start"]
        ran = subprocess.run(command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout + ran.stderr

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate the sensor as the daemon does."""
        platform = Platform(shop_folder=str(self.shop_folder), data_dir=str(self.data))
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

    @contextmanager
    def bi(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[tuple[Any, ...]]]]:
        """A BI tool that knows URL and keys alone: the statements of docs/bi.md at this server, and what the last one gave."""
        _, load, *statements = doc_statements()
        with duckdb.connect() as connection:
            connection.execute(f"set extension_directory = '{self.root / 'extensions'}'; set TimeZone = 'UTC'")
            duckdb_extensions.import_extension("httpfs", con=connection)  # in place of "install httpfs"
            connection.execute(load)
            values = {"<access key>": ACCESS_KEY, "<secret key>": SECRET_KEY, "use_ssl true": "use_ssl false"}
            for placeholder, value in {**values, "s3.example.com": self.store.endpoint.removeprefix("http://")}.items():
                statements = [statement.replace(placeholder, value) for statement in statements]
            *_, rows = [connection.execute(statement).fetchall() for statement in statements]
            yield connection, rows

    def as_bi_reads(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every table of the store's current version, from its database file."""
        with self.bi() as (connection, _):
            pointer = "select database from read_json('s3://acme/published/current.json')"
            (url,) = connection.execute(pointer).fetchone() or ("",)
            connection.execute(f"attach '{url}' as customer360 (read_only)")
            names = connection.execute(
                "select view_name from duckdb_views() where database_name = 'customer360' and not internal"
            ).fetchall()
            return {name: connection.execute(f"from customer360.{name} order by all").fetchall() for (name,) in sorted(names)}

    def local(self) -> dict[str, list[tuple[Any, ...]]]:
        names = self.published("select view_name from duckdb_views() where not internal order by all")
        return {name: self.published(f"from {name} order by all") for (name,) in names}


def doc_statements() -> list[str]:
    """The statements of docs/bi.md that read the store."""
    page = (REPOSITORY / "docs" / "bi.md").read_text(encoding="utf-8").split("### From an object store")[1]
    (block,) = re.findall(r"```sql\n(.*?)```", page.split("\n### ")[0], re.DOTALL)
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def doc_answer() -> list[tuple[str, int]]:
    """What docs/bi.md says that they give."""
    page = (REPOSITORY / "docs" / "bi.md").read_text(encoding="utf-8").split("### From an object store")[1]
    rows = re.findall(r"^\| (.+?) \| (\d+) \|$", page.split("\n### ")[0], re.MULTILINE)
    return [(segment, int(customers)) for segment, customers in rows]


def landed_shop(root: Path, store: ObjectStore) -> StoreShop:
    """A shop whose history and reference tables are objects of the store; nothing is loaded yet."""
    place = StoreShop(root, store=store)
    place.home.mkdir(parents=True)
    shutil.copy(REPOSITORY / "orchestration" / "dagster.yaml", place.home)
    place.shop_folder.mkdir()
    shop = yaml.safe_load((TINY / "shop.yaml").read_text(encoding="utf-8"))
    shop["object_storage"] = storage_yaml(store)
    (place.shop_folder / "shop.yaml").write_text(yaml.safe_dump(shop), encoding="utf-8")
    producer = Place(root=place.root / "producer")
    simulate_history(SIMULATION, place.settings.shop, producer)
    upload(store, producer.landing)
    return place


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreShop]:
    """A shop with its history and reference tables loaded from the store."""
    with object_store() as store, pytest.MonkeyPatch.context() as patch:
        place = landed_shop(tmp_path_factory.mktemp("in-store"), store)
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
    assert shop.published("select count(*), sum(lines) > 0 from slice_log where source = 'clicks'") == [(LAST, True)]
    first = shop.as_bi_reads()
    assert first == shop.local()
    assert len(first["customer_profiles"]) > 30
    with shop.bi() as (_, segments):
        assert segments == doc_answer()

    before = shop.tables()
    shop.run_range(0, LAST - 1).succeed()
    assert shop.tick() == []
    assert shop.tables() == before
    assert shop.as_bi_reads() == shop.local()
    assert list((shop.data / ".tmp").glob(".tmp-*")) == []


def test_a_late_object_and_a_store_that_was_lost_meanwhile_are_made_good(shop: StoreShop) -> None:
    (lines,) = shop.published(f"select lines from slice_log where slice = '{shop.slice(1):%Y-%m-%d %H:%M}'")[0]
    event = {"event_id": "late", "event_name": "page_view", "event_at": f"{shop.slice(1):%FT%TZ}", "customer_id": "c"}
    shop.store.put(f"landing/clicks/{shop.slice(1):{FOLDER_FORMAT}}/late.jsonl", json.dumps(event) + "\n")
    (request,) = shop.tick()
    assert request.partition_key == shop.key(1)
    version = shop.pointer()["version"]
    quarantined = sorted(shop.settings.place.quarantine.rglob("*.parquet"))
    shop.store.kill()
    lost = shop.run("slice_job", request.partition_key, {**request.tags, "dagster/run_key": str(request.run_key)})
    assert lost.wait() == 1
    assert "s3://acme/landing at http://127.0.0.1:" in lost.log.read_text(encoding="utf-8")
    assert sorted(shop.settings.place.quarantine.rglob("*.parquet")) == quarantined
    with pytest.raises(StoreError, match="the store does not answer"):
        shop.tick()

    shop.store.start()
    with mock.patch.object(Platform, "now", lambda _: datetime.now(UTC) + timedelta(seconds=16)):
        (again,) = shop.tick()  # after the pause that a failed run is given
    assert again.run_key == str(request.run_key)[:-1] + "2"
    shop.fulfil(again)
    assert shop.published(f"select lines from slice_log where slice = '{shop.slice(1):%Y-%m-%d %H:%M}'") == [(lines + 1,)]
    assert shop.pointer()["version"] == version + 1
    assert shop.as_bi_reads() == shop.local()


def test_the_keys_of_the_store_are_written_nowhere(shop: StoreShop) -> None:
    files = [path for path in shop.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".log" for path in files)
    assert any(b"s3://acme/landing" in path.read_bytes() for path in (shop.root / "logs").iterdir())
    found = [path for path in files for secret in (ACCESS_KEY, SECRET_KEY) if secret.encode() in path.read_bytes()]
    assert found == []


@pytest.mark.exhaustive
def test_one_command_goes_from_objects_to_a_plan_and_does_nothing_twice(tmp_path: Path) -> None:
    with object_store() as store:
        place = landed_shop(tmp_path, store)
        place.put_slice(0)
        place.put_slice(1)  # which closes the one before
        campaigns = place.shop_folder / "campaigns"
        campaigns.mkdir()
        (campaigns / "all.yaml").write_text(CAMPAIGN, encoding="utf-8")
        code, output = place.begin()
        assert code == 0, output
        assert not (place.data / "landing").exists()
        assert f"slice {place.key(0)}" in output
        assert re.search(r"  clicks      [\d,]+ lines, [\d,]+ of them good", output)
        assert re.search(r"  all +\d+ contacts, \d+ held out, \d+ left out of \d+; values: ", output)
        assert place.as_bi_reads() == place.local()
        version = place.pointer()["version"]

        code, output = place.begin()
        assert (code, place.pointer()["version"]) == (0, version), output
        assert "Everything was done before" in output

        store.kill()
        code, output = place.begin()
        assert code == 2, output
        assert "s3://acme/landing at http://127.0.0.1:" in output
        assert "Traceback" not in output
