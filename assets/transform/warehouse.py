"""The dbt project as assets: planned before, marked after."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster_dbt import dbt_assets

from customer360.lake.publishing.nightly_tables import NIGHTLY, keep_nightly_tables
from customer360.lake.publishing.version import current_publication
from customer360.lake.slices import slice_key
from customer360.lake.warehouse.cutoffs import set_matured_cutoffs
from customer360.lake.warehouse.slice_log import mark_transformed, plan_transform
from customer360.lake.warehouse.unchanged import OF_CODE, drop_removed_models, mark_built, set_built_contents, unchanged
from customer360.settings import Settings
from orchestration.dbt import DAILY, ShopTranslator, lineage_metadata, manifest_path, project_relations, untagged
from orchestration.partitions import HISTORY_KEY, WAREHOUSE_POOL, newest_slice
from orchestration.resources import Platform
from orchestration.runtime.dbt_run import build

MANIFEST = manifest_path(Settings.from_environment())
RECORDED_AT_MOST = 96


@dbt_assets(
    manifest=MANIFEST,
    exclude="tag:training",
    dagster_dbt_translator=ShopTranslator(lineage_metadata(Settings.from_environment())),
    pool=WAREHOUSE_POOL,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def warehouse_models(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
    """Everything between raw and marts, brought up to whatever raw slices have changed."""
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(without_partition(platform.settings()), allow_retries=False)
    settings = platform.settings()
    with platform.lock(f"run {context.run.run_id}"):
        with platform.opened() as connection:
            plan = plan_transform(connection, settings, platform.now())
            if plan.last_slice is None:
                raise dg.Failure(nothing_known(settings), allow_retries=False)
            skipped = unchanged(connection, settings)
            built = {spec.key for spec in context.assets_def.specs if not set(skipped) & spec.tags.keys()}
            models = [key.path[-1] for key in built & context.selected_asset_keys]
            set_built_contents(connection, models, None)
            if context.selected_asset_keys >= NIGHTLY_MODELS:
                matured = set_matured_cutoffs(connection, settings)
                context.log.info(f"{len(matured)} days of scores have matured: {', '.join(str(moment) for moment in matured)}")
        context.log.info(f"rewriting {len(plan.pending)} slices, {len(plan.repaired)} of them repairs")
        yield from build(context, platform, skipped)
        with platform.opened() as connection:
            set_built_contents(connection, models, context.run.run_id)
        if context.selected_asset_keys >= NIGHTLY_MODELS:
            with platform.opened() as connection:
                keep_nightly_tables(settings.place, connection)
        if context.selected_asset_keys >= SLICE_MODELS:
            with platform.opened() as connection:
                mark_transformed(connection, platform.now())
                mark_built(connection, settings)
                if OF_CODE not in skipped:  # the project changed
                    removed = drop_removed_models(connection, project_relations(MANIFEST))
                    context.log.info(f"dropped tables of removed models: {', '.join(removed) or 'none'}")
    yield from _other_slices(context, [slice_key_of(start) for start in plan.pending])


def nothing_known(settings: Settings) -> str:
    """Why nothing is published for a place without clicks and purchases, and what to do."""
    landing = settings.shop.landing_url or settings.place.landing
    return (
        f"no click and no purchase from before slices_start ({settings.shop.slices_start:%Y-%m-%d %H:%M} UTC) is known, "
        f"so there is nothing to publish: put click files into {landing}/history or purchases into "
        f"{landing}/reference/purchases, or correct slices_start in shop.yaml; docs/your-data.md shows an example of every file"
    )


def without_partition(settings: Settings) -> str:
    """Why a run without a partition is refused, and how to name the right one."""
    current = current_publication(settings.place)
    key = newest_slice(current.as_of) if current is not None and current.as_of is not None else HISTORY_KEY
    return (
        f"slice-grain models need a partition: choose {key}, the newest published slice, in the UI, or add "
        f"--tags '{json.dumps({'dagster/partition': key})}' to dagster job launch"
    )


def slice_key_of(start: datetime) -> str:
    """Key of a slice as DuckDB returns its start."""
    return slice_key(start.replace(tzinfo=UTC))


def _other_slices(context: dg.AssetExecutionContext, rewritten: list[str]) -> Iterator[dg.AssetMaterialization]:
    """Record the slices that were rewritten beside those that the run was asked for."""
    asked = set(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else set()
    partitions = [spec for spec in context.assets_def.specs if spec.partitions_def is not None]
    for key in [key for key in rewritten if key not in asked][-RECORDED_AT_MOST:]:
        for spec in partitions:
            if spec.key in context.selected_asset_keys and spec.partitions_def.has_partition_key(key):
                yield dg.AssetMaterialization(spec.key, partition=key, metadata={"rewritten_by": context.run.run_id})


# A run of fewer models than a slice's leaves its slices pending: the next slice transforms them.
SLICE_MODELS = set(untagged(warehouse_models, DAILY))
NIGHTLY_MODELS = {dg.AssetKey(["marts", name]) for name in NIGHTLY}
