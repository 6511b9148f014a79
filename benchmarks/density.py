"""Features on 60 days of history at the reference density, more than a billion events before aggregation.

``python -m benchmarks.density 5`` makes 5 days. The history is made at slice grain (``dense``); then a slice of 201,000 events
is landed and run as the daemon runs it. ``features_*`` are the models from slice grain to the features of all windows, each run
once more by itself, ``<model>_cpu_seconds`` their parts.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.compiled import write_compiled
from benchmarks.dense import densify
from benchmarks.measuring import output_of, write_result
from benchmarks.prepared import prepared
from benchmarks.slice import EVENTS
from customer360.simulation import Simulation

DAYS = 60
FEATURES = (
    "int_visitor_customers",
    "int_known_customers",
    "int_product_windows",
    "int_activity_windows",
    "int_last_activity",
    "int_purchase_lines",
    "int_recent_orders",
    "int_customer_rfm",
    "customer_category_activity",
    "customer_product_activity",
    "customer_offer_activity",
    "customer_features",
)


def main() -> None:
    """Make the history, run the slice, then the feature models."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else DAYS
    with prepared(Simulation()) as place:
        started = time.monotonic()
        made = densify(place.settings, days)
        making = time.monotonic() - started
        events = place.land(Simulation(events_per_slice=EVENTS, flat=True))
        slice_run = place.slice()
        compiled = place.root.with_name("compiled")
        write_compiled(place.settings, compiled)
        times: dict[str, list[float]] = json.loads(output_of("benchmarks.model_times", str(compiled), *FEATURES))
        write_result(
            "density",
            {
                "days": days,
                "events": made.events,
                "activity_rows": made.activity_rows,
                "offer_rows": made.offer_rows,
                "link_rows": made.link_rows,
                "making_wall_seconds": making,
                "warehouse_mib": place.settings.place.warehouse.stat().st_size / 2**20,
                "slice_events": events,
                **slice_run.figures(),
                "features_wall_seconds": sum(wall for wall, _ in times.values()),
                "features_cpu_seconds": sum(cpu for _, cpu in times.values()),
                **{f"{model}_cpu_seconds": cpu for model, (_, cpu) in times.items()},
            },
        )


if __name__ == "__main__":
    main()
