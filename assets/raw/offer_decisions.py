"""Decisions that the service logged, and what became of them: landed files to raw slices and the published table."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC

import dagster as dg

from assets.raw.line_checks import line_check_results, line_check_specs
from customer360.lake.engine import row_count
from customer360.lake.publishing.tables import TABLES
from customer360.offers.landed import take_landed
from customer360.offers.outcomes import NAME, TABLE, rebuild
from customer360.settings import Shop
from orchestration import groups
from orchestration.owners import DATA_TEAM, MARKETING_TEAM
from orchestration.partitions import SHOP, WAREHOUSE_POOL
from orchestration.resources import Platform

RAW, PUBLISHED = dg.AssetKey(["raw", NAME]), dg.AssetKey(["marts", NAME])
SLICE_JOB = "slice_job"


def offer_decision_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of the service's decisions; none where shop.yaml does not say ``serving: true``."""
    if not shop.serving:
        return []

    @dg.multi_asset(
        name=NAME,
        specs=[
            dg.AssetSpec(
                RAW,
                group_name=groups.RAW,
                kinds={"parquet"},
                owners=[DATA_TEAM],
                tags=groups.tags("offers", TABLES[NAME].columns),
                description=(
                    "Decisions of the service as they arrived, checked against their record, without copies. One row per "
                    "decision. Lines that break a rule are in quarantine/offer_decisions, with file, line, field and remedy."
                ),
            ),
            dg.AssetSpec(
                PUBLISHED,
                deps=[RAW, ["marts", "customer_offer_activity"]],
                group_name=groups.MARTS,
                kinds={"duckdb"},
                owners=[MARKETING_TEAM],
                tags=groups.tags("offers", TABLES[NAME].columns),
                description=(
                    "What the service offered in the last 90 days, to whom, why and with which probability, and whether it was "
                    "shown, clicked and bought. One row per decision."
                ),
            ),
        ],
        check_specs=line_check_specs(RAW),
        pool=WAREHOUSE_POOL,
    )
    def offer_decisions(
        context: dg.AssetExecutionContext, platform: Platform
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """One step for both, since most slices of most shops have nothing to do here.

        A slice looks at the folders of the last days, every other job at all of them.
        """
        settings = platform.settings()
        with platform.warehouse(f"run {context.run.run_id}") as connection:
            (last,) = connection.execute("select max(slice) from ops.clock").fetchone() or (None,)
            until = last.replace(tzinfo=UTC) if last else platform.shop_now()
            is_slice = context.run.job_name == SLICE_JOB
            counts, changed = take_landed(settings, until, everything=not is_slice)
            rebuild(connection, settings, context.run.run_id, bool(changed), anew=not is_slice)
            rows = row_count(connection, TABLE)
        yield dg.MaterializeResult(asset_key=RAW, metadata={**asdict(counts), "slices": len(changed)})
        yield from line_check_results(counts, RAW)
        yield dg.MaterializeResult(asset_key=PUBLISHED, metadata={"dagster/row_count": rows})

    return [offer_decisions]


OFFER_DECISION_ASSETS = offer_decision_assets(SHOP)
