"""The spool of a shop whose landing is an object store: a real server, with outages and processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customer360.lake.landing.location import find_landing
from customer360.lake.object_store import ObjectStore as Bucket
from customer360.lake.object_store import StoreError
from customer360.lake.slices import FOLDER_FORMAT
from customer360.services import uploads
from customer360.services.spool import Spool, recover_spools, spool_folder, spooled_bytes
from customer360.settings import Place, Settings
from tests.services.test_spool import START, Clock, eventually
from tests.support.object_store import ObjectStore, empty_store, storage_yaml
from tests.support.random_shop import small_shop

KILLED = """
import os, sys
from pathlib import Path
from customer360.lake.object_store import ObjectStore
from customer360.services.spool import Spool
from customer360.settings import Settings
settings = Settings.model_validate_json(sys.stdin.read())
put = ObjectStore.put
def killed(store, key, content):
    put(store, key, content)
    os.kill(os.getpid(), 9)
ObjectStore.put = killed
spool = Spool(settings, "clicks", free_bytes=0)
spool.submit([b"1", b"2"]).result()
spool.close()
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    return empty_store(monkeypatch)


def settings_of(server: ObjectStore, root: Path) -> Settings:
    shop = small_shop(live=True, object_storage=storage_yaml(server))
    return Settings(shop=shop, place=Place(root=root), shop_folder=root)


def landed(server: ObjectStore) -> dict[str, list[bytes]]:
    """The lines of each slice's folder."""
    found: dict[str, list[bytes]] = {}
    for key in server.keys("landing/clicks/"):
        found.setdefault(key.rpartition("/")[0].removeprefix("landing/clicks/"), []).extend(server.get(key).splitlines())
    return found


def test_a_closed_slices_file_is_an_object_of_that_slice_and_leaves_the_disk(server: ObjectStore, tmp_path: Path) -> None:
    settings, clock = settings_of(server, tmp_path), Clock(START + timedelta(minutes=3))
    spool = Spool(settings, "clicks", free_bytes=0, clock=clock)
    spool.submit([b"1", b"2"]).result(timeout=60)
    assert landed(server) == {}
    clock.now = START + timedelta(minutes=15)
    spool.submit([b"3"]).result(timeout=60)  # wakes the spool, whose file of the slice is then due
    eventually(lambda: len(landed(server)) == 1)
    spool.submit([b"4"]).result(timeout=60)
    spool.close()
    assert landed(server) == {f"{START:{FOLDER_FORMAT}}": [b"1", b"2", b"3"], f"{clock.now:{FOLDER_FORMAT}}": [b"4"]}
    assert spooled_bytes(spool_folder(settings, "clicks")) == 0
    assert len(find_landing(settings).slice(START).files) == 1


def test_what_the_store_does_not_take_stays_on_the_disk_until_it_does(
    server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "RETRY_SECONDS", 0.05)
    put, refused = Bucket.put, []

    def refusing(store: Bucket, key: str, content: bytes | Path) -> None:
        refused.append(key)
        raise StoreError("the store does not answer")

    settings, clock = settings_of(server, tmp_path), Clock(START)
    monkeypatch.setattr(Bucket, "put", refusing)
    spool = Spool(settings, "clicks", free_bytes=0, clock=clock)
    spool.submit([b"1"]).result(timeout=60)
    clock.now = START + timedelta(minutes=15)
    spool.submit([b"2"]).result(timeout=60)
    eventually(lambda: len(refused) > 2)
    assert spooled_bytes(spool_folder(settings, "clicks")) == 4
    monkeypatch.setattr(Bucket, "put", put)
    eventually(lambda: len(landed(server)) == 1)
    assert set(refused) == {f"clicks/{START:{FOLDER_FORMAT}}/{server.keys('landing/')[0].rpartition('/')[2]}"}
    spool.close()


def test_a_process_killed_between_the_put_and_the_removal_doubles_nothing(server: ObjectStore, tmp_path: Path) -> None:
    settings = settings_of(server, tmp_path)
    given = settings.model_dump_json(by_alias=True)
    ran = subprocess.run([sys.executable, "-c", KILLED], input=given, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL
    assert spooled_bytes(spool_folder(settings, "clicks")) == 4
    recover_spools(settings, is_last=True)
    assert Counter(line for lines in landed(server).values() for line in lines) == {b"1": 1, b"2": 1}
    assert spooled_bytes(spool_folder(settings, "clicks")) == 0


def test_decisions_land_in_the_local_folder(server: ObjectStore, tmp_path: Path) -> None:
    settings = settings_of(server, tmp_path)
    spool = Spool(settings, "offer_decisions", free_bytes=0, clock=Clock(datetime(2026, 5, 4, tzinfo=UTC)))
    spool.submit([b"1"]).result(timeout=60)
    spool.close()
    assert [file.read_bytes() for file in (settings.place.landing / "offer_decisions").rglob("*.jsonl")] == [b"1\n"]
    assert server.keys("landing/") == []
