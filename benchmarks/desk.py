"""Server times of every page of the desk at a million customers and 8 users, and of what people wait for at 60,000.

``python -m benchmarks.desk [customers]``. A shop of ``SIMULATED`` customers runs through its jobs (``BENCH_PLACE`` names a
folder that keeps it, such as a demo's DATA_DIR). Its published tables, plans, ledger and reference tables get every customer
over and over, first up to ``PLANNED``: there a campaign is planned again ("what if") and approved in the desk; then up to all.
``customer360 desk serve`` with ``WORKERS`` workers answers ``USERS`` users, each of whom asks for every page in an order of
their own, ``ROUNDS`` times without a pause (no round begins after ``ROUNDS_SECONDS``), for customers, audiences and filters
drawn at random. Times are those of the users, on the same machine; ``page_cpu_ms`` is the servers' processor time an answer.
Audiences are counted beside bare DuckDB.
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import duckdb

from benchmarks.enlarged import OWN_IDS
from benchmarks.measuring import write_result
from benchmarks.publish import SIMULATED, make_place
from customer360.audiences.sizes import audience_size
from customer360.campaigns.ledger import ledger_parts
from customer360.campaigns.overview import campaign_overviews
from customer360.lake.engine import column_types, connect, file_list, literal, quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.publishing import TableSource, publish
from customer360.lake.publishing.version import parquet_files, parquet_query
from customer360.lake.reference.reference_history import history_file, reference_relation
from customer360.mail.message import load_messages
from customer360.services.desk.configuration import DeskSettings
from customer360.services.desk.server import set_up
from customer360.settings import REPOSITORY, Settings
from customer360.snapshot import Snapshot, open_snapshot
from tests.desk.desk_server import desk_server

CUSTOMERS, PLANNED = 1_020_000, 60_000  # multiples of each other, and of what is simulated
USERS, ROUNDS, WORKERS, TURNS = 8, 10, 2, 5
LONGEST_SECONDS, ROUNDS_SECONDS = 600, 400
STARTED = time.monotonic()
UNREAD = {  # large tables that no page reads
    *("monitoring_activity", "monitoring_customers", "training_features", "customer_product_activity", "conversion_paths"),
    *("customer_offer_activity", "customer_scores_daily", "order_amounts", "offer_inputs", "visitor_customers", "sessions"),
    *("customer_attributes", "customer_consents"),
}
# Dagster's answers, a file, what is timed by itself, and answers to a proxy.
NOT_MEASURED = {"checks", "run", "model_plot", "campaign_what_if", "may_view", "may_operate"}
# In the audience language, and as SQL over the columns of the files that ``_bare`` joins.
AUDIENCES = {
    "everyone": "true",
    "segment in ('Champions', 'Loyal') and recency_days < 60": "segment in ('Champions', 'Loyal') and recency_days < 60",
    "age >= 25 and not (churn_probability > 0.8) and monetary > 50": (
        "age >= 25 and not (churn_probability > .8) and monetary > 50"
    ),
    "views_photography_30d >= 20 or probability_photography >= 0.3": "views_photography_30d >= 20 or photography >= .3",
}


def main() -> None:
    """Make the place, measure, write the figures."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else CUSTOMERS
    with tempfile.TemporaryDirectory(prefix="customer360-desk-", dir=os.environ.get("BENCH_DIR")) as scratch:
        root, planned, simulated = Path(scratch) / "place", min(PLANNED, customers), min(SIMULATED, customers)
        kept, log = Path(os.environ.get("BENCH_PLACE", Path(scratch) / "kept")), Path(scratch) / "desk.log"
        if not kept.exists():
            progress(f"a shop of {simulated:,} simulated customers runs through its jobs")
            make_place(kept, simulated)
        shutil.copytree(kept, root, symlinks=True, ignore=shutil.ignore_patterns("warehouse.duckdb"))
        settings = Settings.load(REPOSITORY / "shops" / "synthetic", root)
        progress(f"its published tables are made those of {planned:,} customers")
        enlarge_published(settings, planned // simulated)
        progress("a campaign is planned again, and approved")
        figures: dict[str, float | dict[str, float]] = {"customers": float(customers), "planned_customers": float(planned)}
        figures |= decided(settings, log)
        progress(f"its published tables are made those of {customers:,} customers")
        enlarge_published(settings, customers // planned)
        progress("audiences are counted")
        figures |= audience_figures(settings)
        progress(f"{USERS} users ask for every page")
        write_result("desk", {**figures, **pages(settings, log)})


def progress(step: str) -> None:
    """Print what begins, with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:5.0f} s: {step}", flush=True)


class User:
    """A browser that is signed in."""

    def __init__(self, address: str, name: str, password: str) -> None:
        self.address, self.cookies = address, CookieJar()
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.cookies))
        self.get("/login/")
        self.post("/login/", username=name, password=password)

    def get(self, path: str) -> str:
        """The page; raises ``HTTPError`` for any answer that is none."""
        with self._opener.open(self.address + path, timeout=LONGEST_SECONDS) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **fields: str) -> str:
        """The page that a form leads to."""
        token = next(str(cookie.value) for cookie in self.cookies if cookie.name.endswith("csrf"))
        body = urlencode({**fields, "csrfmiddlewaretoken": token}).encode()
        with self._opener.open(self.address + path, body, timeout=LONGEST_SECONDS) as answer:
            return str(answer.read().decode())


@contextmanager
def served(settings: Settings, log: Path, users: int) -> Iterator[list[User]]:
    """The desk, with so many browsers of an account that may do all, made for this server."""
    with desk_server(settings, log, workers=str(WORKERS)) as (address, commands):
        name = f"user-{time.monotonic_ns()}"
        password = commands.add(name, "admin")
        yield [User(address, name, password) for _ in range(users)]


def decided(settings: Settings, log: Path) -> dict[str, float]:
    """Seconds of a "what if" on the campaign of most contacts, of a second one, and of its approval."""
    drafts = {each.campaign_id: each.draft for each in campaign_overviews(settings) if each.draft is not None}
    campaign, draft = max(drafts.items(), key=lambda pair: pair[1].decisions.get("contact", 0))
    with served(settings, log, 1) as (user,):
        first = _seconds(lambda: user.get(f"/campaigns/{campaign}/what-if/?budget=100"))
        again = _seconds(lambda: user.get(f"/campaigns/{campaign}/what-if/?budget=200"))
        form = {"version": draft.plan_version, "reason": "benchmark", "without_evidence": "on"}
        approval = _seconds(lambda: user.post(f"/campaigns/{campaign}/approve/", **form))
    versions = {each.campaign_id: each.versions for each in campaign_overviews(settings)}[campaign]
    if not versions:
        raise RuntimeError(f"{draft.plan_version} is not approved; see {log}")
    return {
        "what_if_seconds": first,
        "what_if_again_seconds": again,
        "approve_seconds": approval,
        "approved_contacts": versions[0].contacts,
    }


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def enlarge_published(settings: Settings, times: int) -> None:
    """Give the place every customer ``times`` over: published tables, plans, ledger and the reference tables of people.

    Tables of ``UNREAD`` stay as they are. A table in the order of its customers stays so.
    """
    if times == 1:
        return
    place = settings.place
    with open_snapshot(settings) as snapshot, connect(place.scratch) as connection:
        plans = [*place.plans.glob("*/campaign_plan.parquet"), *(place.campaigns / "plans").glob("*/*.parquet")]
        histories = [history_file(place, name) for name in ("customers", "suppressions")]
        for file in [*ledger_parts(place), *plans, *filter(Path.exists, histories)]:
            target = file.with_suffix(".next")
            rows = enlarged(connection, parquet_query([file]), times)
            connection.execute(f"copy ({rows}) to {literal(str(target))} (format parquet, compression zstd)")
            target.replace(file)
        read = snapshot.version.publication.rows.keys() - UNREAD
        found = {name: parquet_query(parquet_files(snapshot.version.folder, name)) for name in read}
        large = {name: enlarged(connection, rows, times) for name, rows in found.items()}
        tables = {name: TableSource(rows) for name, rows in large.items() if rows != found[name]}
        if parts := ledger_parts(place):
            tables["campaign_ledger"] = TableSource(files={part.name: part for part in parts})
        publish(place, connection, tables, snapshot.as_of, datetime.now(UTC))


def enlarged(connection: duckdb.DuckDBPyConnection, query: str, times: int) -> str:
    """SQL of a query's rows for each of ``times`` customers in place of one; the query itself where it has no customers."""
    own = sorted(column_types(connection, f"({query})").keys() & {*OWN_IDS, "entry_id"})
    if not {"customer_id", "visitor_id"} & {*own}:
        return query
    replicas = [", ".join(f"'{number:03}-' || {quoted(name)} as {quoted(name)}" for name in own) for number in range(times)]
    return " union all ".join(f"select * replace ({replica}) from ({query})" for replica in replicas)


@dataclass
class Visit:
    """Addresses of pages, for what a user draws at random."""

    settings: Settings
    customers: list[str]
    campaigns: list[str]
    segments: list[str]
    columns: list[str]
    cards: list[str]
    messages: list[str]
    chance: random.Random = field(default_factory=random.Random)

    @classmethod
    def of(cls, settings: Settings) -> Visit:
        """What there is in the published version."""
        with open_snapshot(settings) as snapshot:
            query = "select customer_id from customer_profiles using sample 2000 rows (reservoir, 7)"
            customers = [str(name) for name in snapshot.read(query)["customer_id"]]
            segments = [str(name) for name in snapshot.read("select distinct segment from rfm_segments")["segment"]]
        campaigns = [each.campaign_id for each in campaign_overviews(settings)]
        cards = [f"{card.parent.parent.name}/{card.parent.name}" for card in settings.place.reports.glob("models/*/*/card.md")]
        messages = [message.name for message in load_messages(settings)[0]]
        return cls(settings, customers, campaigns, segments, ["segment", "monetary", "age", "recency_days"], cards, messages)

    def audience(self) -> str:
        """An audience of one or two conditions."""
        conditions = (
            f"recency_days < {self.chance.randint(5, 90)}",
            f"segment = '{self.chance.choice(self.segments)}'",
            f"monetary > {self.chance.randint(1, 300)}",
            f"age >= {self.chance.randint(18, 70)}",
            f"churn_probability < {self.chance.randint(1, 9) / 10}",
            f"probability_photography >= {self.chance.randint(1, 30) / 100}",
        )
        return f" {self.chance.choice(('and', 'or'))} ".join(self.chance.sample(conditions, self.chance.randint(1, 2)))

    def addresses(self) -> dict[str, str]:
        """Every page that is measured by its name, each for something else."""
        chance, customer = self.chance, self.chance.choice(self.customers)
        campaign, category = chance.choice(self.campaigns), chance.choice(list(self.settings.shop.category_ids))
        days, message = chance.choice((7, 30, 90)), chance.choice(self.messages)
        return {
            "today": "/",
            "customers": f"/customers/?q={quote(customer[: chance.randint(3, len(customer))])}",
            "customer": f"/customers/{quote(customer)}/",
            "audiences": f"/audiences/?{urlencode({'text': self.audience()})}",
            "audience_column": f"/audiences/columns/{chance.choice(self.columns)}/",
            "audience_overlap": f"/audiences/overlap/?{urlencode({'first': self.audience(), 'second': self.audience()})}",
            "campaigns": "/campaigns/",
            "campaign": f"/campaigns/{campaign}/",
            "campaign_results": f"/campaigns/{campaign}/results/",
            "campaign_new": "/campaign-new/",
            "campaign_edit": f"/campaigns/{campaign}/edit/",
            "email": f"/email/?days={days}",
            "messages": "/messages/",
            "message": f"/messages/{message}/",
            "message_preview": f"/messages/{message}/preview/",
            "why": f"/why/?{urlencode({'customer': customer, 'campaign': campaign})}",
            "segments": f"/segments/?{urlencode({'segment': chance.choice(self.segments)})}",
            "activity": f"/activity/?{urlencode({'days': days, 'category': category})}",
            "offers": f"/offers/?{urlencode({'days': days, 'customer': customer})}",
            "recommendations": f"/recommendations/?{urlencode({'customer': customer})}",
            "reconciliation": "/reconciliation/",
            "models": f"/models/?days={days}",
            "model_card": f"/models/{chance.choice(self.cards)}/",
            "audit": "/audit/",
            "accounts": "/accounts/",
            "password": "/password/",
        }


def pages(settings: Settings, log: Path) -> dict[str, float | dict[str, float]]:
    """The 95th percentile (ms) of each page and of the slowest one, the slowest first answer, and answers that failed."""
    visit = Visit.of(settings)
    with served(settings, log, USERS) as users, ThreadPoolExecutor(USERS) as threads:
        _require_every_page(settings, visit.addresses().keys())
        first = _round(users[0], visit, random.Random(0))  # noqa: S311  an order of pages, no secret
        progress(f"each page was answered once; {ROUNDS} rounds follow")
        began = _cpu_seconds_below(os.getpid())
        tasks = [threads.submit(_rounds, user, visit, seed) for seed, user in enumerate(users, 1)]
        rounds = [answered for task in tasks for answered in task.result()]
        used = _cpu_seconds_below(os.getpid()) - began
    by_page = {name: [answers[name] for answers in rounds] for name in first}
    p95 = {name: _percentile([1000 * value for value in times if value is not None]) for name, times in by_page.items()}
    slowest = {name: 1000 * seconds for name, seconds in first.items() if seconds is not None}
    return {
        "page_p95_ms": max(p95.values()),
        "first_page_ms": max(slowest.values()),
        "errors": float(sum(value is None for answers in [first, *rounds] for value in answers.values())),
        "answers": float(sum(map(len, rounds))),
        "page_cpu_ms": 1000 * used / sum(map(len, rounds)),
        "p95_ms": p95,
        "first_ms": slowest,
    }


def _require_every_page(settings: Settings, measured: Collection[str]) -> None:
    """Raises ``RuntimeError`` where the desk has a page that is not measured."""
    set_up(settings, DeskSettings())
    pages = importlib.import_module("customer360.services.desk.access").PAGES
    missing = {name for name, page in pages.items() if "GET" in page.methods} - {*measured} - NOT_MEASURED
    if missing:
        raise RuntimeError(f"add an address of {', '.join(sorted(missing))} to Visit.addresses")


def _cpu_seconds_below(process: int) -> float:
    """Processor seconds of all processes that this process started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    times = [Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13] for child in children]
    own = sum(int(ticks) for pair in times for ticks in pair) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu_seconds_below(int(child)) for child in children)


def _rounds(user: User, visit: Visit, seed: int) -> list[dict[str, float | None]]:
    chance, end = random.Random(seed), time.monotonic() + ROUNDS_SECONDS  # noqa: S311  an order of pages, no secret
    return [_round(user, visit, chance) for _ in range(ROUNDS) if time.monotonic() < end]


def _round(user: User, visit: Visit, chance: random.Random) -> dict[str, float | None]:
    """Seconds of each page, in an order of the user's own; None where it failed."""
    addresses = list(Visit(**{**vars(visit), "chance": chance}).addresses().items())
    chance.shuffle(addresses)
    found: dict[str, float | None] = {}
    for name, address in addresses:
        started = time.perf_counter()
        try:
            user.get(address)
            found[name] = time.perf_counter() - started
        except (HTTPError, OSError) as error:
            print(f"{address}: {error}", file=sys.stderr)
            found[name] = None
    return found


def _percentile(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else max(values, default=float("nan"))


def audience_figures(settings: Settings) -> dict[str, float]:
    """Milliseconds of both after a first turn, of which the slowest of ours is ``first_audience_ms``: it makes what is kept.

    Raises ``RuntimeError`` where they count differently.
    """
    seconds: dict[str, list[list[float]]] = {name: [[], []] for name in AUDIENCES}
    first = 0.0
    with open_snapshot(settings) as snapshot, duckdb.connect() as bare:
        bare.execute(f"set threads = {os.cpu_count()}")
        for turn in range(TURNS + 1):
            for text, filter_sql in AUDIENCES.items():
                started = time.perf_counter()
                size = audience_size(snapshot, text)
                ours = time.perf_counter() - started
                started = time.perf_counter()
                row = bare.execute(_bare(snapshot, filter_sql)).fetchone() or ()
                theirs = time.perf_counter() - started
                if (size.customers, *(reach.reachable for reach in size.channels)) != row[:1] + row[2:]:
                    raise RuntimeError(f"{text}: {size} is not {row}")
                first = max(first, ours) if not turn else first
                if turn:
                    seconds[text][0].append(ours)
                    seconds[text][1].append(theirs)
        customers = snapshot.version.publication.rows["customer_features"]
    medians = [[1_000 * statistics.median(times) for times in of] for of in seconds.values()]
    ours_ms, bare_ms = zip(*medians, strict=True)
    return {
        "customers": customers,
        "audience_ms": statistics.median(ours_ms),
        "first_audience_ms": 1_000 * first,
        "bare_audience_ms": statistics.median(bare_ms),
        "slowest_audience_ms": max(ours_ms),
        "bare_slowest_audience_ms": max(bare_ms),
    }


def _bare(snapshot: Snapshot, filter_sql: str) -> str:
    """Customers, expected spend, and who may be contacted by channel, by plain queries of the files."""
    folder, shop = snapshot.version.folder, snapshot.shop
    needs = {
        "rfm_segments": "segment" in filter_sql,
        "customer_value": True,
        "customer_scores": "photography >=" in filter_sql,
    }
    files = {name: f"read_parquet({file_list(parquet_files(folder, name))})" for name in ("customer_features", *needs)}
    for name, columns in (("rfm_segments", "segment"), ("customer_value", "expected_spend, churn_probability")):
        files[name] = f"(select customer_id, {columns} from {files[name]})"
    files["customer_scores"] = (
        f"(select customer_id, probability as photography from {files['customer_scores']} where category_id = 'photography')"
    )
    joins = " ".join(f"left join {files[name]} as {name} using (customer_id)" for name, needed in needs.items() if needed)
    contracts, place = reference_tables(shop), snapshot.place
    reference = {name: f"({reference_relation(place, contracts[name])})" for name in ("customers", "suppressions")}
    barred = ", ".join(f"bool_or(channel is null or channel = '{name}') as no_{name}" for name in shop.channels)
    reached = ", ".join(f"count(*) filter (consent_{name} and no_{name} is not true)" for name in shop.channels)
    return f"""
        select count(*), sum(expected_spend), {reached}
        from {files["customer_features"]} as features {joins}
        left join (select * exclude (age) from {reference["customers"]} where valid_to is null) as consents using (customer_id)
        left join (select customer_id, {barred} from {reference["suppressions"]} where valid_to is null group by 1) as barred
            using (customer_id)
        where {filter_sql}
    """


if __name__ == "__main__":
    main()
