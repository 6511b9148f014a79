"""Copies of the published version for readers elsewhere: in an object store and in PostgreSQL, as shop.yaml says."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import dagster as dg

from assets.predictions.training import MODEL_KEYS
from assets.publishing.published import TABLES
from customer360.errors import OperatorError
from customer360.lake.publishing.copies import readers_wait_long
from customer360.lake.publishing.postgres_publishing import POSTGRES, copy_to_postgres
from customer360.lake.publishing.store_publishing import STORE, upload_current
from customer360.settings import Place, Shop
from orchestration import groups
from orchestration.owners import DATA_TEAM
from orchestration.partitions import SHOP
from orchestration.resources import Platform


def copy_assets(shop: Shop) -> list[dg.AssetsDefinition]:
    """The assets of the copies that shop.yaml asks for."""
    found = []
    if (storage := shop.object_storage) and storage.publish:
        description = (
            "The published version as objects below the URL of shop.yaml, swapped in by one small one: `current.json`."
        )
        found.append(
            _copy_asset(
                STORE,
                "store_is_up_to_date",
                {"s3", "parquet"},
                description,
                lambda place, now: upload_current(place, storage, now),
            )
        )
    if publish_to := shop.publish_to:
        description = "The published version as tables of a PostgreSQL schema, swapped in one transaction."
        found.append(
            _copy_asset(
                POSTGRES,
                "postgres_is_up_to_date",
                {"postgres"},
                description,
                lambda place, _: copy_to_postgres(place, publish_to.postgres),
            )
        )
    return found


def _copy_asset(
    name: str, check_name: str, kinds: set[str], description: str, copy: Callable[[Place, datetime], Any]
) -> dg.AssetsDefinition:
    """An asset that copies the version: ``copy`` returns what it did as a dataclass, None before the first version."""
    key = dg.AssetKey(["publishing", f"in_{name}"])

    @dg.asset(
        key=key,
        deps=[
            ["publishing", "published"],
            *MODEL_KEYS,
            ["campaigns", "campaign_plan"],
            ["campaigns", "campaign_results"],
            ["monitoring", "drift_report"],
        ],
        description=description,
        group_name=groups.PUBLISHING,
        kinds=kinds,
        owners=[DATA_TEAM],
        tags=groups.tags("publishing", *(table.columns for table in TABLES.values())),
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                check_name,
                asset=key,
                description=(
                    "The copy has the version that is published locally. Warns when it could not be brought there, and fails "
                    "when what readers have is over an hour old. The next run makes it good."
                ),
            )
        ],
    )
    def copied(platform: Platform) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        place, error = platform.settings().place, ""
        try:
            done = copy(place, platform.now())
        except OperatorError as failed:
            error = str(failed)
        else:
            if done is not None:
                yield dg.MaterializeResult(metadata=asdict(done))
        # The local version is whole either way, so that a run which could not copy it is no failure.
        late = bool(error) and readers_wait_long(place, name, platform.now())
        yield dg.AssetCheckResult(
            check_name=check_name,
            asset_key=key,
            passed=not error,
            severity=dg.AssetCheckSeverity.ERROR if late else dg.AssetCheckSeverity.WARN,
            description=error or None,
        )

    return copied


COPY_ASSETS = copy_assets(SHOP)
