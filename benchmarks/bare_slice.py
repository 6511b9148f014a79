"""The engine work of a slice in one bare script: the library's functions and dbt's compiled SQL, without Dagster and dbt.

``python -m benchmarks.bare_slice <folder>``: the folder holds the compiled SQL of a slice's models and ``order.json``, which
lists them in their order as (schema, name, column that says what an incremental model rewrites or null).
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from assets.publishing.customer_profiles import RELATIONS
from customer360.lake.publishing.profiles import profiles_query
from customer360.lake.publishing.publications import publish_warehouse
from customer360.lake.raw.raw_clicks import write_raw_slice
from customer360.lake.warehouse.slice_log import mark_transformed, plan_transform
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.offers.current import decide_everyone
from customer360.offers.landed import take_landed
from customer360.offers.outcomes import rebuild
from customer360.offers.policy import policy_of, read_state
from customer360.services.store.writing import refresh_store
from customer360.settings import Settings
from customer360.snapshot import open_snapshot
from ml.datasets.targets import MODELS
from ml.recommendations.cold_start import refresh_cold_start
from ml.serving.customer_value import Serving
from ml.serving.serving import serve
from ml.serving.serving_tables import Tables
from ml.versions.shop_models import servable_for_shop

REWRITTEN = {"slice": "ops.pending_slices", "event_slice": "intermediate.int_touched_event_slices"}


def main() -> None:
    """Transform, score and publish the first slice of the place that the environment names."""
    folder = Path(sys.argv[1])
    settings = Settings.from_environment()
    now = datetime.now(UTC)
    write_raw_slice(settings, settings.shop.slices_start)
    with open_warehouse(settings.place) as connection:
        plan_transform(connection, settings, now)
        for schema, name, rewritten in json.loads((folder / "order.json").read_text(encoding="utf-8")):
            build(connection, f"{schema}.{name}", (folder / f"{name}.sql").read_text(encoding="utf-8"), rewritten)
        mark_transformed(connection, now)
        publish_scored(connection, settings, now)
    if settings.shop.serving:
        with open_snapshot(settings) as snapshot:
            refresh_store(snapshot)


def build(connection: duckdb.DuckDBPyConnection, table: str, query: str, rewritten: str | None) -> None:
    """Make a table anew, or rewrite its slices."""
    if rewritten is None:
        connection.execute(f"create or replace table {table} as {query}")
        return
    connection.begin()
    connection.execute(f"create or replace temp table rewritten as {query}")
    slices = f"select {rewritten} from {REWRITTEN[rewritten]} union select {rewritten} from rewritten"  # some carry over
    connection.execute(f"delete from {table} where {rewritten} in ({slices})")
    connection.execute(f"insert into {table} by name from rewritten")
    connection.commit()


def publish_scored(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> None:
    """Score, decide offers, profile and publish."""
    shop = settings.shop
    serving = Serving(**{name: servable_for_shop(settings, name).loaded for name in MODELS})
    if serving.affinity is None:
        sys.exit("no champion")
    serve(connection, serving, shop, Tables())
    ((as_of,),) = connection.execute("select max(as_of) from ops.clock").fetchall()
    refresh_cold_start(connection, as_of)
    _, changed = take_landed(settings, as_of.replace(tzinfo=UTC), everything=False)
    rebuild(connection, settings, "bare", bool(changed))
    decide_everyone(connection, settings, policy_of(read_state(settings.place), shop.offers), as_of.replace(tzinfo=UTC))
    connection.execute(f"create or replace table publishing.customer_profiles as {profiles_query(shop, RELATIONS)}")
    publish_warehouse(connection, settings, now, {})


if __name__ == "__main__":
    main()
