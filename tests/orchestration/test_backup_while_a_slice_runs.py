"""A place that was backed up while a slice ran is restored, goes on, and has the same tables as the one that was not."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customer360.lake.slices import slice_key
from customer360.services.backup import Backup, back_up, restore
from customer360.settings import Place
from tests.orchestration.place import TinyShop, copied, tiny_shop


@pytest.mark.exhaustive
def test_the_restored_place_goes_on_to_equal_tables(tmp_path: Path) -> None:
    shop = copied(tiny_shop().root, tmp_path / "shop")
    for number in range(3):
        shop.land(number)
    shop.run("slice_job", shop.key(0)).succeed()
    backups: list[Backup] = []
    run = shop.run("slice_job", shop.key(1))
    while len(backups) < 3 or run.ended.empty():
        moment = datetime(2026, 5, 1, 12, tzinfo=UTC) + timedelta(seconds=len(backups))
        backups.append(back_up(shop.settings, tmp_path / "backups", shop.home, moment, {}))
        time.sleep(0.5)
    run.succeed()
    shop.run("slice_job", shop.key(2)).succeed()
    shop.run("warehouse_job", shop.key(2)).succeed()  # for the tables that are made once a night
    shop.close()
    expected = shop.tables()
    for number, backup in enumerate((backups[0], backups[len(backups) // 2])):
        again = TinyShop(tmp_path / f"again-{number}")
        again.root.mkdir()
        restore(backup.folder, Place(root=again.data), {})
        newest = max(path.name for path in (again.data / "raw" / "clicks").glob("slice_key=*"))
        again.run("warehouse_job", newest.removeprefix("slice_key=")).succeed()
        for late in range(3):
            if slice_key(again.slice(late)) not in done(again):
                again.run("slice_job", again.key(late)).succeed()
        again.run("warehouse_job", again.key(2)).succeed()
        again.close()
        found = again.tables()
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
        shutil.rmtree(again.root)


def done(shop: TinyShop) -> set[str]:
    rows = shop.published("select slice from slice_log where source = 'clicks' and is_transformed")
    return {slice_key(start.replace(tzinfo=UTC)) for (start,) in rows}
