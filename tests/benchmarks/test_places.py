"""A benchmark's place is named in the environment before Dagster's definitions, which are of one shop, are imported."""

from __future__ import annotations

import subprocess
import sys

IMPORTED = """
import sys
import benchmarks.journey, benchmarks.purchases_only
print(*sorted({"orchestration.definitions", "orchestration.partitions"} & sys.modules.keys()))
"""


def test_benchmarks_of_other_shops_import_no_definitions_before_their_place_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
