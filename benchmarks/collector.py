"""The collector: acknowledged events a second beside a bare append with fsync, and events lost when it is killed.

``python -m benchmarks.collector``. ``CONNECTIONS`` clients (wrk, Debian's package) send batches of ``BATCH`` events with ids of
their own to ``customer360 api serve`` with one worker, in turns with as many threads that append the same lines to one file,
each batch with an fsync of its own. The figures are medians of ``PAIRS`` pairs. Then the server and its worker are killed
``KILLS`` times (50) with SIGKILL under load, and started again: an acknowledged event that is in no slice of a minute, or in
two, is lost.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import yaml

from benchmarks.measuring import write_result
from benchmarks.serving import CONNECTIONS, SECONDS, Server, await_answer
from customer360.services.api.keys import add_key, keys_file
from customer360.services.spool import spool_folder
from customer360.settings import REPOSITORY, Settings
from tests.support.ports import free_port

BATCH, PAIRS = 20, 5
KILLS = int(os.environ.get("KILLS", "50"))
SENDERS, BATCHES_BEFORE_A_KILL = 4, 40
EVENT = (
    '{"event_id":"%s","event_name":"view_item","visitor_id":"v-%s","session_id":"s-1","product_id":"product-0042",'
    '"category_id":"fitness","page_url":"https://shop.example/products/0042","device":"mobile"}'
)
LOAD = """
local number = 0
request = function()
  number = number + 1
  local events = {{}}
  for part = 1, {batch} do
    events[part] = string.format('{event}', number .. "-" .. part, number % 1000)
  end
  return wrk.format("POST", "/v1/events", {{["Authorization"] = "Bearer {key}"}},
    '{{"events":[' .. table.concat(events, ",") .. "]}}")
end
"""


def main() -> None:
    """Measure both appends in turns, kill the collector, write the figures."""
    with tempfile.TemporaryDirectory(prefix="customer360-bench-", dir=os.environ.get("BENCH_DIR")) as scratch:
        settings = live_shop(Path(scratch))
        key = add_key(keys_file(settings.place), "benchmark", ["events"], datetime.now(UTC))
        figures: dict[str, float] = {"batch": BATCH, "connections": CONNECTIONS, "kills": KILLS}
        if shutil.which("wrk"):
            figures |= throughput(settings, key)
        else:
            print("the rate is not measured: wrk is not installed (apt-get install wrk)")
        figures |= killed(settings, key)
        write_result("collector", figures)


def live_shop(scratch: Path) -> Settings:
    """The synthetic shop as a live one with slices of a minute."""
    values = yaml.safe_load((REPOSITORY / "shops" / "synthetic" / "shop.yaml").read_text(encoding="utf-8"))
    values |= {"live": True, "slice_minutes": 1, "slices_start": datetime.now(UTC).replace(second=0, microsecond=0)}
    folder = scratch / "shop"
    folder.mkdir()
    (folder / "shop.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    settings = Settings.load(folder, scratch / "data")
    settings.place.landing.mkdir(parents=True)
    return settings


@contextmanager
def serving(settings: Settings, scripts: Mapping[str, Path]) -> Iterator[Server]:
    """``customer360 api serve``, the leader of a group of its own."""
    port = free_port()
    own = {"PORT": port, "REQUESTS_PER_SECOND": 1e9, "BURST": 10**9, "SPOOL_FREE_BYTES": 0}
    place = {"SHOP": str(settings.shop_folder), "DATA_DIR": str(settings.place.root)}
    environment = {**os.environ, **place, **{f"CUSTOMER360_API_{name}": str(value) for name, value in own.items()}}
    command = [sys.executable, "-m", "orchestration.cli", "api", "serve"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(  # noqa: S603  own module
        command, env=environment, cwd=REPOSITORY, start_new_session=True, stdout=quiet, stderr=quiet
    ) as process:
        try:
            await_answer(f"http://127.0.0.1:{port}/healthz")
            yield Server(port, process, scripts)
        finally:
            process.terminate()


def throughput(settings: Settings, key: str) -> dict[str, float]:
    """Acknowledged events a second of the collector and of the bare append, in turns, and their ratio."""
    script = settings.place.root / "load.lua"
    script.write_text(LOAD.format(batch=BATCH, event=EVENT, key=key), encoding="utf-8")
    with serving(settings, {"events": script}) as server:
        server.load("events")
        pairs = [(server.load("events"), bare_rate(settings)) for _ in range(PAIRS)]
    failed = sum(own.failed for own, _ in pairs)
    if failed:
        raise RuntimeError(f"{failed} requests failed")
    return {
        "events_per_second": statistics.median(own.rate * BATCH for own, _ in pairs),
        "bare_events_per_second": statistics.median(bare for _, bare in pairs),
        "ratio": statistics.median(own.rate * BATCH / bare for own, bare in pairs),
        "p99_ms": statistics.median(own.p99 for own, _ in pairs),
    }


def bare_rate(settings: Settings) -> float:
    """Events a second that ``CONNECTIONS`` threads append to one file, each batch with an fsync of its own."""
    lines = "".join(f"{EVENT % (f'{number:016d}', 7)}\n" for number in range(BATCH)).encode()
    path = settings.place.root / "bare.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    ends = time.monotonic() + SECONDS
    counts = [0] * CONNECTIONS

    def append(number: int) -> None:
        while time.monotonic() < ends:
            os.write(descriptor, lines)
            os.fdatasync(descriptor)
            counts[number] += BATCH

    run_threads([threading.Thread(target=append, args=(number,)) for number in range(CONNECTIONS)])
    os.close(descriptor)
    path.unlink()
    return sum(counts) / SECONDS


def killed(settings: Settings, key: str) -> dict[str, float]:
    """Acknowledged events, and how many of them are in no slice or in several after ``KILLS`` kills."""
    acknowledged: list[str] = []
    for turn in range(KILLS):
        with serving(settings, {}) as server:
            stop = threading.Event()
            before = len(acknowledged)
            senders = [
                threading.Thread(target=send, args=(server.port, key, f"{turn}-{number}", acknowledged, stop))
                for number in range(SENDERS)
            ]
            for sender in senders:
                sender.start()
            ends = time.monotonic() + 60
            while len(acknowledged) < before + BATCH * BATCHES_BEFORE_A_KILL:
                if time.monotonic() > ends:
                    raise RuntimeError(f"kill {turn}: {len(acknowledged) - before} events were acknowledged within a minute")
                time.sleep(0.01)
            os.killpg(server.process.pid, signal.SIGKILL)
            stop.set()
            for sender in senders:
                sender.join()
    with serving(settings, {}):
        pass
    left = [path.name for path in spool_folder(settings, "clicks").iterdir()]
    if left:
        raise RuntimeError(f"files were left in the spool: {left}")
    ids: Counter[str] = Counter()
    slices = set()
    for path in (settings.place.landing / "clicks").rglob("*.jsonl"):
        slices.add(path.parent)
        ids.update(msgspec.json.decode(line)["event_id"] for line in path.read_bytes().splitlines())
    wrong = sum(ids[event_id] != 1 for event_id in acknowledged)
    return {"acknowledged": len(acknowledged), "slices": len(slices), "lost": wrong}


def send(port: int, key: str, name: str, acknowledged: list[str], stop: threading.Event) -> None:
    """Send batches of new events until the connection ends, and note the ids of the acknowledged ones."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    number = 0
    try:
        while not stop.is_set():
            number += 1
            ids = [f"k{name}-{number}-{part}" for part in range(BATCH)]
            body = '{"events":[' + ",".join(EVENT % (event_id, 7) for event_id in ids) + "]}"
            connection.request("POST", "/v1/events", body, {"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK or msgspec.json.decode(content)["accepted"] != BATCH:
                print(f"answered with {answer.status}: {content[:300]!r}")
                return
            acknowledged += ids
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return  # it was killed: what it had not answered is not acknowledged
    finally:
        connection.close()


def run_threads(threads: list[threading.Thread]) -> None:
    """Start all and wait for all."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
