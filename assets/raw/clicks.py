"""Landed click files to validated raw slices."""

from dataclasses import asdict

import dagster as dg

from assets.raw.line_checks import line_check_results, line_check_specs
from customer360 import progress
from customer360.lake.raw.raw_clicks import RAW_COLUMNS, SliceCounts, write_raw_slice
from customer360.lake.redaction import redacted_errors
from customer360.lake.slices import slice_start
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SLICES
from orchestration.resources import Platform

RAW_CLICKS = dg.AssetKey(["raw", "clicks"])
SEE_CHECK = "customer360 check says more of the files"
ISOLATE_TAG = "customer360/isolate"
SCHEMA = dg.TableSchema([dg.TableColumn(column.name, column.type, column.description) for column in RAW_COLUMNS])
NOTHING = SliceCounts(0, 0, 0, 0, 0)


@dg.asset(
    key=RAW_CLICKS,
    group_name=groups.RAW,
    kinds={"duckdb", "parquet"},
    owners=[DATA_TEAM],
    tags=groups.tags("clicks", RAW_COLUMNS),
    partitions_def=SLICES,
    metadata={"dagster/column_schema": SCHEMA},
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=line_check_specs(RAW_CLICKS),
)
def raw_clicks(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Clicks as they arrived in a slice, checked against the contract, without copies. One row per event.

    Lines that break a rule are in ``quarantine/clicks``, with file, line, column and reason.
    """
    settings = platform.settings()
    isolate = context.run.tags.get(ISOLATE_TAG) == "true"
    counts = NOTHING
    for number, key in enumerate(context.partition_keys):
        progress.report(number, len(context.partition_keys), "slices", key)
        with redacted_errors(SEE_CHECK):
            counts += write_raw_slice(settings, slice_start(key), isolate)
        context.log.debug(f"slice {key}: {counts}")
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": counts.good,
            **asdict(counts),
            "slices": len(context.partition_keys),
        },
        check_results=line_check_results(counts, RAW_CLICKS),
    )
