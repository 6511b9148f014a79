"""The services' store and the API: a million customers built, refreshed and served, beside the same server's constant.

``python -m benchmarks.serving [customers]``. A million customers are published with profiles, offer inputs and 20 ranked
products each, and half as many visitors; the store is built, and refreshed twice with ``CHANGED`` changed profiles and inputs.
``customer360 api serve`` answers load from wrk (Debian's package): random customers' profiles, recommendations and offers, and
``/healthz``, a constant, in turns. ``SESSIONS`` customers have a session of ``EVENTS`` events; ``session_offer`` is for these
alone. The ratios are medians of ``PAIRS`` pairs at 8 connections and one worker. Last, ``REFRESHES`` versions of a smaller shop
are published and taken over under load, while every answer is checked to be of one version. Without wrk only the store is
measured.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import duckdb
import pandas as pd

from benchmarks.measuring import progress, write_result
from customer360.lake.engine import connect, literal
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.publishing import TableSource, publish
from customer360.lake.reference.reference_history import history_file
from customer360.offers.customer import decode, encode
from customer360.offers.decisions import with_listed
from customer360.offers.inputs import read_contents
from customer360.services.api.keys import add_key, keys_file
from customer360.services.session_memory import SessionEvent, SessionMemory, session_folder
from customer360.services.store.tables import categories
from customer360.services.store.writing import Refresh, refresh_store
from customer360.settings import REPOSITORY, Settings, slug
from customer360.snapshot import open_snapshot
from ml.recommendations.sessions import fit_session_model, save, sessions_of
from tests.support.ports import free_port

CUSTOMERS, CHANGED, LISTED, PRODUCTS = 1_000_000, 40_000, 20, 2_000
SESSIONS, EVENTS = 20_000, 5  # sessions in memory, of as many customers, with events each
PAIRS, SECONDS, CONNECTIONS = 5, 3, 8
SHORT = 2  # seconds of a load that is no pair
REFRESHES, SMALLER = 100, 20_000
AS_OF = datetime(2026, 5, 1, 10, tzinfo=UTC)
# wrk does the same work for each: it makes a path of a random number.
PATHS = {
    "profile": "/v1/customers/c%08d/profile",
    "recommendations": "/v1/customers/c%08d/recommendations?n=10",
    "offer": "/v1/customers/c%08d/offer?page=home",
    "session_offer": "/v1/customers/c%08d/offer?page=home",
    "constant": "/healthz?%08d",
}
LOAD = """
math.randomseed(7)
request = function()
  return wrk.format("GET", string.format("{path}", math.random(0, {last})))
end
wrk.headers["Authorization"] = "Bearer {key}"
"""


@dataclass(frozen=True)
class Load:
    """Requests a second, 99th percentile (ms) and failed requests."""

    rate: float
    p99: float
    failed: int


def main() -> None:
    """Make the place, measure the store and then the server, write the figures."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else CUSTOMERS
    with tempfile.TemporaryDirectory(prefix="customer360-bench-", dir=os.environ.get("BENCH_DIR")) as scratch:
        place = Place(Path(scratch) / "large", customers)
        figures = measure_store(place)
        if shutil.which("wrk"):
            place.prepare_service()
            figures |= served(place)
            figures |= refreshed_under_load(Place(Path(scratch) / "small", SMALLER))
        else:
            print("the server is not measured: wrk is not installed (apt-get install wrk)")
        write_result("serving", figures)


class Place:
    """A shop of so many customers."""

    def __init__(self, root: Path, customers: int) -> None:
        self.settings = Settings.load(REPOSITORY / "shops" / "synthetic", root)
        self.customers = customers
        self.changed = min(CHANGED, customers // 10)
        root.mkdir()

    def publish(self, turn: int) -> None:
        """Publish version ``turn + 1``: other profiles and inputs of the first ``changed`` customers; recency is the turn."""
        settings, shop = self.settings, self.settings.shop
        changed = f"if(i < {self.changed}, {turn}, 0)"
        chances = ", ".join(
            f"hash(i + {number} + {changed}) / 1.9e20 as probability_{slug(category)}"
            for number, category in enumerate(categories(shop))
        )
        own = "".join(f", null as {name}" for name in shop.attributes)
        tastes = ",".join(f'"{category}":{{}}' for category in shop.category_ids)
        of_tastes = ", ".join(f"(hash(i + {n} + {changed}) % 1000) / 1000" for n in range(len(shop.category_ids)))
        liked = '[["p{}",0.21],["p{}",0.11],["p{}",0.05]]'
        of_liked = ", ".join(f"hash(i * 20 + {n}) % {PRODUCTS}" for n in range(3))
        ids, segment = "format('c{:08d}', i)", "if(i % 3 = 0, 'Champions', 'At Risk')"
        numbers = f"range({self.customers}) as customers (i)"
        tables: dict[str, str | TableSource] = {
            "customer_profiles": f"""
                select {ids} as customer_id, {segment} as segment, if(i < {self.changed}, {turn}, i % 300) as recency_days,
                    i % 7 as frequency, (i % 1000) / 3 as monetary, 'fitness' as label, {chances},
                    '20260501T180000Z-1a2b3c4d' as model_version, .6::double as purchase_probability,
                    i / 1000 as expected_spend, .1::double as churn_probability, 'fitness' as top_category_id,
                    '4 views of Fitness in 3 days' as reason_1, 'bought Beauty 2 times in 30 days, 84.50 EUR' as reason_2,
                    null::varchar as reason_3, timestamp '2026-05-01 09:00' as reasons_as_of,
                    timestamp '2026-05-01 09:59' as last_activity_at,
                    as_of{own}
                from {numbers}, (select timestamp '2026-05-01 10:00' as as_of) order by customer_id
            """,
            "offer_inputs": self._inputs(
                turn,
                f"""
                select {ids} as customer_id, i, format('{{{{"customer_id":"{{}}","segment":"{{}}","products":{liked},'
                    '"tastes":{{{{{tastes}}}}}}}}}', {ids}, {segment}, {of_liked}, {of_tastes}) as inputs
                from {numbers}
                """,
            ),
            "visitor_customers": TableSource(
                f"select format('v{{:08d}}', i) as visitor_id, {ids} as customer_id from range({self.customers // 2}) as v (i)",
                content="1",
            ),
            "product_affinity": TableSource(
                f"""
                select {ids} as customer_id, 'p' || hash(i * 20 + r) % {PRODUCTS} as product_id, r + 1 as rank,
                    .5 / (r + 2) as probability, 'you viewed this lately' as reason
                from {numbers}, range({LISTED}) as ranks (r) order by i, r
                """,
                content="1",
            ),
            **{name: TableSource(query, content="1") for name, query in catalogue(shop.category_ids).items()},
        }
        with connect(settings.place.scratch) as connection:
            if not turn:
                self._write_consents(connection)
            publish(settings.place, connection, tables, AS_OF + turn * timedelta(minutes=15), datetime.now(UTC))

    def _inputs(self, turn: int, query: str) -> str:
        """SQL of the inputs as ``current_offers`` writes them, with what the list chooses: of all once, then of the changed."""
        shop, first = self.settings.shop, self.settings.place.root / "inputs.parquet"
        file = first if not turn else first.with_name("inputs_changed.parquet")
        shelves = {name: f"({query})" for name, query in catalogue(shop.category_ids).items()}
        with connect(self.settings.place.scratch) as connection:
            contents = read_contents(
                connection, shop, offers=shelves["offers"], products=shelves["products"], activity=shelves["offer_activity"]
            )
            book = contents.book(AS_OF.astimezone(shop.zone).date(), shop.offers)

            def listed(inputs: str) -> str:
                return encode(with_listed(book, decode(inputs.encode()))).decode()

            connection.create_function("listed", listed, ["varchar"], "varchar")
            among = f"where i < {self.changed}" if turn else ""
            basis = literal(book.basis)
            made = f"select customer_id, listed(inputs) as inputs, {basis} as basis from ({query}) {among} order by customer_id"
            connection.execute(f"copy ({made}) to {literal(str(file))} (format parquet)")
        if not turn:
            return f"from read_parquet({literal(str(first))})"
        rows = f"from read_parquet({literal(str(file))}) union all from read_parquet({literal(str(first))})"
        return f"select * from ({rows} where customer_id >= 'c{self.changed:08d}') order by customer_id"

    def _write_consents(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The reference table of customers, all of whom consent to personalisation."""
        file = history_file(self.settings.place, "customers")
        file.parent.mkdir(parents=True, exist_ok=True)
        given = {"customer_id": "format('c{:08d}', i)", "consent_personalisation": "true"}
        columns = ", ".join(
            f"{given.get(column.name, 'null')}::{column.type} as {column.name}"
            for column in reference_tables(self.settings.shop)["customers"].columns
        )
        valid = "timestamp '1970-01-01' as valid_from, null::timestamp as valid_to"
        rows = f"select {columns}, {valid} from range({self.customers}) as c (i)"
        connection.execute(f"copy ({rows}) to {literal(str(file))} (format parquet)")

    def prepare_service(self) -> None:
        """The session model, and sessions of the first customers, in memory as the collector remembers them."""
        chance = random.Random(7)  # noqa: S311  steps of visitors, no secret
        steps = [(f"s{n}", f"p{(n * 37 + step * chance.randint(1, 9)) % PRODUCTS}") for n in range(5_000) for step in range(6)]
        events = pd.DataFrame(steps, columns=["session_id", "product_id"])
        events["happened_at"] = pd.date_range("2026-04-01", periods=len(events), freq="s")
        save(fit_session_model(sessions_of(events)), self.settings.place.recommendations / "session_model.npz")
        memory, now = SessionMemory(session_folder(self.settings.place)), time.time()
        for number in range(min(SESSIONS, self.customers)):
            viewed = [SessionEvent("view_item", now - n, f"p{chance.randrange(PRODUCTS)}") for n in range(EVENTS)]
            memory.remember(None, f"c{number:08d}", viewed, now + 1e5)  # the load may take its time
        memory.close()

    def refresh(self) -> Refresh:
        """Bring the store to the version."""
        with open_snapshot(self.settings) as snapshot:
            return refresh_store(snapshot)


def catalogue(category_ids: Sequence[str]) -> dict[str, str]:
    """Products with what is related, cold starts, and offers: three of the list, and one for the products of each category."""
    names = ", ".join(literal(name) for name in category_ids)
    category = f"([{names}])[1 + i % {len(category_ids)}]"
    rows = [("'o-champions'", "null", "'segment'", "'segments=Champions'", 1), ("'o-all'", "null", "'always'", "null", 9)]
    rows += [(f"'o-{name}'", literal(name), "'specific_products'", "null", 2) for name in category_ids]
    offers = ", ".join(f"({', '.join(map(str, row))})" for row in rows)
    return {
        "products": f"select 'p' || i as product_id, 'Product ' || i as name, {category} as category_id, "
        f"(5 + i % 90)::decimal(18, 2) as price, true as is_for_sale, null::double as stock from range({PRODUCTS}) as p (i)",
        "related_products": "select 'p' || i as product_id, 'p' || (i + r + 1) % 2000 as related_product_id, "
        "'also_viewed' as relation, r + 1 as rank, 1 / (r + 2) as score, 'viewed together' as reason "
        f"from range({PRODUCTS}) as p (i), range(10) as ranks (r)",
        "cold_start": "select 'all' as entry, 'p' || r as product_id, r + 1 as rank, 1 / (r + 9) as score, "
        f"'popular' as reason from range({LISTED}) as ranks (r)",
        "offers": "select offer_id, offer_id as name, null::varchar as product_ids, null::varchar as product_id, category_id, "
        "condition, parameters, priority, offer_id = 'o-all' as is_default, null::date as starts_on, null::date as ends_on, "
        "5 as most_shown_24h, null::bigint as most_shown_30d, null::bigint as stock, null::varchar as campaign_id "
        f"from (values {offers}) as offers (offer_id, category_id, condition, parameters, priority)",
        "offer_activity": "select null::timestamp as event_slice, null::varchar as offer_id, 0 as purchases where false",
    }


def measure_store(place: Place) -> dict[str, float]:
    """Wall and processor seconds of the build and of the slower of two refreshes, bytes on disk, and peak memory (MiB)."""
    figures: dict[str, float] = {"customers": place.customers, "changed": place.changed}
    progress(f"{place.customers:,} customers are published")
    place.publish(0)
    progress("the store is built")
    figures["publish_seconds"], figures["publish_cpu_seconds"], built = timed(place)
    figures["store_bytes"] = built.bytes
    times = []
    for turn in (1, 2):
        progress(f"refresh {turn} of 2")
        place.publish(turn)
        seconds, cpu_seconds, refreshed = timed(place)
        if (refreshed.built_because, refreshed.changed) != ("", 2 * place.changed):
            raise RuntimeError(f"not refreshed by the rows that changed: {refreshed}")
        times.append((seconds, cpu_seconds))
    figures["refresh_seconds"], figures["refresh_cpu_seconds"] = max(times)
    figures["store_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def timed(place: Place) -> tuple[float, float, Refresh]:
    """Wall and processor seconds of a refresh of the store, and what it did."""
    began, used = time.monotonic(), time.process_time()
    done = place.refresh()
    return time.monotonic() - began, time.process_time() - used, done


@dataclass(frozen=True)
class Server:
    """A server that runs: its port, its process, and wrk's script for each kind of request."""

    port: int
    process: subprocess.Popen[bytes]
    scripts: Mapping[str, Path]

    def load(self, kind: str, connections: int = CONNECTIONS, seconds: int = SECONDS) -> Load:
        """Load from wrk."""
        options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
        command = ["wrk", *options, "--script", str(self.scripts[kind]), f"http://127.0.0.1:{self.port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  Debian's wrk
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
        if rate is None or p99 is None:
            raise RuntimeError(f"wrk ended with: {done.stdout[-500:]} {done.stderr[-500:]}")
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
        lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
        failed = int(wrong[1]) if wrong else 0
        failed += sum(int(count) for count in lost.groups()) if lost else 0
        return Load(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]], failed)

    def worker_mib(self) -> float:
        """Memory of the largest worker that is its own (MiB): pages of the store are shared."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii").split()
        rollups = [Path(f"/proc/{child}/smaps_rollup").read_text(encoding="ascii") for child in children]
        private = [sum(int(kb) for kb in re.findall(r"Private_Dirty:\s+(\d+) kB", text)) for text in rollups]
        return max(private, default=0) / 1024


@contextmanager
def running(place: Place, workers: int) -> Iterator[Server]:
    """``customer360 api serve`` with so many workers and no limits of its own."""
    settings, port = place.settings, free_port()
    key = add_key(keys_file(settings.place), "benchmark", ["profile", "offers"], datetime.now(UTC))
    scripts = {kind: settings.place.root / f"{kind}.lua" for kind in PATHS}
    for kind, script in scripts.items():
        last = min(SESSIONS, place.customers) if kind == "session_offer" else place.customers
        script.write_text(LOAD.format(path=PATHS[kind], last=last - 1, key=key), encoding="utf-8")
    own = {"PORT": port, "WORKERS": workers, "REQUESTS_PER_SECOND": 1e9, "BURST": 10**9}
    paths = {"SHOP": str(settings.shop_folder), "DATA_DIR": str(settings.place.root)}
    environment = {**os.environ, **paths, **{f"CUSTOMER360_API_{name}": str(value) for name, value in own.items()}}
    command = [sys.executable, "-m", "orchestration.cli", "api", "serve"]
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY) as process:  # noqa: S603  own module
        try:
            await_answer(f"http://127.0.0.1:{port}/readyz")
            server = Server(port, process, scripts)
            progress(f"{workers} workers answer")
            for kind in PATHS:
                server.load(kind, seconds=SHORT)  # pages of the store come into memory
            yield server
        finally:
            process.terminate()


def served(place: Place) -> dict[str, float]:
    """Requests a second and 99th percentiles (ms) of each kind of request, their ratios to the constant's, and memory."""
    figures: dict[str, float] = {}
    failed = 0
    with running(place, 1) as server:
        turns = []
        for turn in range(PAIRS):
            turns.append({kind: server.load(kind) for kind in PATHS})
            progress(f"pair {turn + 1} of {PAIRS}: " + ", ".join(f"{k} {v.rate:,.0f}/s" for k, v in turns[-1].items()))
        for kind in PATHS:
            figures[f"{kind}_per_second"] = statistics.median(turn[kind].rate for turn in turns)
            figures[f"{kind}_p99_ms"] = statistics.median(turn[kind].p99 for turn in turns)
            if kind != "constant":
                figures[f"{kind}_ratio"] = statistics.median(turn[kind].rate / turn["constant"].rate for turn in turns)
                figures[f"{kind}_p99_ratio"] = statistics.median(turn[kind].p99 / turn["constant"].p99 for turn in turns)
        failed += sum(load.failed for turn in turns for load in turn.values())
        figures["worker_mib"] = server.worker_mib()
    for workers in (1, 2):
        with running(place, workers) as server:
            for connections in (1, CONNECTIONS, 32):
                if (workers, connections) == (1, CONNECTIONS):
                    continue
                for kind in PATHS:
                    load = server.load(kind, connections, SHORT)
                    name = f"{kind}_{workers}_workers_{connections}_connections"
                    figures |= {f"{name}_per_second": load.rate, f"{name}_p99_ms": load.p99}
                    failed += load.failed
    return figures | {"failed_requests": failed}


def refreshed_under_load(place: Place) -> dict[str, float]:
    """Answers that failed or were of two versions while ``REFRESHES`` versions were taken over under load."""
    place.publish(0)
    place.refresh()
    place.prepare_service()
    stop, loads, found = threading.Event(), list[Load](), list[tuple[int, int]]()
    with running(place, 2) as server:
        key = re.search(r"Bearer (\S+)\"", server.scripts["profile"].read_text(encoding="utf-8"))
        header = {"Authorization": f"Bearer {key[1]}"} if key else {}

        def keep_loading() -> None:
            while not stop.is_set():
                loads.extend(server.load(kind, 4, SHORT) for kind in ("profile", "offer"))

        def keep_checking() -> None:
            connection = HTTPConnection("127.0.0.1", server.port)
            number = 0
            while not stop.is_set():
                number = (number + 1) % place.changed
                connection.request("GET", f"/v1/customers/c{number:08d}/profile", headers=header)
                answer = json.loads(connection.getresponse().read())
                found.append((answer["version"], answer["recency_days"] + 1))

        threads = [threading.Thread(target=target) for target in (keep_loading, keep_checking)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(1, REFRESHES + 1):
                place.publish(turn)
                place.refresh()
                if turn % 10 == 0:
                    progress(f"version {turn} of {REFRESHES} under load")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    return {
        "refreshes_under_load": REFRESHES,
        "failed_under_refreshes": sum(load.failed for load in loads),
        "checked_answers": len(found),
        "versions_seen": len({version for version, _ in found}),
        "mixed_versions": sum(version != of_content for version, of_content in found),
    }


def await_answer(url: str) -> None:
    """Wait until the server answers, at most five minutes."""
    for _ in range(1500):
        try:
            with urlopen(url) as answer:  # noqa: S310  own server
                answer.read()
        except (URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"{url} does not answer")


if __name__ == "__main__":
    main()
