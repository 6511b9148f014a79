"""The warehouse's lock: one writer at a time, named in the lock; a killed writer leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from customer360.lake.atomic import replacing, write_text
from customer360.lake.warehouse.warehouse import (
    SCHEMAS,
    WarehouseBusyError,
    is_locked,
    lock_holder,
    open_warehouse,
    warehouse_lock,
)
from customer360.settings import REPOSITORY, Settings

HOLD = """
import sys
from pathlib import Path
from customer360.lake.warehouse.warehouse import open_warehouse, warehouse_lock
from customer360.settings import Place
place = Place(root=Path(sys.argv[1]))
with warehouse_lock(place, "run abc"), open_warehouse(place) as connection:
    connection.execute("create table half (n integer)")
    connection.begin()
    connection.execute("insert into half values (1)")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_waiting_process_sees_the_holder_and_a_killed_holder_leaves_no_lock(settings: Settings) -> None:
    place = settings.place
    assert (is_locked(place), lock_holder(place)) == (False, "nobody yet")
    command = [sys.executable, "-c", HOLD, str(place.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        assert is_locked(place)
        assert json.loads(lock_holder(place))["holder"] == "run abc"
        with pytest.raises(WarehouseBusyError, match="run abc") as refused, warehouse_lock(place, "me", wait_seconds=0):
            pass
        assert str(holder.pid) in str(refused.value)
        assert "Stuck lock" in str(refused.value)
        os.kill(holder.pid, signal.SIGKILL)
        with warehouse_lock(place, "me", wait_seconds=60), open_warehouse(place) as connection:
            assert json.loads(lock_holder(place)) | {"since": ""} == {"holder": "me", "process": os.getpid(), "since": ""}
            assert connection.execute("select count(*) from half").fetchone() == (0,)
    assert not is_locked(place)


def test_an_opened_warehouse_has_every_schema_and_works_in_utc(settings: Settings) -> None:
    for _ in range(2):
        with open_warehouse(settings.place) as connection:
            found = {name for (name,) in connection.execute("select schema_name from information_schema.schemata").fetchall()}
            assert set(SCHEMAS) <= found
            assert connection.execute("select current_setting('TimeZone')").fetchone() == ("UTC",)


def test_a_replaced_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "file.txt"
    write_text(target, "old")

    def half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            assert target.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert target.read_text() == "old"
    write_text(target, "new")
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]
    assert target.read_text() == "new"
