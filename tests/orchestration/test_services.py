"""``customer360 serve`` keeps its processes alive, and never leaves one behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customer360.place_format import note_format
from customer360.settings import REPOSITORY, Place, Settings
from orchestration.cli import main
from orchestration.runtime import services as module
from orchestration.runtime.code_files import END_VARIABLE
from orchestration.runtime.services import LONGEST_PAUSE, ServedAlreadyError, Service, Services, end_of_day, services
from tests.orchestration.place import wait_until
from tests.support.random_shop import small_shop

STAYS = [sys.executable, "-c", "import time; time.sleep(600)"]
LEAVES = [sys.executable, "-c", "raise SystemExit(3)"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"FIRST_PAUSE": 0.05, "LOOK_SECONDS": 0.02, "FILES_SECONDS": 0.1}.items():
        monkeypatch.setattr(module, name, seconds)


def service(name: str, command: list[str]) -> Service:
    return Service(name, command, pause=module.FIRST_PAUSE)


@contextmanager
def running(code_server: Service, *others: Service) -> Iterator[tuple[Services, list[str]]]:
    """The services at work in a thread, and what they say; ended in good order afterwards."""
    messages: list[str] = []
    served = Services(code_server, list(others), messages.append)
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        yield served, messages
    finally:
        served.end()
        thread.join(timeout=60)
        assert not thread.is_alive()


def pid_of(service: Service, other_than: int = 0) -> int:
    """The pid of a service once it runs, as another process than one before."""

    def pid() -> int:
        process = service.process
        return process.pid if process is not None and process.poll() is None and process.pid != other_than else 0

    found: int = wait_until(pid, 60, f"{service.name} runs")
    return found


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_whoever_is_killed_is_started_again_and_the_others_are_left_alone() -> None:
    code, daemon = service("code server", STAYS), service("daemon", STAYS)
    with running(code, daemon) as (_, messages):
        for victim, other in ((code, daemon), (daemon, code)):
            killed, left = pid_of(victim), pid_of(other)
            os.kill(killed, signal.SIGKILL)
            pid_of(victim, other_than=killed)
            assert pid_of(other) == left
        assert [text.split(";")[0] for text in messages] == ["the code server ended with -9", "the daemon ended with -9"]
        pids = [pid_of(code), pid_of(daemon)]
    assert not any(map(is_there, pids))


def test_who_never_comes_up_is_tried_with_growing_pauses() -> None:
    with running(service("code server", STAYS), service("daemon", LEAVES)) as (_, messages):
        wait_until(lambda: len(messages) == 4, 60, "four ends")
    pauses = [float(text.split(" in ")[1].removesuffix(" s")) for text in messages[:4]]
    assert pauses == [0.1, 0.2, 0.4, 0.8]
    assert all(text.startswith("the daemon ended with 3;") for text in messages)
    late = service("daemon", LEAVES)
    late.pause = LONGEST_PAUSE
    late.start()
    assert late.process is not None
    late.process.wait()
    assert f"in {LONGEST_PAUSE:g} s" in str(late.check())


def test_others_wait_for_the_socket_and_a_dead_servers_socket_is_taken_away(tmp_path: Path) -> None:
    socket = tmp_path / "code"
    make = [sys.executable, "-c", f"import time; time.sleep(.4); open({str(socket)!r}, 'x'); time.sleep(600)"]
    code, daemon = Service("code server", make, makes=socket), Service("daemon", STAYS, after=socket)
    with running(code, daemon):
        first = pid_of(code)
        assert daemon.process is None
        pid_of(daemon)
        os.kill(first, signal.SIGKILL)
        second = pid_of(code, other_than=first)
        wait_until(socket.exists, 60, "the socket is made anew")  # 'x': it was taken away, or this would have failed
        assert pid_of(code) == second


def test_the_code_server_alone_is_replaced_when_files_change(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["as they are"]
    monkeypatch.setattr(module, "code_fingerprint", lambda: files[0])
    code, daemon = service("code server", STAYS), service("daemon", STAYS)
    with running(code, daemon) as (_, messages):
        before = pid_of(code), pid_of(daemon)
        files[0] = "changed"
        pid_of(code, other_than=before[0])
        assert pid_of(daemon) == before[1]
        assert "the code server is replaced" in messages[0]


def test_partitions_of_a_replay_end_with_its_day_while_it_goes_on_and_with_its_data_once_it_stands_still() -> None:
    ends = [datetime(2026, 5, 1, 12, tzinfo=UTC)]
    code, daemon = service("code server", STAYS), service("daemon", STAYS)
    messages: list[str] = []
    midnight = datetime(2026, 5, 2, tzinfo=UTC)
    served = Services(code, [daemon], messages.append, lambda: ends[0], lambda _: midnight, still_seconds=3600.0)
    thread = threading.Thread(target=served.run)
    thread.start()
    try:
        first = pid_of(code)
        assert code.environment == {END_VARIABLE: "2026-05-01T12:00:00+00:00"}
        ends[0] += timedelta(minutes=15)
        second = pid_of(code, other_than=first)
        assert code.environment == {END_VARIABLE: "2026-05-02T00:00:00+00:00"}
        ends[0] = midnight
        time.sleep(0.5)
        assert pid_of(code) == second
        ends[0] -= timedelta(minutes=15)
        served.still_seconds = 0.0
        pid_of(code, other_than=second)
        assert code.environment == {END_VARIABLE: "2026-05-01T23:45:00+00:00"}
        assert messages == []
    finally:
        served.end()
        thread.join(timeout=60)


@pytest.mark.parametrize(
    ("zone", "moment", "end"),
    [
        ("Europe/Berlin", "2026-05-01T21:45", "2026-05-01T22:00"),
        ("Europe/Berlin", "2026-05-01T22:00", "2026-05-02T22:00"),
        ("Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours: summer time ends
        ("Asia/Kathmandu", "2026-05-01T12:00", "2026-05-01T18:15"),
    ],
)
def test_the_day_of_a_replay_ends_at_the_shops_midnight(zone: str, moment: str, end: str) -> None:
    shop = small_shop(time_zone=zone)
    settings = Settings(shop=shop, shop_folder=REPOSITORY, place=Place(root=REPOSITORY / "nowhere"))
    assert end_of_day(settings, datetime.fromisoformat(f"{moment}+00:00")) == datetime.fromisoformat(f"{end}+00:00")


def test_a_home_is_served_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    again = services(tmp_path, None, print)
    with (
        services(tmp_path, None, print),
        pytest.raises(ServedAlreadyError, match=f"customer360 serve, process {os.getpid()}, which"),
        again,
    ):
        pytest.fail("served twice")
    with services(tmp_path, 3000, print) as served:
        assert [other.name for other in served.others] == ["daemon", "web server"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "dagster.example"])
def test_other_machines_reach_the_pages_without_a_login_only_where_that_is_asked_for(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["serve", "--port", "3000", "--host", host, "--data-dir", str(tmp_path)]
    assert main(command) == 2
    assert f"--host {host} lets other machines reach Dagster's pages, which have no login" in capsys.readouterr().err
    assert not (tmp_path / "dagster").exists()

    note_format(Place(root=tmp_path))
    begun: list[list[str]] = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(Services, "run", lambda served: begun.extend(list(other.command) for other in served.others))
    for name in ("SHOP", "DATA_DIR", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    assert main([*command, "--reachable-without-login", "--read-only"]) == 0
    web = begun[-1]
    assert web[web.index("--host") + 1] == host
    assert "--read-only" in web


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_nobody_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    script = (
        "from orchestration.runtime.services import Service, Services\n"
        f"one = Service('daemon', {STAYS!r})\n"
        "served = Services(one, [], print)\n"
        "one.start()\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(f'{{one.process.pid}} ')\n"
        "served.run()\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY)
    child = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), 60, "a child"))
    assert is_there(child)
    supervisor.kill()
    supervisor.wait(timeout=60)
    wait_until(lambda: not is_there(child), 60, "the child ends too")
