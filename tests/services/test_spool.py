"""The spool of the services: on disk before the acknowledgement, then in exactly one slice, even after SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customer360.lake.object_store import StoreError
from customer360.lake.slices import folder_start, slice_folder
from customer360.services.spool import Spool, SpoolFullError, spool_folder, spooled_bytes
from customer360.services.uploads import spooled_files
from customer360.settings import Place, Settings
from tests.safety.small_disk import small_disk
from tests.support.random_shop import small_shop

START = datetime(2026, 5, 4, 10, tzinfo=UTC)
APPENDER = """
import sys
from pathlib import Path
from customer360.services.spool import Spool
from customer360.settings import Place, Settings
from tests.support.random_shop import small_shop
settings = Settings(shop=small_shop(live=True, slice_minutes=1440), place=Place(root=Path(sys.argv[1])), shop_folder=Path("."))
spool = Spool(settings, "clicks", free_bytes=0)
waiting = []
for number in range(10**9):
    lines = [b'{"event_id": "%s-%d-%d"}' % (sys.argv[2].encode(), number, part) for part in range(3)]
    waiting.append((number, spool.submit(lines)))
    if len(waiting) == 8:
        for sent, done in waiting:
            done.result()
            sys.stdout.write(f"{sent}\\n")
        sys.stdout.flush()
        waiting = []
"""


class Clock:
    """A wall clock that a test sets."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def settings_in(root: Path, **changes: object) -> Settings:
    return Settings(shop=small_shop(live=True, **changes), place=Place(root=root), shop_folder=root)


def landed(settings: Settings, source: str = "clicks") -> dict[datetime, list[bytes]]:
    """The lines of each slice."""
    root = settings.place.landing / source
    found: dict[datetime, list[bytes]] = {}
    for path in sorted(root.rglob("*.jsonl")):
        start = folder_start(str(path.parent.relative_to(root)))
        assert start is not None
        found.setdefault(start, []).extend(path.read_bytes().splitlines())
    return found


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come about within a minute")


def test_lines_are_on_disk_when_they_are_acknowledged_and_enter_their_slice_at_its_end(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path), Clock(START + timedelta(minutes=14, seconds=59, milliseconds=800))
    spool = Spool(settings, "clicks", free_bytes=0, clock=clock)
    spool.submit([b'{"a": 1}', b'{"a": 2}']).result(timeout=60)
    (file,) = spool.folder.iterdir()
    assert file.read_bytes() == b'{"a": 1}\n{"a": 2}\n'
    assert spooled_bytes(spool.folder) == 18
    assert landed(settings) == {}
    clock.now = START + timedelta(minutes=15)
    eventually(lambda: bool(landed(settings)))
    assert landed(settings) == {START: [b'{"a": 1}', b'{"a": 2}']}
    spool.submit([b'{"a": 3}']).result(timeout=60)
    spool.write([b'{"a": 4}'])
    spool.close()
    assert landed(settings)[START + timedelta(minutes=15)] == [b'{"a": 3}', b'{"a": 4}']
    assert [*spool.folder.iterdir()] == []


def test_what_waits_for_the_disk_is_flushed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes, flush, is_free = [], os.fdatasync, threading.Event()

    def slow(descriptor: int) -> None:
        flushes.append(descriptor)
        assert is_free.wait(60)
        flush(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    settings = settings_in(tmp_path)
    spool = Spool(settings, "clicks", free_bytes=0, clock=Clock(START))
    with ThreadPoolExecutor(20) as clients:
        futures = [*clients.map(lambda number: spool.submit([b"%d" % number]), range(100))]
    assert not any(future.done() for future in futures)
    is_free.set()
    for future in futures:
        future.result(timeout=60)
    assert len(flushes) <= 2  # of the requests that came first, and of all others
    spool.close()
    assert sorted(landed(settings)[START]) == sorted(b"%d" % number for number in range(100))


@pytest.mark.full
def test_no_acknowledged_line_of_a_killed_process_is_lost_or_twice(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, slice_minutes=1440)
    acknowledged: set[bytes] = set()
    for turn in range(5):
        command = [sys.executable, "-c", APPENDER, str(tmp_path), str(turn)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            sent = [process.stdout.readline() for _ in range(40 * (turn + 1))]
            process.send_signal(signal.SIGKILL)
            sent += [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        acknowledged |= {
            b'{"event_id": "%d-%d-%d"}' % (turn, int(number), part) for number in sent for part in range(3) if number
        }
        with next(iter(sorted(spool_folder(settings, "clicks").iterdir()))).open("ab") as file:
            file.write(b'{"event_id": "torn')
    looks = [threading.Thread(target=Spool(settings, "clicks").recover) for _ in range(4)]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    counts = Counter(line for lines in landed(settings).values() for line in lines)
    assert acknowledged <= counts.keys()
    assert len(acknowledged) > 500
    assert set(counts.values()) == {1}
    assert not any(b"torn" in line for line in counts)
    assert [*spool_folder(settings, "clicks").iterdir()] == []


def test_what_is_found_after_its_slice_has_closed_enters_the_open_slice(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path), Clock(START + timedelta(hours=3, minutes=1))
    folder = spool_folder(settings, "offer_decisions")
    folder.mkdir(parents=True)
    (folder / "api-left.jsonl").write_bytes(b"1\n2\n3")
    (folder / "api-torn.jsonl").write_bytes(b'{"half')
    Spool(settings, "offer_decisions", clock=clock).recover()
    assert landed(settings, "offer_decisions") == {START + timedelta(hours=3): [b"1", b"2"]}
    assert [*folder.iterdir()] == []


def test_a_file_that_could_not_move_in_time_enters_the_open_slice(tmp_path: Path) -> None:
    settings, clock = settings_in(tmp_path), Clock(START)
    spool = Spool(settings, "clicks", free_bytes=0, clock=clock)
    spool.submit([b"1"]).result(timeout=60)
    clock.now = START + timedelta(minutes=15) + settings.shop.grace / 2
    spool.close()
    assert landed(settings) == {START + timedelta(minutes=15): [b"1"]}


def test_a_file_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    spool = Spool(settings, "clicks", free_bytes=0, clock=Clock(START))
    spool.submit([b"1"]).result(timeout=60)
    Spool(settings, "clicks", clock=Clock(START + timedelta(hours=1))).recover()
    assert landed(settings) == {}
    spool.close()
    assert landed(settings) == {START: [b"1"]}


def test_a_replayed_shop_takes_lines_into_its_newest_slice(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"shop": small_shop(live=False)})
    newest = slice_folder(settings.place.landing / "clicks", START)
    newest.mkdir(parents=True)
    (newest / "web.jsonl").write_bytes(b"0\n")
    clock = Clock(datetime(2027, 1, 1, tzinfo=UTC))
    spool = Spool(settings, "clicks", free_bytes=0, clock=clock)
    spool.submit([b"1"]).result(timeout=60)
    clock.now += timedelta(seconds=5)
    spool.submit([b"2"]).result(timeout=60)
    eventually(lambda: sum(map(len, landed(settings).values())) == 3)
    assert [*landed(settings)] == [START]


def test_a_replayed_shop_whose_store_is_away_refuses_lines_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> datetime:
        raise StoreError("the store does not answer")

    settings = settings_in(tmp_path).model_copy(update={"shop": small_shop(live=False)})
    spool = Spool(settings, "clicks", free_bytes=0)
    with monkeypatch.context() as patched:
        patched.setattr("customer360.services.spool.shop_now", away)
        with pytest.raises(SpoolFullError, match="the store does not answer"):
            spool.submit([b"1"]).result(timeout=60)
        with pytest.raises(SpoolFullError, match="the store does not answer"):
            spool.write([b"2"])
    spool.submit([b"3"]).result(timeout=60)
    spool.close()
    assert [*landed(settings).values()] == [[b"3"]]


def test_a_look_that_fails_ends_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def fails(*_: object) -> None:
        looks.append(1)
        raise RuntimeError("no look")

    monkeypatch.setattr(Spool, "recover", fails)
    monkeypatch.setattr("customer360.services.spool.RETRY_SECONDS", 0.01)
    spool = Spool(settings_in(tmp_path), "clicks", free_bytes=0, clock=Clock(START))
    spool.submit([b"1"]).result(timeout=60)
    eventually(lambda: len(looks) > 1)
    spool.submit([b"2"]).result(timeout=60)
    spool.close()


def test_a_folder_that_another_process_removes_while_it_is_listed_has_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = tmp_path / "a", tmp_path / "b" / "x.jsonl"
    gone.mkdir()
    kept.parent.mkdir()
    kept.write_bytes(b"1\n")
    real = os.scandir

    def removing(path: str) -> object:
        if Path(path) == gone:
            gone.rmdir()
        return real(path)

    monkeypatch.setattr(os, "scandir", removing)
    assert spooled_files(tmp_path) == [kept]
    assert not gone.exists()


def test_a_full_queue_and_a_full_disk_refuse_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("customer360.services.spool.QUEUE_BYTES", 100)
    with small_disk(tmp_path / "disk", 4) as disk:
        settings = settings_in(disk.root)
        spool = Spool(settings, "clicks", free_bytes=0, clock=Clock(START))
        with pytest.raises(SpoolFullError, match="wait"):
            spool.submit([b"x" * 101])
        monkeypatch.setattr("customer360.services.spool.QUEUE_BYTES", 10_000_000)
        spool.submit([b"before"]).result(timeout=60)
        disk.fill(leaving=8192)
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 9e9, 9e9, 9e9, 0, 0, 0, 0, 255)))
        with pytest.raises(SpoolFullError, match="MB left"):
            spool.submit([b"y" * 1_000_000]).result(timeout=60)
        monkeypatch.undo()
        with pytest.raises(SpoolFullError, match="MB left"):
            Spool(settings, "clicks", free_bytes=10**12).write([b"z"])
        disk.free()
        spool.submit([b"after"]).result(timeout=60)
        spool.close()
        assert landed(settings) == {START: [b"before", b"after"]}
