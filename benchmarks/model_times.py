"""Seconds of each model of a slice, from the SQL that dbt compiled: ``python -m benchmarks.model_times <folder> [model ...]``.

The folder is as ``compiled.write_compiled`` makes it. Each model's query is run into a table as ``bare_slice`` does, on the
place that the environment names; without names, all in their order. Prints a line of JSON: model to wall and CPU seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.bare_slice import build
from customer360.lake.warehouse.warehouse import open_warehouse
from customer360.settings import Settings


def main() -> None:
    """Run and time the models."""
    folder, selected = Path(sys.argv[1]), set(sys.argv[2:])
    times: dict[str, tuple[float, float]] = {}
    with open_warehouse(Settings.from_environment().place) as connection:
        for schema, name, rewritten in json.loads((folder / "order.json").read_text(encoding="utf-8")):
            if not selected or name in selected:
                wall, cpu = time.monotonic(), time.process_time()
                build(connection, f"{schema}.{name}", (folder / f"{name}.sql").read_text(encoding="utf-8"), rewritten)
                times[name] = (time.monotonic() - wall, time.process_time() - cpu)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
