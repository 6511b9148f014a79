"""Sessions: what counts at once, for whom, for how long, and what survives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from customer360.services import session_memory
from customer360.services.session_memory import (
    INACTIVITY_SECONDS,
    MOST_BYTES,
    MOST_EVENTS,
    Session,
    SessionEvent,
    SessionMemory,
)
from customer360.settings import REPOSITORY

NOW = 1_777_600_000.0


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[SessionMemory]:
    found = SessionMemory(tmp_path)
    yield found
    found.close()


def view(product: str, after: float = 0.0, **own: str) -> SessionEvent:
    return SessionEvent("view_item", NOW + after, product, **own)


def products(session: Session | None) -> list[str | None]:
    return [event.product_id for event in session.events] if session else []


def test_events_count_at_once_for_the_visitor_and_the_customer_who_is_linked(memory: SessionMemory) -> None:
    memory.remember("V1", None, [view("p1", referrer="https://search.example", device="mobile")], NOW)
    assert memory.recall(None, "C1", NOW) is None
    memory.remember("V1", "C1", [view("p2", 9, device="desktop")], NOW + 9)
    of_visitor, of_customer = memory.recall("V1", None, NOW + 10), memory.recall(None, "C1", NOW + 10)
    assert products(of_visitor) == ["p1", "p2"]
    assert of_visitor == of_customer
    assert of_visitor is not None
    assert of_visitor.first == view("p1", referrer="https://search.example", device="mobile")
    assert memory.recall("V2", None, NOW) is None
    assert memory.recall(None, "V1", NOW) is None


def test_a_customer_without_a_visitor_has_a_session(memory: SessionMemory) -> None:
    memory.remember(None, "C1", [view("p1")], NOW)
    assert products(memory.recall(None, "C1", NOW)) == ["p1"]
    assert memory.recall("C1", None, NOW) is None


def test_the_next_customer_at_a_device_sees_nothing_of_the_one_before(memory: SessionMemory) -> None:
    memory.remember("V1", "C1", [view("p1")], NOW)
    memory.remember("V1", "C2", [view("p2", 5)], NOW + 5)
    assert products(memory.recall("V1", None, NOW + 6)) == ["p2"]
    assert products(memory.recall(None, "C2", NOW + 6)) == ["p2"]
    assert memory.recall(None, "C1", NOW + 6) is None


def test_a_session_is_over_after_30_minutes_without_an_event(memory: SessionMemory) -> None:
    memory.remember("V1", "C1", [view("p1")], NOW)
    memory.remember("V1", None, [view("p2", 1_790)], NOW + 1_790)
    assert products(memory.recall("V1", None, NOW + 1_790 + 1_800)) == ["p1", "p2"]
    assert memory.recall("V1", None, NOW + 1_790 + 1_801) is None
    memory.remember("V1", None, [view("p3", 4_000)], NOW + 4_000)
    session = memory.recall("V1", None, NOW + 4_000)
    assert products(session) == ["p3"]
    assert session is not None
    assert session.customer_id is None


def test_events_that_come_twice_or_out_of_order_count_once_in_their_order(memory: SessionMemory) -> None:
    memory.remember("V1", None, [view("p2", 2), view("p3", 3)], NOW + 3)
    memory.remember("V1", None, [view("p1", 1), view("p3", 3)], NOW + 4)
    assert products(memory.recall("V1", None, NOW + 4)) == ["p1", "p2", "p3"]


def test_a_session_is_bounded_in_events_and_bytes(memory: SessionMemory) -> None:
    memory.remember("V1", None, [view(f"p{number}", number) for number in range(80)], NOW)
    kept = products(memory.recall("V1", None, NOW))
    assert kept == [f"p{number}" for number in range(80 - MOST_EVENTS, 80)]
    memory.remember("V2", None, [view(f"{number:1000}", number) for number in range(20)], NOW)
    kept = products(memory.recall("V2", None, NOW))
    assert 0 < sum(len(product or "") for product in kept) < MOST_BYTES
    assert kept[-1] == f"{19:1000}"
    memory.remember("V2", None, [view("x" * MOST_BYTES, 30)], NOW + 1)
    assert products(memory.recall("V2", None, NOW)) == []


def entries(memory: SessionMemory, folder: Path) -> dict[str, int]:
    """Rows by table. A process opens an environment once at a time."""
    memory.close()
    (environment,) = folder.iterdir()
    with lmdb.open(str(environment), max_dbs=3) as found:
        tables = {name: found.open_db(name.encode()) for name in ("sessions", "customers", "idle")}
        with found.begin() as transaction:
            return {name: transaction.stat(table)["entries"] for name, table in tables.items()}


def test_sessions_that_are_over_and_those_beyond_the_most_leave_nothing(
    memory: SessionMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        memory.remember(f"V{number}", f"C{number}", [view("p1")], NOW + number)
    later = NOW + INACTIVITY_SECONDS + 100
    for number in range(3):  # each removes more than it adds
        memory.remember(f"W{number}", None, [view("p2")], later)
    assert entries(memory, tmp_path) == {"sessions": 3, "customers": 0, "idle": 3}
    monkeypatch.setattr(session_memory, "MOST_SESSIONS", 2)
    memory.remember("W9", "C9", [view("p3")], later + 1)
    assert entries(memory, tmp_path) == {"sessions": 2, "customers": 1, "idle": 2}
    assert products(memory.recall("W9", None, later + 1)) == ["p3"]


WRITER = """
import sys, time
from pathlib import Path
from customer360.services.session_memory import SessionEvent, SessionMemory
memory = SessionMemory(Path(sys.argv[1]))
for number in range(1_000_000):
    memory.remember(sys.argv[2], "C1", [SessionEvent("view_item", float(number), str(number))], 1_777_600_000.0)
    print(number, flush=True)
"""


def test_what_a_killed_process_had_written_stays_and_blocks_nobody(memory: SessionMemory, tmp_path: Path) -> None:
    for visitor in ("V1", "V3", "V4"):
        command = [sys.executable, "-c", WRITER, str(tmp_path), visitor]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:  # both processes write, until one is killed at its work
                last = int(line)
                memory.remember("V2", None, [view(f"own{last}", last)], NOW)
                if last >= 200:
                    writer.send_signal(signal.SIGKILL)
                    break
            last = max([last, *(int(line) for line in writer.stdout.read().split())])
        found = [int(product or -1) for product in products(memory.recall(visitor, None, NOW))]
        assert last in found
        assert found == list(range(found[-1] - MOST_EVENTS + 1, found[-1] + 1))
        memory.remember("V2", None, [view("after", 1_000)], NOW)
        assert products(memory.recall("V2", None, NOW))[-1] == "after"


def test_after_a_reboot_the_memory_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SessionMemory(tmp_path)
    memory.remember("V1", None, [view("p1")], NOW)
    memory.close()
    boot = tmp_path / "boot_id"
    boot.write_text("another", encoding="ascii")
    monkeypatch.setattr(session_memory, "BOOT_ID", boot)
    memory = SessionMemory(tmp_path)
    assert memory.recall("V1", None, NOW) is None
    memory.close()


def test_where_nothing_can_be_written_the_log_says_so(
    memory: SessionMemory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_memory, "MAP_SIZE", 1 << 17)
    for number in range(100):
        memory.remember(f"V{number}", None, [view("x" * 4_000)], NOW)
    assert "not remembered before their slice" in caplog.text
    assert products(memory.recall("V0", None, NOW)) == ["x" * 4_000]
    assert memory.recall("V99", None, NOW) is None
