"""The audience builder's queries on a million customers, beside the same questions asked of the Parquet files by bare DuckDB.

``python -m benchmarks.audiences [customers]``. Customers are published with every feature, segments, values and scores of each
category; a third consents to each channel and 2% are suppressed. Each of ``AUDIENCES`` is counted ``TURNS`` times in turns by
``audience_size`` and by a query that a person would write. Figures are medians over all of them, and the slowest audience's.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from benchmarks.measuring import write_result
from customer360.audiences.sizes import audience_size
from customer360.features import feature_list, feature_type
from customer360.lake.engine import connect, file_list, literal, quoted
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.publishing.publishing import publish
from customer360.lake.publishing.version import parquet_files
from customer360.lake.reference.reference_history import history_file
from customer360.settings import NONE, REPOSITORY, Settings
from customer360.snapshot import Snapshot, open_snapshot

CUSTOMERS, TURNS = 1_000_000, 5
AS_OF = datetime(2026, 5, 1, 10, tzinfo=UTC)
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
    """Make the place, count the audiences, write the figures."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else CUSTOMERS
    with tempfile.TemporaryDirectory(prefix="customer360-audiences-", dir=os.environ.get("BENCH_DIR")) as folder:
        settings = Settings.load(REPOSITORY / "shops" / "synthetic", Path(folder))
        publish_customers(settings, customers)
        write_result("audiences", audience_figures(settings))


def audience_figures(settings: Settings) -> dict[str, float]:
    """Milliseconds of both, after a first turn that is not counted; raises ``RuntimeError`` where they count differently."""
    seconds: dict[str, list[list[float]]] = {name: [[], []] for name in AUDIENCES}
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
                if turn:
                    seconds[text][0].append(ours)
                    seconds[text][1].append(theirs)
        customers = snapshot.version.publication.rows["customer_features"]
    medians = [[1_000 * statistics.median(times) for times in of] for of in seconds.values()]
    ours_ms, bare_ms = zip(*medians, strict=True)
    return {
        "customers": customers,
        "audience_ms": statistics.median(ours_ms),
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
    files["customer_scores"] = (
        f"(select customer_id, probability as photography from {files['customer_scores']} where category_id = 'photography')"
    )
    joins = " ".join(f"left join {files[name]} as {name} using (customer_id)" for name, needed in needs.items() if needed)
    reference = {name: literal(str(history_file(snapshot.place, name))) for name in ("customers", "suppressions")}
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


def publish_customers(settings: Settings, customers: int) -> None:
    """Publish the tables that audiences read, and the reference tables beside them."""
    shop = settings.shop
    who, numbers = "format('c{:08d}', i) as customer_id", f"range({customers}) as customers (i)"
    features = [_feature(place, feature_type(shop, each), each.name) for place, each in enumerate(feature_list(shop))]
    categories = ", ".join(literal(name) for name in (*shop.category_ids, NONE))
    segments = "['Champions', 'Loyal', 'At Risk', 'Hibernating', 'Lost', 'New Customers', 'Promising', 'Need Attention']"
    segment = f"{segments}[(1 + hash(i) % 8)::bigint]"
    scores = [
        f"1 + hash(i + {place}) % 5 as {name}_score" for place, name in enumerate(("recency", "frequency", "monetary", "fm"))
    ]
    tables = {
        "customer_features": f"select {who}, {', '.join(features)} from {numbers} order by 1",
        "rfm_segments": f"select {who}, {segment} as segment, {', '.join(scores)} from {numbers} order by 1",
        "customer_value": f"select {who}, {_share(1)} as purchase_probability, 90 * {_share(2)} as expected_spend, "
        f"{_share(3)} as churn_probability from {numbers} order by 1",
        "customer_scores": f"select {who}, category_id, hash(i, category_id) / 1.8446744e19 as probability, "
        f"category_id = 'none' as is_label from {numbers}, unnest([{categories}]) as names (category_id) order by 1, 2",
    }
    with connect(settings.place.scratch) as connection:
        for name, values in _reference(settings, customers).items():
            file = history_file(settings.place, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(f"copy ({values}) to {literal(str(file))} (format parquet)")
        publish(settings.place, connection, tables, AS_OF, AS_OF)


def _feature(place: int, kind: str, name: str) -> str:
    value = f"hash(i + {place}) % 100" + (" < 30" if kind == "boolean" else "")
    return f"({value})::{kind.replace('string', 'varchar')} as {quoted(name)}"


def _share(seed: int) -> str:
    return f"(hash(i, {seed}) / 1.8446744e19)"


def _reference(settings: Settings, customers: int) -> dict[str, str]:
    """SQL of the histories of customers and suppressions."""
    contracts, valid = reference_tables(settings.shop), "timestamp '1970-01-01' as valid_from, null::timestamp as valid_to"
    given = {"customer_id": "format('c{:08d}', i)"}
    given |= {f"consent_{name}": f"hash(i, {name!r}) % 3 = 0" for name in settings.shop.channels}
    rows = {"customers": customers, "suppressions": customers // 50}
    found = {}
    for name, count in rows.items():
        columns = [f"{given.get(each.name, 'null')}::{each.type} as {quoted(each.name)}" for each in contracts[name].columns]
        found[name] = f"select {', '.join(columns)}, {valid} from range({count}) as c (i)"
    return found


if __name__ == "__main__":
    main()
