"""The published version in the object store that shop.yaml names."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

import dagster as dg

from assets.predictions.training import MODEL_KEYS
from assets.publishing.published import TABLES
from customer360.lake.object_store import StoreError
from customer360.lake.publishing.store_publishing import readers_wait_long, upload_current
from customer360.settings import Place, Shop
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SHOP
from orchestration.resources import Platform

IN_STORE = dg.AssetKey(["publishing", "in_store"])
STORE_IS_UP_TO_DATE = "store_is_up_to_date"


def store_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The asset of the store that readers use; none where shop.yaml names no store to publish to."""
    storage = shop.object_storage
    if storage is None or storage.publish is None:
        return []

    @dg.asset(
        key=IN_STORE,
        deps=[
            ["publishing", "published"],
            *MODEL_KEYS,
            ["campaigns", "campaign_plan"],
            ["campaigns", "campaign_results"],
            ["monitoring", "drift_report"],
        ],
        group_name=groups.PUBLISHING,
        kinds={"s3", "parquet"},
        owners=[DATA_TEAM],
        tags=groups.tags("publishing", *(table.columns for table in TABLES.values())),
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                STORE_IS_UP_TO_DATE,
                asset=IN_STORE,
                description=(
                    "The store has the version that is published locally. Warns when it could not be brought there, and fails "
                    "when what readers have is over an hour old. The next run makes it good."
                ),
            )
        ],
    )
    def in_store(platform: Platform) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """The published version as objects below the URL of shop.yaml, swapped in by one small object: ``current.json``."""
        place = platform.settings().place
        try:
            upload = upload_current(place, storage, platform.now())
        except StoreError as error:
            yield _check(str(error), place, platform.now())
            return
        if upload is not None:
            metadata = {**asdict(upload), "url": dg.MetadataValue.text(upload.url)}
            yield dg.MaterializeResult(metadata=metadata)
        yield _check("", place, platform.now())

    return [in_store]


def _check(error: str, place: Place, now: datetime) -> dg.AssetCheckResult:
    """The local version is whole either way, so that a run which could not upload it is no failure."""
    late = bool(error) and readers_wait_long(place, now)
    return dg.AssetCheckResult(
        check_name=STORE_IS_UP_TO_DATE,
        asset_key=IN_STORE,
        passed=not error,
        severity=dg.AssetCheckSeverity.ERROR if late else dg.AssetCheckSeverity.WARN,
        description=error or None,
    )


STORE_ASSETS = store_assets(SHOP)
