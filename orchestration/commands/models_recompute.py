"""``customer360 models recompute [--day DAY]``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout

from customer360.lake.slices import slice_key
from customer360.lake.warehouse.known_then import Exceptions, SnapshotError
from customer360.lake.warehouse.warehouse import WarehouseBusyError
from customer360.words import many
from ml.versions.model_store import ModelStoreError
from orchestration.console import WELL, WRONG, say, settings_of
from orchestration.recompute import Recomputed, recompute
from orchestration.runtime.dbt_run import DbtError

EXPECTED = (SnapshotError, ModelStoreError, WarehouseBusyError, DbtError)
SHOWN = 8


def run(options: argparse.Namespace) -> int:
    """Make a day's kept scores again and compare; 1 where they differ and nothing explains it."""
    with redirect_stdout(sys.stderr):  # dbt tells of every model that it builds
        recomputed = recompute(settings_of(options), options.day, "customer360 models recompute")
    say(*_lines(recomputed))
    return WELL if recomputed.comparison.is_equal or recomputed.exceptions else WRONG


def _lines(recomputed: Recomputed) -> Iterator[str]:
    snapshot, found = recomputed.snapshot, recomputed.comparison
    scored = f", made {snapshot.known.scored_at[:16].replace('T', ' ')} UTC" if snapshot.known else ""
    yield f"scores of   {snapshot.day}, as of {snapshot.as_of:%Y-%m-%d %H:%M} UTC{scored}"
    yield f"version     {snapshot.model_version}"
    yield f"equal       {many(found.equal, 'row')} of {len(snapshot.scores):,} (customer x category)"
    if not found.is_equal:
        yield f"different   {many(found.different, 'row')}, by {found.largest:.2g} at most"
        yield f"            {many(found.only_kept, 'row')} only kept, {many(found.only_recomputed, 'row')} only recomputed"
        yield f"            {many(len(found.customers), 'customer')}: {_some(found.customers)}"
    for text in _exceptions(recomputed.exceptions):
        yield from textwrap.wrap(text, 98, initial_indent="exception   ", subsequent_indent=" " * 12)
    if not found.is_equal and not recomputed.exceptions:
        yield "Nothing explains the difference: the slices, the reference tables and the models are as they were known then."


def _exceptions(exceptions: Exceptions) -> Iterator[str]:
    repaired = [slice_key(one.slice) for one in exceptions.slices if one.is_repair]
    written = [slice_key(one.slice) for one in exceptions.slices if not one.is_repair]
    if repaired:
        yield f"{many(len(repaired), 'slice')} repaired since: {_some(repaired)}"
    if written:
        yield f"{many(len(written), 'slice')} loaded since, or written again from the same files: {_some(written)}"
    for table in exceptions.tables:
        yield f"{table} was loaded again at the same moment of the shop's clock: its rows of then cannot be told apart"
    if exceptions.is_other_code:
        yield "the models' SQL or shop.yaml changed since"
    if exceptions.is_without_facts:
        yield "this file does not say what was known then: slices and reference tables are taken as of its moment"


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
