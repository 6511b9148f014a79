"""Jobs: what is run together, and by whom it is asked for."""

import dagster as dg

from assets.predictions.offer_results import OFFER_RESULT_ASSETS
from assets.predictions.training import MODEL_KEYS
from assets.publishing.copies import COPY_ASSETS
from assets.publishing.profile_store import PROFILE_STORE_ASSETS
from assets.raw.offer_decisions import OFFER_DECISION_ASSETS
from assets.transform.warehouse import MANIFEST, warehouse_models
from customer360.lake.landing.contracts import reference_tables
from customer360.lake.operations.retention import remove_old
from orchestration import groups
from orchestration.column_lineage import update_column_lineage
from orchestration.dbt import DAILY, SLICE_CHECK, tagged_checks, untagged
from orchestration.partitions import HISTORY_KEY, SHOP
from orchestration.resources import Platform

LONGEST_WAIT = 1800.0  # seconds, of maintenance for the warehouse

KEYS = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["raw", "purchases"]), "keys_are_listed"))
REFERENCE = dg.AssetSelection.assets(*[["raw", name] for name in reference_tables(SHOP)]) | KEYS
CLICKS = dg.AssetSelection.assets(["raw", "clicks"])
HISTORY = dg.AssetSelection.assets(["raw", "click_history"])
ALL_MODELS = dg.AssetSelection.assets(*warehouse_models.keys)
BEFORE_PUBLISHING = dg.AssetSelection.checks(*tagged_checks(warehouse_models, MANIFEST, SLICE_CHECK))
SLICE_MODELS = dg.AssetSelection.assets(*untagged(warehouse_models, DAILY)).without_checks() | BEFORE_PUBLISHING
LINES = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["marts", "customer_orders"]), "no_line_in_doubt"))
HISTORY_MODELS = ALL_MODELS.without_checks() | BEFORE_PUBLISHING | LINES


def _all_of(*assets: dg.AssetsDefinition) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*[key for asset in assets for key in asset.keys])


# What follows a publication, where shop.yaml asks for it.
FOLLOWING = _all_of(*COPY_ASSETS, *PROFILE_STORE_ASSETS)
TRAINED = dg.AssetSelection.assets(["marts", "training_features"], *MODEL_KEYS)
SERVED = (
    FOLLOWING
    | _all_of(*OFFER_DECISION_ASSETS)
    | dg.AssetSelection.assets(
        ["predictions", "customer_scores"],
        ["predictions", "customer_value"],
        ["predictions", "current_offers"],
        ["predictions", "cold_start"],
        ["publishing", "customer_profiles"],
        ["publishing", "published"],
    )
)

slice_job = dg.define_asset_job(
    "slice_job",
    selection=CLICKS | SLICE_MODELS | SERVED,
    description="One arrival slice, or a range of them: validate, transform, score, publish. Asked for by click_slices.",
    tags={"dagster/max_retries": "0", "dagster/max_runtime": "900", "dagster/priority": "1"},
)
history_job = dg.define_asset_job(
    "history_job",
    selection=REFERENCE | HISTORY | HISTORY_MODELS | SERVED,
    description=(
        "Load landing/history and the reference tables, then transform, score and publish. Run by hand, for the first "
        f"partition ({HISTORY_KEY}), which stands for the history."
    ),
)
warehouse_job = dg.define_asset_job(
    "warehouse_job",
    selection=REFERENCE | ALL_MODELS | SERVED,
    description=(
        "Reference tables, every model and every data test, then scores and publishing. Nightly, for the newest published "
        "slice: a slice itself runs only the tests that must hold before its tables are published."
    ),
)
training_job = dg.define_asset_job(
    "training_job",
    selection=FOLLOWING | TRAINED,
    description="Build the training set (seconds under the warehouse lock), then train and judge each model.",
)
CAMPAIGNS = dg.AssetSelection.groups(groups.CAMPAIGNS)
daily_job = dg.define_asset_job(
    "daily_job",
    selection=REFERENCE
    | FOLLOWING
    | CAMPAIGNS
    | dg.AssetSelection.assets(
        ["monitoring", "drift_report"],
        ["predictions", "product_backtest"],
        ["predictions", "product_affinity"],
        ["predictions", "session_model"],
        ["predictions", "customer_lifetime"],
        ["predictions", "lifetime_backtest"],
    )
    | _all_of(*OFFER_RESULT_ASSETS),
    description=(
        "Reference tables; what came of contacts, plans of all campaigns and their results; drift report of a day. Reads the "
        "published version: blocks no slice."
    ),
)
campaign_job = dg.define_asset_job(
    "campaign_job",
    selection=CAMPAIGNS,
    description=(
        "All campaigns of the published day: what came of contacts, plans and briefs, results. By hand, when a campaign file "
        "has changed; daily_job does the same every morning."
    ),
)
freshness_job = dg.define_asset_job(
    "freshness_job",
    selection=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["publishing", "published"]), "last_slice_is_fresh")),
    description="Only the check that the last closed slice is published.",
)


@dg.op(description="Remove what is older than its retention, and say how much.")
def remove_old_files(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Landing, raw, quarantine, snapshots, published versions, dbt targets, run logs, temporary files."""
    removed = remove_old(platform.settings(), platform.now(), platform.shop_now())
    context.log.info(f"removed {removed}")
    context.add_output_metadata(dict(removed))


@dg.op(description="Find which columns each column of a dbt model is made from, where the models or the shop changed.")
def find_column_lineage(context: dg.OpExecutionContext, platform: Platform) -> None:
    """The lineage that the assets show once their definitions are loaded again."""
    for problem in update_column_lineage(platform.settings(), platform.lock(f"run {context.run_id}", LONGEST_WAIT)):
        context.log.warning(f"no column lineage of {problem}")


@dg.job(
    description="Remove what is older than its retention, and update the column lineage that the assets show.",
)
def maintenance_job() -> None:
    """Old landing, raw, published versions, logs and temporary files; column lineage after a change of the models."""
    remove_old_files()
    find_column_lineage()
