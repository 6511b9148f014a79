"""What the offers brought, and which policy they earn: made of the published decisions, so that it blocks no slice."""

from collections.abc import Iterator

import dagster as dg

from customer360.lake.publishing.publications import publish_files
from customer360.lake.publishing.tables import TABLES
from customer360.lake.warehouse.frames import write_parquet
from customer360.offers.policy import policy_of, read_state, write_state
from customer360.offers.thompson import NAME
from customer360.settings import Shop
from ml.effects.offer_results import RESULTS, VALUES, draw_values, offer_results
from ml.judging.plots import picture
from ml.markdown import picture_in_text, table
from orchestration import groups
from orchestration.owners import MARKETING_TEAM
from orchestration.partitions import SHOP
from orchestration.resources import Platform

RESULTS_KEY, VALUES_KEY = dg.AssetKey(["predictions", RESULTS]), dg.AssetKey(["predictions", VALUES])
CHECK = "log_can_tell_policies_apart"


def _spec(key: dg.AssetKey, name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=[["marts", "offer_decisions"], ["publishing", "published"]],
        group_name=groups.PREDICTIONS,
        kinds={"numpy"},
        owners=[MARKETING_TEAM],
        tags=groups.tags("offers", TABLES[name].columns),
        description=description,
    )


def offer_result_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of what offers brought; none where shop.yaml does not say ``serving: true``."""
    if not shop.serving:
        return []

    @dg.multi_asset(
        name=RESULTS,
        specs=[
            _spec(
                RESULTS_KEY,
                RESULTS,
                "What offers brought: decisions, shown, clicked, bought, revenue, and the lift over chance, with intervals. "
                "One row per offer, policy version, segment, basis and day.",
            ),
            _spec(
                VALUES_KEY,
                VALUES,
                "What each policy would bring by the logged decisions, and which one serves. One row per policy and estimator.",
            ),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=VALUES_KEY,
                description="Warns where decisions were logged, but too few to judge Thompson sampling, or with wrong odds.",
            )
        ],
    )
    def results(platform: Platform) -> Iterator[dg.MaterializeResult[None]]:
        """Thompson sampling is learned of all logged decisions, and serves once it beats the priority list on them."""
        settings = platform.settings()
        with platform.snapshot() as snapshot:
            found = offer_results(snapshot, read_state(settings.place), platform.now())
        write_parquet(settings.place.offers / f"{RESULTS}.parquet", found.results)
        write_parquet(settings.place.offers / f"{VALUES}.parquet", found.values)
        write_state(settings.place, found.state)
        publish_files(settings.place, platform.now())
        totals = found.results.groupby(["offer_id", "basis"])[["decisions", "shown", "clicked", "bought", "revenue"]].sum()
        yield dg.MaterializeResult(
            asset_key=RESULTS_KEY,
            metadata={"dagster/row_count": len(found.results), "totals": dg.MetadataValue.md(table(totals.reset_index()))},
        )
        policy = policy_of(found.state, settings.shop.offers)
        metadata: dict[str, dg.MetadataValue | int | str] = {
            "dagster/row_count": len(found.values),
            "serves": f"{policy.name}-{policy.version}",
            "verdict": found.state.verdict,
            "allowed_by_shop": settings.shop.offers.policy,
            "decisions": found.state.decisions,
        }
        if len(found.values):
            plot = picture(lambda axes: draw_values(axes, found.values))
            metadata["values"] = dg.MetadataValue.md(table(found.values.drop(columns=["overlap", "as_of"])))
            metadata["plot_values"] = dg.MetadataValue.md(picture_in_text("values", plot))
        judged = found.values[found.values["policy"] == NAME]
        yield dg.MaterializeResult(
            asset_key=VALUES_KEY,
            metadata=metadata,
            check_results=[
                dg.AssetCheckResult(
                    check_name=CHECK,
                    asset_key=VALUES_KEY,
                    passed=not found.state.decisions or (len(judged) > 0 and bool(judged["is_trusted"].all())),
                    severity=dg.AssetCheckSeverity.WARN,
                    description=found.state.verdict,
                )
            ],
        )

    return [results]


OFFER_RESULT_ASSETS = offer_result_assets(SHOP)
