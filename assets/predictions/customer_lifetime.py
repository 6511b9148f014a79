"""What customers will spend in a quarter and a year: made from the published version, so that it blocks no slice."""

from collections.abc import Iterator

import dagster as dg

from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from customer360.lake.slices import naive
from customer360.lake.warehouse.frames import write_parquet
from ml.judging.plots import picture
from ml.lifetime.customer_lifetime import BACKTEST, HORIZONS, TABLE, Lifetime, customer_lifetime
from ml.lifetime.histories import TABLE as ORDER_AMOUNTS
from ml.lifetime.judging import draw_total_ratios
from ml.markdown import picture_in_text, table
from orchestration import groups
from orchestration.owners import ML_TEAM
from orchestration.resources import Platform

KEY, BACKTEST_KEY = dg.AssetKey(["predictions", TABLE]), dg.AssetKey(["predictions", BACKTEST])
CHECK = "expected_totals_came_true"
NEAR = (0.9, 1.1)


def _spec(key: dg.AssetKey, name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=[["marts", ORDER_AMOUNTS], ["marts", "customer_features"], ["publishing", "published"]],
        group_name=groups.PREDICTIONS,
        kinds={"catboost", "duckdb"},
        owners=[ML_TEAM],
        tags=groups.tags("predictions", TABLES[name].columns),
        description=description,
    )


@dg.multi_asset(
    name=TABLE,
    specs=[
        _spec(KEY, TABLE, "What each customer spent and is expected to spend in 90 and 365 days. One row per known customer."),
        _spec(BACKTEST_KEY, BACKTEST, "The methods of customer_lifetime on the newest days. One row per horizon and method."),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset=BACKTEST_KEY,
            description=(
                "Warns where the method that serves would have expected less than .9 or more than 1.1 times what all customers "
                "spent in the days that judge."
            ),
        )
    ],
)
def lifetime(platform: Platform) -> Iterator[dg.MaterializeResult[None]]:
    """Judge the methods on the newest days, and forecast by the best; without history enough rows say why they are empty."""
    settings = platform.settings()
    found = Lifetime(
        TABLES[TABLE].empty(), TABLES[BACKTEST].empty(), dict.fromkeys(HORIZONS, f"{ORDER_AMOUNTS} is not published")
    )
    with platform.snapshot() as snapshot:
        if snapshot.has(ORDER_AMOUNTS) and snapshot.has("customer_features"):
            found = customer_lifetime(snapshot.connection, naive(snapshot.as_of), snapshot.shop.time_zone)
    for name, rows in ((TABLE, found.rows), (BACKTEST, found.backtest)):
        write_parquet(settings.place.lifetime / f"{name}.parquet", rows)
    publish_files(settings.place, platform.now())
    serving = found.backtest[found.backtest["is_serving"]]
    totals = found.rows[["spend_to_date", *(f"expected_spend_{days}d" for days in HORIZONS)]].sum()
    yield dg.MaterializeResult(
        asset_key=KEY,
        metadata={
            "dagster/row_count": len(found.rows),
            "customers_with_orders": int((found.rows["orders"] > 0).sum()),
            **{str(name): float(total) for name, total in totals.items()},
            "missing": "; ".join(f"{days} days: {reason}" for days, reason in found.missing.items()) or "none",
            "first_rows": dg.MetadataValue.md(table(found.rows.head(10))),
        },
    )
    plot = picture(lambda axes: draw_total_ratios(axes, found.backtest))
    yield dg.MaterializeResult(
        asset_key=BACKTEST_KEY,
        metadata={
            "dagster/row_count": len(found.backtest),
            "serves": "; ".join(f"{row.horizon_days} days: {row.reason}" for row in serving.itertuples()) or "nothing",
            "backtest": dg.MetadataValue.md(table(found.backtest.drop(columns=["reason", "as_of"]))),
            "plot_total_ratio": dg.MetadataValue.md(picture_in_text("expected over real spend", plot)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=CHECK,
                passed=bool(serving["total_ratio"].between(*NEAR).all()),
                severity=dg.AssetCheckSeverity.WARN,
                description="; ".join(f"{row.horizon_days} days: {row.total_ratio:.3f}" for row in serving.itertuples())
                or "nothing was judged",
            )
        ],
    )
