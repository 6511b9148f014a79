"""Landed click files to validated raw slices."""

import dagster as dg

from customer360.lake.raw_clicks import SliceCounts, write_raw_slice
from customer360.lake.slices import slice_start
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SLICES
from orchestration.resources import Platform

ISOLATE_TAG = "customer360/isolate"
NOTHING = SliceCounts(0, 0, 0, 0, 0)


@dg.asset(
    key=["raw", "clicks"],
    group_name=groups.RAW,
    kinds={"duckdb", "parquet"},
    owners=[DATA_TEAM],
    tags={"domain": "clicks", "personal_data": "yes"},
    partitions_def=SLICES,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[
        dg.AssetCheckSpec(
            "lines_in_equal_lines_out",
            asset=["raw", "clicks"],
            description="Every line read is good, quarantined or a copy.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "few_lines_quarantined",
            asset=["raw", "clicks"],
            description="Warns when more than 5% of the lines break the contract.",
        ),
    ],
)
def raw_clicks(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Clicks as they arrived in a slice, checked against the contract, without copies. One row per event.

    Lines that break a rule are in ``quarantine/clicks``, with file, line, column and reason.
    """
    settings = platform.settings()
    isolate = context.run.tags.get(ISOLATE_TAG) == "true"
    counts = NOTHING
    for key in context.partition_keys:
        counts += write_raw_slice(settings, slice_start(key), isolate)
        context.log.debug(f"slice {key}: {counts}")
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": counts.good,
            "files": counts.files,
            "lines": counts.lines,
            "good": counts.good,
            "quarantined": counts.quarantined,
            "duplicates": counts.duplicates,
            "slices": len(context.partition_keys),
        },
        check_results=check_results(counts, dg.AssetKey(["raw", "clicks"])),
    )


def check_results(counts: SliceCounts, key: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """What the counts say of a load."""
    out = counts.good + counts.quarantined + counts.duplicates
    share = counts.quarantined / counts.lines if counts.lines else 0.0
    return [
        dg.AssetCheckResult(
            check_name="lines_in_equal_lines_out",
            asset_key=key,
            passed=counts.lines == out and counts.duplicates >= 0,
            metadata={"lines": counts.lines, "good_quarantined_duplicates": out},
        ),
        dg.AssetCheckResult(
            check_name="few_lines_quarantined",
            asset_key=key,
            passed=share <= 0.05,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"share": share, "remedy": "customer360 quarantine list"},
        ),
    ]
