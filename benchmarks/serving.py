"""The services' store and the API: a million customers built and refreshed, and profiles beside the same server's constant.

``python -m benchmarks.serving``. ``CUSTOMERS`` profiles and half as many visitors are published, the store is built, and then
refreshed twice with ``CHANGED`` changed rows. ``customer360 api serve`` with one worker answers load from wrk (Debian's
package) at 8 connections: random customers' profiles and ``/healthz``, a constant, in turns. The
ratios are medians of ``PAIRS`` pairs. Without wrk only the store is measured, and the reason is printed.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import duckdb

from benchmarks.measuring import write_result
from customer360.lake.engine import connect, literal
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.publishing import publish
from customer360.lake.reference.reference_history import history_file
from customer360.services.api.keys import add_key, keys_file
from customer360.services.store.layout import categories
from customer360.services.store.writing import Refresh, refresh_store
from customer360.settings import REPOSITORY, Settings, slug
from customer360.snapshot import open_snapshot

CUSTOMERS, CHANGED = 1_000_000, 40_000
PAIRS, SECONDS, CONNECTIONS = 5, 5, 8
AS_OF = datetime(2026, 5, 1, 10, tzinfo=UTC)
# wrk does the same work for either: it makes a path of a random number.
PATHS = {"profile": "/v1/customers/c%08d/profile", "constant": "/healthz?%08d"}
LOAD = """
math.randomseed(7)
request = function()
  return wrk.format("GET", string.format("{path}", math.random(0, {last})))
end
wrk.headers["Authorization"] = "Bearer {key}"
"""


def main() -> None:
    """Make the place, measure the store and then the server, write the figures."""
    with tempfile.TemporaryDirectory(prefix="customer360-bench-", dir=os.environ.get("BENCH_DIR")) as scratch:
        settings = Settings.load(REPOSITORY / "shops" / "synthetic", Path(scratch))
        figures: dict[str, float] = {"customers": CUSTOMERS, "changed": CHANGED}
        publish_customers(settings, 0)
        figures["publish_seconds"], built = timed_refresh(settings)
        figures["store_bytes"] = built.bytes
        times = []
        for turn in (1, 2):
            publish_customers(settings, turn)
            seconds, refreshed = timed_refresh(settings)
            if (refreshed.built_because, refreshed.changed) != ("", CHANGED):
                raise RuntimeError(f"not refreshed by the rows that changed: {refreshed}")
            times.append(seconds)
        figures["refresh_seconds"] = max(times)
        if shutil.which("wrk"):
            figures |= served(settings)
        else:
            print("the server is not measured: wrk is not installed (apt-get install wrk)")
        write_result("serving", figures)


def publish_customers(settings: Settings, turn: int) -> None:
    """Publish profiles of ``CUSTOMERS``, of whom ``CHANGED`` differ in each turn, and visitors of half of them."""
    shop = settings.shop
    chances = ", ".join(
        f"hash(i + {number} + if(i < {CHANGED}, {turn}, 0)) / 1.9e20 as probability_{slug(category)}"
        for number, category in enumerate(categories(shop))
    )
    own = "".join(f", null as {name}" for name in shop.attributes)
    profiles = f"""
        select format('c{{:08d}}', i) as customer_id, 'Champion' as segment, i % 300 as recency_days, i % 7 as frequency,
            (i % 1000) / 3 as monetary, 'fitness' as label, {chances}, '20260501T180000Z-1a2b3c4d' as model_version,
            .6::double as purchase_probability, i / 1000 as expected_spend, .1::double as churn_probability,
            'fitness' as top_category_id, '4 views of Fitness in 3 days' as reason_1,
            'bought Beauty 2 times in 30 days, 84.50 EUR' as reason_2, null::varchar as reason_3,
            timestamp '2026-05-01 09:00' as reasons_as_of, timestamp '2026-05-01 09:59' as last_activity_at, as_of{own}
        from range({CUSTOMERS}) as customers (i), (select timestamp '2026-05-01 10:00' as as_of)
        order by customer_id
    """
    visitors = f"""
        select format('v{{:08d}}', i) as visitor_id, format('c{{:08d}}', i) as customer_id
        from range({CUSTOMERS // 2}) as visitors (i)
    """
    with connect(settings.place.scratch) as connection:
        write_consents(connection, settings)
        tables = {"customer_profiles": profiles, "visitor_customers": visitors}
        publish(settings.place, connection, tables, AS_OF + turn * timedelta(minutes=15), datetime.now(UTC))


def write_consents(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """The reference table of customers, all of whom consent to personalisation."""
    file = history_file(settings.place, "customers")
    file.parent.mkdir(parents=True, exist_ok=True)
    given = {"customer_id": "format('c{:08d}', i)", "consent_personalisation": "true"}
    columns = ", ".join(
        f"{given.get(column.name, 'null')}::{column.type} as {column.name}"
        for column in reference_tables(settings.shop)["customers"].columns
    )
    rows = (
        f"select {columns}, timestamp '1970-01-01' as valid_from, null::timestamp as valid_to from range({CUSTOMERS}) as c (i)"
    )
    connection.execute(f"copy ({rows}) to {literal(str(file))} (format parquet)")


def timed_refresh(settings: Settings) -> tuple[float, Refresh]:
    """Wall seconds of a refresh of the store, and what it did."""
    began = time.monotonic()
    with open_snapshot(settings) as snapshot:
        done = refresh_store(snapshot)
    return time.monotonic() - began, done


def served(settings: Settings) -> dict[str, float]:
    """Requests a second and the 99th percentile (ms) of profiles and of the constant, their ratios, and the worker's memory."""
    key = add_key(keys_file(settings.place), "benchmark", ["profile"], datetime.now(UTC))
    scripts = {}
    for name, path in PATHS.items():
        scripts[name] = settings.place.root / f"{name}.lua"
        scripts[name].write_text(LOAD.format(path=path, last=CUSTOMERS - 1, key=key), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"PORT": port, "REQUESTS_PER_SECOND": 1e9, "BURST": 10**9}
    place = {"SHOP": str(settings.shop_folder), "DATA_DIR": str(settings.place.root)}
    environment = {**os.environ, **place, **{f"CUSTOMER360_API_{name}": str(value) for name, value in own.items()}}
    command = [sys.executable, "-m", "orchestration.cli", "api", "serve"]
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY) as server:  # noqa: S603  own module
        try:
            url = f"http://127.0.0.1:{port}"
            await_answer(f"{url}/readyz")
            load(url, scripts["profile"], 2)  # pages of the store come into memory
            pairs = [(load(url, scripts["profile"]), load(url, scripts["constant"])) for _ in range(PAIRS)]
        finally:
            server.terminate()
    profiles, constants = zip(*pairs, strict=True)
    return {
        "profiles_per_second": statistics.median(rate for rate, _, _ in profiles),
        "constants_per_second": statistics.median(rate for rate, _, _ in constants),
        "profile_ratio": statistics.median(own[0] / other[0] for own, other in pairs),
        "profile_p99_ms": statistics.median(p99 for _, p99, _ in profiles),
        "profile_p99_ratio": statistics.median(own[1] / other[1] for own, other in pairs),
        "failed_requests": sum(failed for _, _, failed in (*profiles, *constants)),
    }


def await_answer(url: str) -> None:
    """Wait until the server answers, at most a minute."""
    for _ in range(300):
        try:
            with urlopen(url) as answer:  # noqa: S310  own server
                answer.read()
        except (URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"{url} does not answer")


def load(url: str, script: Path, seconds: int = SECONDS) -> tuple[float, float, int]:
    """Requests a second, 99th percentile in ms, and failed requests under load from wrk."""
    options = ["--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--latency"]
    command = ["wrk", *options, "--script", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  Debian's wrk
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if rate is None or p99 is None:
        raise RuntimeError(f"wrk ended with: {done.stdout[-500:]} {done.stderr[-500:]}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    failed = int(wrong[1]) if wrong else 0
    failed += sum(int(count) for count in lost.groups()) if lost else 0
    return float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]], failed


if __name__ == "__main__":
    main()
