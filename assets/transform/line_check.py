"""The check that tells how much of the revenue stands on lines whose identity is in doubt."""

import dagster as dg

from customer360.lake.warehouse.lines_in_doubt import lines_in_doubt
from orchestration.resources import Platform

ORDERS = ["marts", "customer_orders"]


@dg.asset_check(
    asset=ORDERS,
    description=(
        "Warns when purchase lines without line_no are alike in order, product and amount: each counts, though one may be "
        "another one sent again."
    ),
)
def no_line_in_doubt(context: dg.AssetCheckExecutionContext, platform: Platform) -> dg.AssetCheckResult:
    """Count such lines and add up their amounts, of events and reference rows."""
    with platform.warehouse(f"run {context.run.run_id}") as connection:
        found = lines_in_doubt(connection)
    return dg.AssetCheckResult(
        passed=not found.lines,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "lines_in_doubt": found.lines,
            "amount_in_doubt": float(found.amount),
            "remedy": (
                "number line_no within each order: lines with numbers of their own are certain, and a line that is sent again "
                "under its number counts once"
            ),
        },
    )
