"""The store that the services answer from, where shop.yaml says that the shop is served."""

from dataclasses import asdict

import dagster as dg

from assets.publishing.published import TABLES
from customer360.lake.landing.contracts import reference_tables
from customer360.services.store.writing import refresh_store
from customer360.settings import Shop
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SHOP
from orchestration.resources import Platform

PROFILE_STORE = dg.AssetKey(["publishing", "profile_store"])


def profile_store_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The asset of the store; none where shop.yaml does not say ``serving: true``."""
    if not shop.serving:
        return []

    @dg.asset(
        key=PROFILE_STORE,
        deps=[["publishing", "published"], ["raw", "customers"]],
        group_name=groups.PUBLISHING,
        kinds={"lmdb"},
        owners=[DATA_TEAM],
        tags=groups.tags("serving", TABLES["customer_profiles"].columns, reference_tables(shop)["customers"].columns),
    )
    def profile_store(platform: Platform) -> dg.MaterializeResult:
        """Profiles by customer, and customers by visitor where they consented: what `customer360 api` answers from.

        One write transaction with the rows that changed since the store's version.
        """
        with platform.snapshot() as snapshot:
            refresh = refresh_store(snapshot)
        counts = asdict(refresh)
        return dg.MaterializeResult(
            metadata={
                **{name: counts[name] for name in ("version", "changed", "removed", "bytes")},
                "as_of": str(refresh.as_of),
                "built_because": refresh.built_because or "only changed rows were written",
                "dagster/row_count": sum(refresh.rows.values()),
            }
        )

    return [profile_store]


PROFILE_STORE_ASSETS = profile_store_assets(SHOP)
