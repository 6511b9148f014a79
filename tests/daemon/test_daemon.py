"""End to end through the real daemon: files are dropped into landing, and the published tables change."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from customer360.lake.slices import slice_folder
from customer360.simulation.writing import write_bytes
from orchestration.runtime.template import PID_TAG, START_TAG
from tests.crash.processes import Served, command_of, kill_all, processes_of
from tests.orchestration.place import TinyShop, tiny_shop, wait_until
from tests.support.ports import free_port

pytestmark = pytest.mark.daemon

SLICES_TAG, ATTEMPT_TAG = "customer360/slices", "customer360/attempt"
GAP = 100  # slices of half an hour: two days and two hours


def template_of(shop: TinyShop) -> int:
    """The process that forks runs: the one of its module that is no fork of another such."""
    named = [pid for pid in processes_of(shop) if b"orchestration.runtime.template" in command_of(pid)]
    (template,) = [pid for pid in named if parent(pid) not in named]
    return template


def parent(pid: int) -> int:
    """The parent of a living process."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def wait_for(served: Served, sql: str, expected: Any, seconds: float, what: str) -> None:
    """Wait until the first value of a query on the published tables is as expected."""

    def is_so() -> bool:
        try:
            return bool(served.shop.published(sql)[0][0] == expected)
        except (FileNotFoundError, duckdb.Error):
            return False

    try:
        wait_until(is_so, seconds, what, every=0.3)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{served.log.read_text(encoding='utf-8')[-6000:]}") from error


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The tiny shop as ``make ui`` serves it."""
    shop = tiny_shop()
    shop.restore("ready")
    shutil.rmtree(shop.home)
    served = Served(shop, free_port())
    served.start()
    try:
        yield served
    finally:
        ended_well = served.stop()
    assert ended_well
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", served.port or 0)) != 0


@pytest.mark.exhaustive
def test_a_dropped_file_a_repair_a_poison_file_a_gap_of_two_days_and_the_death_of_all_processes(served: Served) -> None:
    shop = served.shop
    slices = "select count(*) from slice_log where source = 'clicks' and is_transformed"

    # A file is dropped into the first slice, which closes when the second has files.
    landed = shop.land(0)["total"]["lines"]
    assert shop.published(slices) == [(0,)]
    shop.land(1)
    wait_for(served, slices, 1, 120, "the first slice is published")
    assert shop.published(f"select good {of_slice(shop, 0)}") == [(landed,)]
    assert shop.published("select distinct as_of from customer_features") == [(shop.slice(1).replace(tzinfo=None),)]

    # The web server shows it, by the same code server as the daemon's.
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/server_info", timeout=60) as answer:
        assert json.load(answer)["dagster_version"] == dg.__version__

    # A late file repairs it. The process that forked the first run is dead by then.
    os.kill(template_of(shop), signal.SIGKILL)
    drop(shop, 0, "late.jsonl", view(shop, 0, "late-1", "new-customer"))
    wait_for(
        served, "select count(*) from customer_features where customer_id = 'new-customer'", 1, 120, "the repair is published"
    )
    assert shop.published(f"select good, repaired_at is not null {of_slice(shop, 0)}") == [(landed + 1, True)]

    # Poison: a file that is no gzip, and bad lines. They are quarantined, the good ones proceed.
    drop(shop, 1, "broken.jsonl.gz", b"\x1f\x8b\x08\x00 this is no gzip")
    drop(shop, 1, "lines.jsonl", view(shop, 1, "good-1", "other-customer") + b'{not JSON\n{"event_id": "no-name"}\n')
    shop.land(2)
    wait_for(
        served, "select count(*) from customer_features where customer_id = 'other-customer'", 1, 120, "good lines proceed"
    )
    assert bad_lines(shop.data / "quarantine" / "clicks" / f"slice_key={shop.key(1)}") == {
        "lines.jsonl": 2,
        "broken.jsonl.gz": 1,
    }

    # Nothing arrives for two days: what was missed is caught up with ranges of 96 slices, empty ones and all. Amid the first of
    # them all processes are killed; a service manager starts them again.
    shop.land(GAP)
    wait_until(lambda: "rewriting 96 slices" in served.log.read_text(encoding="utf-8", errors="replace"), 120, "a range runs")
    kill_all(shop)
    served.restart()
    wait_for(served, slices, GAP, 240, "the gap is caught up")
    wait_until(lambda: not unfinished(shop), 300, "runs have ended", every=0.3)
    assert sorted(outcomes(shop)) == [
        ("1", "1", "SUCCESS"),
        ("1", "1", "SUCCESS"),
        ("1", "1", "SUCCESS"),
        (str(GAP - 2 - 96), "1", "SUCCESS"),
        ("96", "1", "FAILURE"),
        ("96", "2", "SUCCESS"),
    ]
    runs = slice_runs(shop)
    assert all(run.tags[START_TAG] for run in runs)
    assert len({run.tags[PID_TAG] for run in runs}) == len(runs)


def slice_runs(shop: TinyShop) -> list[dg.DagsterRun]:
    with shop.instance() as instance:
        return [run for run in instance.get_runs() if run.job_name == "slice_job"]


def outcomes(shop: TinyShop) -> list[tuple[str, str, str]]:
    """Number of slices, attempt and status of each run."""
    return [(run.tags[SLICES_TAG], run.tags[ATTEMPT_TAG], run.status.value) for run in slice_runs(shop)]


def of_slice(shop: TinyShop, number: int) -> str:
    return f"from slice_log where slice = timestamp '{shop.slice(number):%Y-%m-%d %H:%M}'"


def view(shop: TinyShop, number: int, event_id: str, customer_id: str) -> bytes:
    """A line of somebody who looks at a product during a slice."""
    at = f"{shop.slice(number) + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
    event = {"event_id": event_id, "event_name": "view_item", "event_at": at, "customer_id": customer_id}
    return json.dumps(event).encode() + b"\n"


def drop(shop: TinyShop, number: int, name: str, content: bytes) -> None:
    """Write a file into a slice's folder as producers do."""
    write_bytes(slice_folder(shop.data / "landing" / "clicks", shop.slice(number)) / name, content)


def unfinished(shop: TinyShop) -> bool:
    with shop.instance() as instance:
        return any(not run.is_finished for run in instance.get_runs())


def bad_lines(folder: Path) -> dict[str, int]:
    """Quarantined entries by file; a file that broke off has an entry for itself."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select source_file, count(*) from read_parquet('{folder}/part.parquet') group by all"
        ).fetchall()
    return dict(rows)
