"""A slice made in a process of its own, so that its memory can be bounded and measured."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import duckdb

from customer360.lake.landing.checked_lines import BrokenFileError
from customer360.lake.raw.raw_clicks import write_raw_slice
from tests.safety.slices import NOON, settings_at


def main(root: str, megabytes: str) -> None:
    """Print the counts or the error, and the most memory that was used beyond that of the start, in megabytes.

    ``megabytes`` bounds the address space, where it is not 0.
    """
    settings = settings_at(Path(root))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if int(megabytes):
        limit = int(megabytes) * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    result: dict[str, object] = {}
    try:
        result["counts"] = vars(write_raw_slice(settings, NOON, isolate=True))
    except (BrokenFileError, MemoryError, duckdb.OutOfMemoryException) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    result["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
