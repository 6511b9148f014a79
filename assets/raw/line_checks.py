"""Checks of every load of click files: nothing is lost, and little is broken."""

import dagster as dg

from customer360.lake.raw.raw_clicks import SliceCounts

FEW = 0.05


def line_check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of an asset that loads click files."""
    return [
        dg.AssetCheckSpec(
            "lines_in_equal_lines_out",
            asset=key,
            description="Every line read is good, quarantined or a copy.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "few_lines_quarantined",
            asset=key,
            description=f"Warns when more than {FEW:.0%} of the lines break the contract.",
        ),
    ]


def line_check_results(counts: SliceCounts, key: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """What the counts say of a load; without lines there is no share."""
    out = counts.good + counts.quarantined + counts.duplicates
    share = counts.quarantined / counts.lines if counts.lines else None
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
            passed=share is None or share <= FEW,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"share": "none: no line was read" if share is None else share, "remedy": "customer360 quarantine list"},
        ),
    ]
