"""Scores and value of 1,000,000 customers and the reasons that a run refreshes, as a slice makes them: within 30 s and 6 GiB.

The champions and the features of 6,000 customers are those of the synthetic shop. The features are repeated under ids of their
own, since only scoring is measured. A process of its own serves them twice: at first there is nothing yet, then scores and
reasons of the slice before are replaced, as in every later slice. The slower one counts.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from benchmarks.measuring import run_module, write_result
from benchmarks.prepared import prepared
from customer360.lake.engine import literal
from customer360.lake.warehouse.warehouse import open_warehouse, warehouse_lock
from customer360.settings import REPOSITORY, Place, Settings
from customer360.simulation import Simulation
from ml.datasets.targets import MODELS
from ml.serving import serving
from ml.serving.customer_value import Serving
from ml.serving.serving_tables import Tables
from ml.versions.shop_models import servable_for_shop

SIMULATED, CUSTOMERS = 6_000, 1_000_000
GIB = 2**30
MOST_SECONDS, MOST_BYTES, CORES = 30, 6 * GIB, 2
MARK = "served"


def main() -> None:
    """Make the place, serve it in a process of its own, and write the figures. Fails where they are above the limits."""
    with prepared(Simulation(customers=SIMULATED)) as place:
        large = place.root.with_name("large")
        enlarge_features(place.settings.place, Place(root=large), CUSTOMERS)
        measured = run_module("benchmarks.scoring", str(place.root), str(large), mark=MARK)
    begun, *ends = measured.marks
    seconds = [later - earlier for earlier, later in zip([begun, *ends], ends, strict=False)]
    print(f"first slice {seconds[0]:.1f} s, next {seconds[1]:.1f} s, {measured.cpu_seconds:.1f} processor seconds in all")
    write_result("scoring", {"customers": CUSTOMERS, "wall_seconds": max(seconds), "peak_mib": measured.peak_mib})
    if max(seconds) > MOST_SECONDS or measured.peak_mib * 2**20 > MOST_BYTES:
        raise SystemExit(f"more than {MOST_SECONDS} s or {MOST_BYTES // GIB} GiB")


def enlarge_features(simulated: Place, large: Place, customers: int) -> None:
    """A warehouse in ``large`` with so many rows of features: those of ``simulated`` over and over, ids ending in a number."""
    with open_warehouse(large) as connection:
        connection.execute(
            f"""
            attach {literal(str(simulated.warehouse))} as simulated (read_only);
            create table marts.customer_features as
            select features.* replace (features.customer_id || '-' || replica as customer_id)
            from simulated.marts.customer_features as features
            cross join range(cast(ceil({customers} / (select count(*) from simulated.marts.customer_features)) as bigint))
                as replicas (replica)
            order by customer_id limit {customers};
            detach simulated
            """
        )


def serve_twice(champions: Path, large: Path) -> None:
    """What ``customer_scores`` does in a slice, on the warehouse in ``large``, with the champions of another place."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))
    settings = Settings.load(REPOSITORY / "shops" / "synthetic", champions)
    place = Place(root=large)
    print(MARK, flush=True)
    for _ in range(2):
        models = Serving(**{name: servable_for_shop(settings, name).loaded for name in MODELS})
        if None in (models.affinity, models.spend, models.churn):
            raise SystemExit(f"a model has no champion: {models}")
        with warehouse_lock(place, "benchmark"), open_warehouse(place) as connection:
            serving.serve(connection, models, settings.shop, Tables())
            customers, complete = serving.count_complete(connection, len(settings.shop.category_ids) + 1, Tables())
        print(MARK, flush=True)
        if not customers == complete == CUSTOMERS:
            raise SystemExit(f"{customers} customers, of whom {complete} have complete scores")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        serve_twice(Path(sys.argv[1]), Path(sys.argv[2]))
